"""What a VirtualMachine says that its guest is told by DHCP: names, nameservers, and options of its own.

In the words of KubeVirt's admission webhooks where it has any. What an option cannot hold it accepts, and its
server then fails; here it is refused at its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import structs

from vmnet.lease import is_one_option, is_one_text
from vmnet.model import Dns
from vmnet.reading import Fault, read
from vmnet.valid import DOMAIN, is_address

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vmnet.model import DhcpOptions

NAMESERVERS, SEARCHES, SEARCH_CHARACTERS = 3, 6, 256
"""KubeVirt's limits of a dnsConfig, which are the resolver's (resolv.conf(5))."""


def read_dns(spec: Mapping[str, Any]) -> tuple[Dns, list[Fault]]:
    """Read a Pod's dnsConfig, and what is wrong with it."""
    value = spec.get("dnsConfig") or {}
    given = {k: v for k, v in value.items() if v is not None} if isinstance(value, dict) else value
    dns, faults = read(given, Dns)
    if dns is None or faults:
        return Dns(), [fault.below("dnsConfig") for fault in faults]
    domains = tuple(name.lower().removesuffix(".") for name in dns.searches)
    faults = [*_nameserver_faults(dns.nameservers), *_search_faults(domains)]
    return structs.replace(dns, searches=domains), [fault.below("dnsConfig") for fault in faults]


def _nameserver_faults(servers: tuple[str, ...]) -> Iterator[Fault]:
    if len(servers) > NAMESERVERS:
        message = f"must not have more than {NAMESERVERS} nameservers: [{' '.join(servers)}]"
        yield Fault(message, ("nameservers",))
    for index, server in enumerate(servers):
        if not is_address(server):
            yield Fault(f"must be valid IP address: {server}", ("nameservers", index))


def _search_faults(domains: tuple[str, ...]) -> Iterator[Fault]:
    if len(domains) > SEARCHES:
        yield Fault(f"must not have more than {SEARCHES} search paths", ("searches",))
    if len(" ".join(domains)) > SEARCH_CHARACTERS:
        message = (
            f"must not have more than {SEARCH_CHARACTERS} characters (including spaces) in the search list"
        )
        yield Fault(message, ("searches",))
    for index, domain in enumerate(domains):
        if not DOMAIN.allows(domain):
            yield Fault(f"{domain!r} is not a domain that can be searched", ("searches", index), DOMAIN.words)


def dhcp_faults(options: DhcpOptions) -> Iterator[Fault]:
    """Yield what is wrong with an interface's dhcpOptions."""
    texts = (("bootFileName", options.boot_file_name), ("tftpServerName", options.tftp_server_name))
    for key, text in texts:
        if not is_one_text(text):
            yield Fault(f"{key} must be at most 255 printable characters of ASCII", (key,))
    for index, server in enumerate(options.ntp_servers):
        if not is_address(server, version=4):
            yield Fault("NTP servers must be a list of valid IPv4 addresses", ("ntpServers", index))
    yield from _private_faults(options)


def _private_faults(options: DhcpOptions) -> Iterator[Fault]:
    seen: set[int] = set()
    for index, private in enumerate(options.private_options):
        path = ("privateOptions", index, "option")
        if not 224 <= private.option <= 254:
            yield Fault("provided DHCPPrivateOptions are out of range, must be in range 224 to 254", path)
        if private.option in seen:
            yield Fault("Found Duplicates: you have provided duplicate DHCPPrivateOptions", path)
        seen.add(private.option)
        if not is_one_option(private.value):
            message = f"the value of option {private.option} must be at most 255 octets of UTF-8"
            yield Fault(message, ("privateOptions", index, "value"))
