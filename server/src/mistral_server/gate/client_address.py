"""Where a request came from: the address of its connection, and those that proxies report. Pure.

Any client can send `X-Forwarded-For`, and a proxy appends the address that it was called from. So
what the header says is never taken for the address of the connection, and only addresses are taken
from it: anything else would be a text of the client in the log.
"""

import re
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

from mistral_server.gate.asgi import Scope

UNKNOWN = "unknown"
"""What RFC 7239 calls a hop without an address."""

MAX_HOPS = 4
"""The nearest ones: those before are a client's own more often than a proxy's."""

_HEADER = b"x-forwarded-for"
_LONGEST = len("[1111:2222:3333:4444:5555:6666:255.255.255.255]:65535")

# Some proxies add the port. A zone (fe80::1%eth0) may be any text, so it makes none of these.
_HOP = re.compile(
    r"(?P<v4>[0-9.]+)(:[0-9]{1,5})?|(?P<v6>[0-9A-Fa-f:.]+)|\[(?P<v6_port>[0-9A-Fa-f:.]+)\](:[0-9]{1,5})?"
)


def connection_address(scope: Scope) -> str | None:
    """Return the address that the connection came from, None if it has none."""
    client = scope.get("client")
    address = _canonical(client[0]) if client else UNKNOWN
    return None if address == UNKNOWN else address


def forwarded_for(scope: Scope) -> list[str] | None:
    """Return the last addresses of `X-Forwarded-For`, the nearest hop's last; None without it."""
    values = [value for name, value in scope["headers"] if name == _HEADER]
    if not values:
        return None
    hops = b",".join(values).rsplit(b",", MAX_HOPS)[-MAX_HOPS:]
    return [_hop(hop.strip()) for hop in hops]


def _hop(text: bytes) -> str:
    return _canonical(text.decode("latin-1")) if len(text) <= _LONGEST else UNKNOWN


@lru_cache(maxsize=1024)
def _canonical(text: str) -> str:
    """Return an address in its canonical form and without its port, or `unknown`."""
    match = _HOP.fullmatch(text)
    if match is None:
        return UNKNOWN
    try:
        address = ip_address(match["v4"] or match["v6"] or match["v6_port"])
    except ValueError:
        return UNKNOWN
    # A listener for IPv4 and IPv6 has the peers of IPv4 as ::ffff:10.1.2.3.
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)
