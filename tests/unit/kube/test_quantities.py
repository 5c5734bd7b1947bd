"""Reading Kubernetes quantities."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mistral_operator.kube.quantities import (
    amount_text,
    parse_quantity,
    quantity_bytes,
    same_quantity,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2", "2"),
        ("0.5", "0.5"),
        ("500m", "0.5"),
        ("1k", "1000"),
        ("1.5M", "1500000"),
        ("2Gi", "2147483648"),
        ("81559Mi", "85520809984"),
        ("1Ei", "1152921504606846976"),
        ("1E", "1000000000000000000"),
        ("1e3", "1000"),
        ("1.5E+3", "1500"),
        ("12e6", "12000000"),
        ("1e-3", "0.001"),
    ],
)
def test_a_quantity_is_its_number_times_its_suffix(text: str, value: str) -> None:
    assert parse_quantity(text) == Decimal(value)


@pytest.mark.parametrize(
    "text",
    ["", "Gi", "-1", "1 Gi", "1gb", "1GB", ".5", "1Gi ", "1\n", "0x1", "1e", "1e999", "1e3Gi"],
)
def test_what_is_no_quantity_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity such as 500m, 2 or 16Gi"):
        parse_quantity(text)


def test_bytes_are_rounded_down() -> None:
    assert quantity_bytes("1500m") == 1


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2Gi", "2048Mi", True),
        ("0.5", "500m", True),
        (4, "4", True),
        ("1G", "1Gi", False),
        ("small", "small", False),  # equal, but no quantities
        (None, "0", False),
        (True, "1", False),
    ],
)
def test_two_spellings_of_one_quantity_are_the_same(one: object, other: object, same: bool) -> None:
    assert same_quantity(one, other) is same


@given(st.integers(0, 10**9), st.sampled_from(["Ki", "Mi", "Gi"]))
def test_a_larger_suffix_is_1024_of_the_smaller(number: int, suffix: str) -> None:
    smaller = {"Ki": "", "Mi": "Ki", "Gi": "Mi"}[suffix]

    assert same_quantity(f"{number}{suffix}", f"{number * 1024}{smaller}")


@pytest.mark.parametrize(
    ("resource", "quantity", "text"),
    [
        ("cpu", "4000m", "4"),
        ("cpu", "4.5", "4500m"),
        ("memory", "25165824Ki", "24Gi"),
        ("memory", "24431820Ki", "23.3Gi"),
        ("memory", "512Mi", "512Mi"),
        ("ephemeral-storage", "128Gi", "128Gi"),
        ("nvidia.com/gpu", "2", "2"),
    ],
)
def test_an_amount_is_short_for_readers(resource: str, quantity: str, text: str) -> None:
    assert amount_text(resource, parse_quantity(quantity)) == text
