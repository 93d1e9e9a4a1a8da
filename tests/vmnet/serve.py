"""Serve a Pod's guest as its launcher does, without one: `python serve.py RECORD` until its input ends."""

from __future__ import annotations

import subprocess
import sys

import msgspec

from nncp import netns
from vmnet.node import sockets
from vmnet.record import read_record

record = read_record(sys.argv[1])
started = []
with netns.entered(record.netns):
    for service in record.services:
        numbers = [sockets.opened(one).detach() for one in service.sockets]
        argv = [sys.executable, "-m", service.module, *map(str, numbers)]
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, pass_fds=numbers)
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(service.config) + b"\n")
        process.stdin.flush()
        started.append(process)
print("ready", flush=True)
sys.stdin.read()
for process in started:
    process.communicate()
