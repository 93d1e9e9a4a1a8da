"""What asks a server of a test's Pod for its word."""

CLIENT = """
import socket, sys
address, port, source, seconds = sys.argv[1:]
try:
    s = socket.create_connection((address, int(port)), int(seconds), source_address=(source, 0))
    print(s.recv(99).decode(), end="")
except OSError:
    pass
"""
"""Prints what the server of `ADDRESS PORT` says to `SOURCE` within so many `SECONDS`; nothing when it does not."""
