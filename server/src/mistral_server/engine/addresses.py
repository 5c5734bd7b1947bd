"""On which addresses the ports of a pod listen.

A pod does not know its address before it starts. It can be IPv4, IPv6 or both.
"""

import socket

_IPV4 = "0.0.0.0"  # noqa: S104 - a pod's own address is not known before it starts
_IPV6 = "::"


def every_address() -> str:
    """Return the address that stands for all of the pod's.

    A socket at `::` accepts IPv4 too, unless the kernel has no IPv6 or is set to separate both
    (net.ipv6.bindv6only).
    """
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            is_separate = bool(probe.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY))
            probe.bind((_IPV6, 0))
    except OSError:
        return _IPV4
    return _IPV4 if is_separate else _IPV6


def local_host(host: str) -> str:
    """Return the host in URLs at which this pod reaches a port that listens on `host`.

    Args:
        host: the setting; empty for all addresses.
    """
    if host in {"", _IPV4}:
        return "127.0.0.1"
    if host == _IPV6:
        return "[::1]"
    return f"[{host}]" if ":" in host else host
