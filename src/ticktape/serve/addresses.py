"""Addresses of those who ask: one form for each, the networks a key may be used from, and who counts as one asker.

A dual-stack socket shows IPv4 as `::ffff:10.0.0.1`; here that is 10.0.0.1, in an address and in a network.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

from ticktape.errors import BadInput
from ticktape.model.symbols import shown

_MAPPED_BITS = 96  # of ::ffff:0:0/96, what stands before the IPv4 address

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


def parse_networks(texts: Iterable[str]) -> tuple[str, ...]:
    """Return addresses and networks in one form, sorted, each once. Raises BadInput."""
    found: set[Network] = set()
    for text in texts:
        try:
            network = ipaddress.ip_network(text)
        except ValueError:
            raise BadInput(
                f"not an address or network: '{shown(text)}'", hint="--from 127.0.0.1,10.0.0.0/8,2001:db8::/32"
            ) from None
        found.add(_plain_network(network))
    return tuple(str(network) for network in sorted(found, key=lambda n: (n.version, int(n.network_address))))


def is_within(address: str, networks: tuple[str, ...]) -> bool:
    """Say whether an address lies in one of some networks (as `parse_networks` returns them). No address does not."""
    found = _parsed(address)
    return found is not None and any(found in network for network in _networks(networks))


def asker_of(address: str) -> str:
    """Return who counts as one asker: an IPv4 address, or the 2**64 addresses around an IPv6 one."""
    found = _parsed(address)
    if found is None:
        return address[:64]
    return str(found) if found.version == 4 else str(ipaddress.ip_network((int(found), 64), strict=False))


def _parsed(address: str) -> Address | None:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:  # a Unix socket, or what a proxy made up
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


@lru_cache(maxsize=1024)
def _networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


def _plain_network(network: Network) -> Network:
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        low = int(network.network_address) & 0xFFFFFFFF
        return ipaddress.ip_network((low, network.prefixlen - _MAPPED_BITS))
    return network
