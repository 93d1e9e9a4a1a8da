"""The interface types, one file each; those that there are, are listed in `nncp.known`."""
