"""Callers and destinations that are refused wherever they can be written."""

from typing import Any

FORM: dict[str, tuple[Any, str]] = {
    "an expression": (
        {"namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "Exists"}]}},
        "matchExpressions",
    ),
    "misspelt labels": ({"namespaceSelector": {"matchLabel": {"a": "b"}}}, "matchLabel"),
    "labels in the style of Python": (
        {"podSelector": {"match_labels": {"a": "b"}}},
        "match_labels",
    ),
    "a misspelt selector": ({"nameSpaceSelector": {}}, "nameSpaceSelector"),
    "a misspelt exception": (
        {"ipBlock": {"cidr": "10.0.0.0/8", "excepts": ["10.1.0.0/16"]}},
        "excepts",
    ),
    "nothing": ({}, ""),
    "a range and a selector": (
        {"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}},
        "ipBlock",
    ),
    "a range without addresses": ({"ipBlock": {}}, "cidr"),
    "a number for a range": ({"ipBlock": {"cidr": 10}}, "cidr"),
    "a name for a range": ({"ipBlock": {"cidr": "gateway"}}, "cidr"),
    "a number as a label": ({"podSelector": {"matchLabels": {"a": 1}}}, "matchLabels"),
    "no object": ("gateway", ""),
}
"""Peers of a wrong form, and a part of each message."""

RANGES: dict[str, tuple[Any, str]] = {
    "too many bits": (
        {"ipBlock": {"cidr": "10.0.0.0/33"}},
        "10.0.0.0/33 is not valid: write a value such as 10.20.0.0/16",
    ),
    "bits of a host": (
        {"ipBlock": {"cidr": "10.0.0.1/8"}},
        "has host bits set: write 10.0.0.0/8, or 10.0.0.1/32 for one address",
    ),
    "bits of an IPv6 host": (
        {"ipBlock": {"cidr": "fd12:3456::8/32"}},
        "has host bits set: write fd12:3456::/32, or fd12:3456::8/128 for one address",
    ),
    "an exception elsewhere": (
        {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["192.168.0.0/16"]}},
        "192.168.0.0/16 is not a part of 10.0.0.0/8",
    ),
    "an exception of everything": (
        {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}},
        "10.0.0.0/8 is not a part of 10.0.0.0/8",
    ),
    "an exception of the other family": (
        {"ipBlock": {"cidr": "::/0", "except": ["10.0.0.0/8"]}},
        "10.0.0.0/8 is not a part of ::/0",
    ),
}
"""Peers of the right form whose addresses are wrong, which a JSON schema cannot tell."""

METADATA: dict[str, tuple[Any, str]] = {
    "AWS": ({"ipBlock": {"cidr": "169.254.169.254/32"}}, "credentials of the node"),
    "Azure": ({"ipBlock": {"cidr": "168.63.129.16/32"}}, "credentials of the node"),
    "AWS, IPv6": ({"ipBlock": {"cidr": "fd00:ec2::254/128"}}, "credentials of the node"),
}
"""Destinations that are metadata services."""
