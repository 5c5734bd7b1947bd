"""The ports of a pod are reached over IPv4 and IPv6, whichever its cluster has."""

import socket
from typing import Self

import pytest

from mistral_server.engine.addresses import every_address, local_host


class Kernel:
    """A socket of a kernel that has IPv6 or not."""

    def __init__(self, *, has_ipv6: bool, is_separate: bool) -> None:
        self._has_ipv6, self._is_separate = has_ipv6, is_separate

    def __call__(self, _family: int, _kind: int) -> Self:
        """Open a socket."""
        if not self._has_ipv6:
            raise OSError(97, "Address family not supported by protocol")
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        return None

    def getsockopt(self, _level: int, _option: int) -> int:
        """Return whether IPv6 and IPv4 are separate."""
        return int(self._is_separate)

    def bind(self, _address: tuple[str, int]) -> None:
        """Bind to any address."""


@pytest.mark.parametrize(
    ("has_ipv6", "is_separate", "want"),
    [(True, False, "::"), (True, True, "0.0.0.0"), (False, False, "0.0.0.0")],  # noqa: S104
)
def test_every_address_includes_ipv6_where_the_kernel_has_it(
    *, monkeypatch: pytest.MonkeyPatch, has_ipv6: bool, is_separate: bool, want: str
) -> None:
    kernel = Kernel(has_ipv6=has_ipv6, is_separate=is_separate)
    monkeypatch.setattr("mistral_server.engine.addresses.socket.socket", kernel)

    assert every_address() == want


def test_a_socket_at_every_address_is_reached_over_ipv4() -> None:
    host = every_address()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as server:
        server.bind((host, 0))  # as vLLM does
        server.listen()
        port = server.getsockname()[1]

        socket.create_connection((local_host(""), port), timeout=5).close()


@pytest.mark.parametrize(
    ("host", "want"),
    [
        ("", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),  # noqa: S104
        ("::", "[::1]"),
        ("fd00::7", "[fd00::7]"),
        ("10.0.0.7", "10.0.0.7"),
    ],
)
def test_the_supervisor_reaches_the_engine_within_the_pod(host: str, want: str) -> None:
    assert local_host(host) == want
