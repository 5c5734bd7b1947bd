"""`spec.network`: who may call the pods, and what they may reach."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, Field, model_validator

from mistral_operator.api import patterns
from mistral_operator.api.base import ApiModel, LabelKey, LabelValue, Rule

_MAPPED = IPv6Network("::ffff:0:0/96")
"""IPv4 addresses in the form of IPv6: a connection to one is an IPv4 connection."""

_NAT64 = IPv6Network("64:ff9b::/96")
"""IPv4 addresses as clusters without IPv4 reach them (RFC 6052)."""


def by_nat64(addresses: str) -> str:
    """Return an IPv4 range as clusters without IPv4 reach it.

    Raises:
        ValueError: it is not a range of IPv4.
    """
    network = IPv4Network(addresses)
    first = int(_NAT64.network_address) + int(network.network_address)
    return str(IPv6Network((first, _NAT64.prefixlen + network.prefixlen)))


def meant(text: str) -> IPv4Address | IPv6Address:
    """Return the address that a connection to this one reaches: IPv6 has forms for those of IPv4.

    Raises:
        ValueError: it is not an address.
    """
    address = ip_address(text)
    if address.version == 6 and any(address in one for one in (_MAPPED, _NAT64)):
        return IPv4Address(int(address) % 2**32)
    return address


_METADATA_IPV4 = (
    "169.254.0.0/16",  # link-local: AWS, Google Cloud, Azure, Oracle Cloud and others
    "168.63.129.16/32",  # Azure's wire server
    "192.0.0.192/32",  # Oracle Cloud
    "100.100.100.200/32",  # Alibaba Cloud
)

METADATA_RANGES = (
    *_METADATA_IPV4,
    *map(by_nat64, _METADATA_IPV4),
    "fe80::/10",
    "fd00:ec2::/32",  # AWS
    "fd20:ce::/32",  # Google Cloud
)
"""Metadata services of clouds, which give their callers the credentials of the node."""

_METADATA_NETWORKS = tuple(map(ip_network, METADATA_RANGES))


def is_metadata_service(addresses: str) -> bool:
    """Tell whether an address, or all of a range, is that of a metadata service.

    Args:
        addresses: an address or a range; an IPv6 address has several spellings.

    Raises:
        ValueError: it is neither.
    """
    network = ip_network(addresses)
    return any(
        network.version == one.version and network.subnet_of(one)  # type: ignore[arg-type]
        for one in _METADATA_NETWORKS
    )


def is_part_of(addresses: str, whole: str) -> bool:
    """Tell whether a range lies within another one, and is smaller.

    Raises:
        ValueError: one of them is not a range.
    """
    part, network = ip_network(addresses), ip_network(whole)
    if part == network or part.version != network.version:
        return False
    return part.subnet_of(network)  # type: ignore[arg-type]


def _without_host_bits(text: str) -> str:
    address = text.partition("/")[0]
    try:
        whole = ip_network(text, strict=False)
        is_whole = ip_network(address).network_address == whole.network_address
    except ValueError:
        raise ValueError(f"{text} is {patterns.message(patterns.CIDR)}") from None
    if not is_whole:
        raise ValueError(
            f"{text} has host bits set: write {whole}, or {address}/{whole.max_prefixlen} for one"
            " address"
        )
    return text


def _that_is_a_network(text: str) -> str:
    network = ip_network(text)
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        raise ValueError(f"{text} is IPv4 as IPv6: write the range of IPv4, such as 10.20.0.0/16")
    return text


Cidr = Annotated[
    str,
    Field(max_length=43, pattern=patterns.CIDR),
    AfterValidator(_without_host_bits),
    AfterValidator(_that_is_a_network),
]
"""An address range such as 10.20.0.0/16. Host bits must be 0."""


class Labels(ApiModel):
    """Selects by labels; an empty one selects everything."""

    match_labels: dict[LabelKey, LabelValue] = Field(default={}, max_length=2)
    """Labels that the object must have."""


class AddressRange(ApiModel):
    """A range of addresses."""

    cidr: Cidr
    """Address range, such as 10.20.0.0/16 or fd12:3456::/32."""
    # `except` is a word of Python's.
    except_: list[Cidr] | None = Field(default=None, alias="except", max_length=3)
    """Ranges within `cidr` that are left out."""

    @model_validator(mode="after")
    def _excepts_parts_of_itself(self) -> Self:
        for one in self.except_ or ():
            if not is_part_of(one, self.cidr):
                raise ValueError(f"except: {one} is not a part of {self.cidr}: remove it")
        return self


class Peer(ApiModel):
    """Pods or addresses, as in a NetworkPolicy."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.ipBlock) != (has(self.namespaceSelector) || has(self.podSelector))",
            "set either ipBlock, or namespaceSelector or podSelector or both: an empty"
            " namespaceSelector selects every namespace",
            lambda one: (
                (one.ip_block is not None)
                != (one.namespace_selector is not None or one.pod_selector is not None)
            ),
        ),
    )

    namespace_selector: Labels | None = None
    """Namespaces by label, such as `kubernetes.io/metadata.name: gateway`. Unset: the namespace of
    the resource."""
    pod_selector: Labels | None = None
    """Pods by label. Unset: every pod of the namespaces."""
    ip_block: AddressRange | None = None
    """Addresses outside of the cluster."""


def _without_metadata_service(peer: Peer) -> Peer:
    if peer.ip_block is not None and is_metadata_service(peer.ip_block.cidr):
        raise ValueError(
            f"{peer.ip_block.cidr} has metadata services, which give their callers the credentials"
            " of the node: remove it, or write the range of the service that you mean"
        )
    return peer


Destination = Annotated[Peer, AfterValidator(_without_metadata_service)]
"""A peer that pods may connect to."""


# The numbers of peers and labels keep the largest resource small: operator and API server hold all.
class Network(ApiModel):
    """Traffic that the NetworkPolicy allows. It applies only with `networkPolicy: true`."""

    callers: list[Peer] | None = Field(default=None, max_length=6)
    """Pods and addresses that may call the API. Unset: as the operator's installation says, by
    default everyone. An empty list allows no callers. The operator's namespace can always connect,
    and Prometheus to the pods. Callers also limit requests through the activator, even with
    `networkPolicy: false`."""
    destinations: list[Destination] = Field(default=[], max_length=4)
    """Pods and addresses that the pods may connect to in addition, on every port, such as a mirror
    of the hub in a private network. Without it, private addresses are closed. Metadata services of
    clouds stay closed."""
