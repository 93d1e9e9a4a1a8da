"""The tables of rows, one file each; those that there are, are listed in `nncp.known`."""
