"""A line has the address of the connection, and what proxies report of the hops before."""

from typing import Any

import pytest

from mistral_server.gate.client_address import connection_address, forwarded_for

CONNECTIONS = {
    "10.1.2.3": "10.1.2.3",
    "::ffff:10.1.2.3": "10.1.2.3",
    "2001:db8:0:0::7": "2001:db8::7",
    "fe80::1%secret": None,
    "/run/secret.sock": None,
    "secret": None,
    "": None,
}


@pytest.mark.parametrize(("peer", "shown"), CONNECTIONS.items())
def test_the_address_of_a_connection_is_an_address(peer: str, shown: str | None) -> None:
    assert connection_address({"client": (peer, 4711)}) == shown


@pytest.mark.parametrize("scope", [{}, {"client": None}])
def test_a_connection_may_have_no_address(scope: dict[str, Any]) -> None:
    assert connection_address(scope) is None


HEADERS: dict[str, tuple[list[bytes], list[str] | None]] = {
    "none": ([], None),
    "one proxy": ([b"203.0.113.7"], ["203.0.113.7"]),
    "a chain": ([b"203.0.113.7, 10.0.0.4,10.0.0.5"], ["203.0.113.7", "10.0.0.4", "10.0.0.5"]),
    "several headers": ([b"203.0.113.7", b"10.0.0.4"], ["203.0.113.7", "10.0.0.4"]),
    "ports": ([b"203.0.113.7:49152, [2001:db8::7]:443"], ["203.0.113.7", "2001:db8::7"]),
    "IPv6": (
        [b"2001:DB8:0::7, [2001:db8::8], ::ffff:10.0.0.4"],
        ["2001:db8::7", "2001:db8::8", "10.0.0.4"],
    ),
    "the last four": (
        [b"1.1.1.1, 2.2.2.2, 3.3.3.3, 4.4.4.4, 5.5.5.5"],
        ["2.2.2.2", "3.3.3.3", "4.4.4.4", "5.5.5.5"],
    ),
    "no address": ([b"correct-horse, 10.0.0.4"], ["unknown", "10.0.0.4"]),
    "a zone": ([b"fe80::1%correct-horse"], ["unknown"]),
    "digits": ([b"4111111111111111, 999.1.1.1, 1.1.1.1:999999"], ["unknown"] * 3),
    "digits of another script": (["\u0661.1.1.1".encode()], ["unknown"]),
    "empty": ([b""], ["unknown"]),
    "empty hops": ([b", ,10.0.0.4"], ["unknown", "unknown", "10.0.0.4"]),
    "long": ([b"1" * 100_000], ["unknown"]),
    "many": ([b"9.9.9.9," * 20_000 + b"10.0.0.4"], ["9.9.9.9"] * 3 + ["10.0.0.4"]),
    "control characters": ([b"10.0.0.4\x1b[31m, \xff\x00"], ["unknown", "unknown"]),
}


@pytest.mark.parametrize(("values", "hops"), HEADERS.values(), ids=HEADERS)
def test_of_what_proxies_report_only_addresses_are_shown(
    values: list[bytes], hops: list[str] | None
) -> None:
    headers = [(b"host", b"x"), *((b"x-forwarded-for", value) for value in values)]

    assert forwarded_for({"headers": headers}) == hops


def test_what_a_client_claims_never_is_the_address_of_its_connection() -> None:
    scope = {"client": ("127.0.0.1", 4711), "headers": [(b"x-forwarded-for", b"203.0.113.7")]}

    assert connection_address(scope) == "127.0.0.1"
