"""The tiny guest's reader of network-config against our own reader of YAML."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from nncp.document.source import load
from vmnet.rack import tiny

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = {
    "the scenario's": """\
version: 2
ethernets:
  eth1:
    addresses:
    - 172.17.33.250/24
""",
    "by MAC, renamed": """\
version: 2
ethernets:
  nic0:
    match: {macaddress: "52:54:00:12:34:56"}
    set-name: eth7
    mtu: 1400
    dhcp4: true
""",
    "everything at once": """\
# a comment
network:
  version: 2
  ethernets:
    eth0: {dhcp4: false, addresses: [10.0.0.5/24, 'fd00::5/64']}
    eth1:
      addresses:
        - "192.0.2.1/24"   # deeper
      gateway4: 192.0.2.254
      routes:
        - to: 10.9.0.0/16
          via: 192.0.2.254
        - {to: 10.8.0.0/16, via: 192.0.2.253}
      nameservers:
        addresses: [1.1.1.1]
        search: []
""",
    "JSON": '{"version": 2, "ethernets": {"eth1": {"addresses": ["172.17.33.250/24"], "mtu": 9000}}}',
}


def leaves(value: Any, *path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, *path, str(key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from leaves(inner, *path, str(index))
    else:
        yield "/".join(path), str(value).lower() if isinstance(value, bool) else str(value)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_guest_reads_what_we_read(name: str) -> None:
    text = EXAMPLES[name]
    program = tiny.guest_files()["network-config.awk"].decode()
    done = subprocess.run(["busybox", "awk", program], input=text, capture_output=True, text=True, check=True)
    lines = [tuple(line.split("\t")) for line in done.stdout.splitlines()]
    value = load(text, file="network-config")[0].value
    assert lines == list(leaves(value.get("network", value)))
