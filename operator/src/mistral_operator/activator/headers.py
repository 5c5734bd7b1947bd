"""Which headers the activator forwards. Pure."""

from collections.abc import Mapping

from mistral_operator.kube.objects import Key
from mistral_server.contract import ENDPOINT_HEADER, endpoint_text

_HOP_BY_HOP = {
    "connection",
    "expect",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
"""Hop-by-hop headers (RFC 9110, section 7.6.1), and Expect, which the activator handles itself."""

_FORWARDED_FOR = "X-Forwarded-For"
"""Several headers of this name are one list (RFC 9110, section 5.3)."""


def end_to_end(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the headers to forward; a name may occur several times."""
    named = {one.strip().lower() for one in headers.get("Connection", "").split(",")}
    return [one for one in headers.items() if one[0].lower() not in _HOP_BY_HOP | named]


def headers_to_replica(
    headers: Mapping[str, str], key: Key, address: str | None
) -> list[tuple[str, str]]:
    """Return the headers of a request to a replica.

    They name the endpoint, and no client can name another. The last `X-Forwarded-For` has the
    address of the client, after those that the client itself claims.

    Args:
        headers: those of the client.
        key: the endpoint.
        address: where the connection of the client came from.
    """
    of_client = (one for one in end_to_end(headers) if one[0].lower() != ENDPOINT_HEADER)
    forwarded = [] if address is None else [(_FORWARDED_FOR, address)]
    return [*of_client, *forwarded, (ENDPOINT_HEADER, endpoint_text(*key))]
