"""`python -m nncp`."""

from nncp.cli import main

main()
