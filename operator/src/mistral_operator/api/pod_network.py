"""`spec.pod.dnsConfig`, `spec.pod.hostAliases`: how the pods resolve names."""

from ipaddress import ip_address
from typing import Annotated

from pydantic import AfterValidator, Field

from mistral_operator.api import patterns
from mistral_operator.api.base import ApiModel, repeated
from mistral_operator.api.network import is_metadata_service, meant


def _that_is_an_address(text: str) -> str:
    ip_address(text)
    return text


def _of_another_host(text: str) -> str:
    """Return an address that is not the pod's or the node's own, or that of a metadata service."""
    address = meant(text)
    if (
        address.is_loopback
        or address.is_link_local
        or address.is_unspecified
        or address.is_multicast
        or is_metadata_service(str(address))
    ):
        raise ValueError(f"{text} is not the address of another host: write the one that you mean")
    return text


_Text = Annotated[str, Field(min_length=2, max_length=45, pattern=patterns.ADDRESS)]
Address = Annotated[_Text, AfterValidator(_that_is_an_address)]
"""An address, IPv4 or IPv6."""

Host = Annotated[str, Field(min_length=1, max_length=253, pattern=patterns.HOST)]
"""Name of a host."""


class DnsOption(ApiModel):
    """An option of the resolver."""

    name: str = Field(min_length=1, max_length=63, pattern=patterns.VOLUME_NAME)
    """Name, such as ndots."""
    value: str | None = Field(
        default=None, min_length=1, max_length=63, pattern=patterns.LABEL_VALUE
    )
    """Value, such as "2"."""


class DnsConfig(ApiModel):
    """Settings of the resolver, in addition to those of the cluster."""

    nameservers: list[Address] = Field(default=[], max_length=3)
    """Addresses of name servers."""
    searches: list[Host] = Field(default=[], max_length=8)
    """Search domains."""
    options: list[DnsOption] = Field(default=[], max_length=8)
    """Options of the resolver."""


class HostAlias(ApiModel):
    """Names of one address."""

    ip: Annotated[_Text, AfterValidator(_of_another_host)]
    """Address of another host; not the pod's or the node's own, or of a metadata service."""
    hostnames: list[Host] = Field(min_length=1, max_length=16)
    """Names of the host."""


def _different_addresses(aliases: list[HostAlias]) -> list[HostAlias]:
    if (twice := repeated([one.ip for one in aliases])) is not None:
        raise ValueError(f"two hostAliases have {twice}: put all hostnames into one")
    return aliases


HostAliases = Annotated[
    list[HostAlias],
    Field(
        max_length=8,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["ip"]},
    ),
    AfterValidator(_different_addresses),
]
"""Aliases with different addresses."""
