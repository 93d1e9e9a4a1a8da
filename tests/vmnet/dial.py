"""What asks the servers of a test's Pod for their word."""

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

RENEW = """
import socket, struct, sys
address, server, mac = sys.argv[1:]
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(60)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
s.bind((address, 68))
head = struct.pack("!BBBBIHH4s12s6s", 1, 1, 6, 0, 7, 0, 0, socket.inet_aton(address), bytes(12), bytes.fromhex(mac.replace(":", "")))
s.sendto(head.ljust(236, bytes(1)) + b"\\x63\\x82\\x53\\x63\\x35\\1\\3\\xff", (server, 67))
data, (where, port) = s.recvfrom(2048)
print(where, port, data[242])
"""
"""Asks for the lease of `ADDRESS SERVER MAC` again as a client that has it does, who may ask all: prints who answered, and what (ACK: 5)."""
