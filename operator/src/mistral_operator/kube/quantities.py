"""Kubernetes quantities, parsed and compared.

The official client has `kubernetes.utils.parse_quantity`, but importing it also imports every API
model. Pure modules need only the arithmetic.
"""

import re
from decimal import Decimal

MAX_MEMORY = 1024**5
"""1Pi in bytes, more than any machine or GPU has: a larger value has a wrong unit."""

MAX_QUANTITY = 32
"""Characters of the longest quantity: enough for all of the API server, and within a float. Longer
numbers take seconds to compute."""

_SUFFIXES: dict[str, Decimal] = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    "k": Decimal(1000),
    "M": Decimal(1000) ** 2,
    "G": Decimal(1000) ** 3,
    "T": Decimal(1000) ** 4,
    "P": Decimal(1000) ** 5,
    "E": Decimal(1000) ** 6,
    "Ki": Decimal(1024),
    "Mi": Decimal(1024) ** 2,
    "Gi": Decimal(1024) ** 3,
    "Ti": Decimal(1024) ** 4,
    "Pi": Decimal(1024) ** 5,
    "Ei": Decimal(1024) ** 6,
}
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]{1,2})?)([a-zA-Z]*)")


def parse_quantity(text: str) -> Decimal:
    """Return the value of a quantity such as 500m, 2, 16Gi or 12e6.

    Raises:
        ValueError: the text is not a quantity.
    """
    match = _QUANTITY.fullmatch(text) if len(text) <= MAX_QUANTITY else None
    if match is None or match[2] not in _SUFFIXES or (match[2] and "e" in match[1].lower()):
        raise ValueError(f"{text[:MAX_QUANTITY]!r} is not a quantity such as 500m, 2 or 16Gi")
    return Decimal(match[1]) * _SUFFIXES[match[2]]


def quantity_bytes(text: str) -> int:
    """Return a quantity of memory in bytes, rounded down."""
    return int(parse_quantity(text))


def is_at_least(text: str, minimum: int) -> bool:
    """Return whether a text is a quantity of at least `minimum`."""
    try:
        return parse_quantity(text) >= minimum
    except ValueError:
        return False


def amount_text(resource: str, amount: Decimal) -> str:
    """Return an amount of a resource for readers: 4, 500m, 23.3Gi."""
    if resource in {"memory", "ephemeral-storage"}:
        number, unit = (amount / 1024**3, "Gi") if amount >= 1024**3 else (amount / 1024**2, "Mi")
        return f"{number:.1f}".removesuffix(".0") + unit
    return f"{amount:.0f}" if amount == int(amount) else f"{amount * 1000:.0f}m"


def memory_text(size: int) -> str:
    """Write a size in bytes as a quantity, rounded up to whole MiB: 16Gi, 1536Mi."""
    return f"{size // 1024**3}Gi" if size % 1024**3 == 0 else f"{-(-size // 1024**2)}Mi"


def same_quantity(one: object, other: object) -> bool:
    """Return whether two values are the same quantity in any notation."""
    try:
        return parse_quantity(str(one)) == parse_quantity(str(other))
    except ValueError:
        return False
