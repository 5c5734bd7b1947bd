"""The calculator that a model may call: right where it answers, and no way in for an attacker."""

import doctest
import time
from collections.abc import Callable

import calculator
import pytest
from calculator import MAX_BITS, MAX_LENGTH, CalculationError, calculate
from hypothesis import given, settings
from hypothesis import strategies as st

VALUES = {
    "1": 1,
    " 6 + 2 * 3 ": 12,
    "6 + 2 \N{MULTIPLICATION SIGN} 3": 12,
    "7 \N{DIVISION SIGN} 2": 3.5,
    "3 \N{MINUS SIGN} 5": -2,
    "7 // 2": 3,
    "-7 // 2": -4,
    "-7 % 3": 2,
    "2 ** 3 ** 2": 512,
    "-2 ** 2": -4,
    "2 ** -1": 0.5,
    "(1 + 2) * (3 + 4)": 21,
    "+-+1": -1,
    ".5 + 1.": 1.5,
    "1e3": 1000.0,
    "2.5E-1": 0.25,
    f"2 ** {MAX_BITS}": 2**MAX_BITS,
    "0 ** 0": 1,
    "1 ** (10 ** 300)": 1,
    "(1 + 0.05 / 365) ** (365 * 30)": (1 + 0.05 / 365) ** (365 * 30),
}

OTHER_LANGUAGE = {
    "a name": "x",
    "a call": "abs(1)",
    "an import": "__import__('os').system('id')",
    "an attribute": "(1).__class__",
    "the way up from an attribute": "().__class__.__mro__[1].__subclasses__()",
    "a letter that numbers may hold, as a name": "e",
    "an attribute made of letters that numbers may hold": "1 .e",
    "a number that is called": "(1)(2)",
    "a string": "'1' * 9",
    "bytes": "b'1'",
    "an f-string": "f'{1}'",
    "a lambda": "(lambda: 1)()",
    "a comprehension": "[i for i in (1, 2)]",
    "a generator": "sum(i for i in (1, 2))",
    "a list": "[1]",
    "a tuple": "(1, 2)",
    "an empty tuple": "()",
    "a subscript": "(1)[0]",
    "a comparison": "1 < 2",
    "a boolean operation": "1 and 2",
    "a boolean": "True + 1",
    "a condition": "1 if 2 else 3",
    "an assignment": "x = 1",
    "an assignment within": "(x := 1)",
    "two statements": "1; 2",
    "two lines": "1\n2",
    "a comment": "1 # 2",
    "an ellipsis": "...",
    "a complex number": "1j",
    "a hexadecimal number": "0x10",
    "an underscore": "1_000",
    "a thousands separator": "1,000",
    "a bit operation": "1 | 2",
    "an exclusive or that means a power": "2 ^ 3",
    "a shift": "1 << 2000",
    "an inversion": "~1",
    "a matrix product": "1 @ 2",
    "a star": "*1",
    "arabic digits": "\N{ARABIC-INDIC DIGIT ONE} + 1",
    "fullwidth digits": "\N{FULLWIDTH DIGIT ONE} + 1",
    "a superscript": "2\N{SUPERSCRIPT TWO}",
    "a fullwidth letter that Python would read as e": "1\N{FULLWIDTH LATIN SMALL LETTER E}5",
    "a null byte": "1\0",
    "half a character": "\ud800",
    "a byte-order mark": "\ufeff1",
    "a tab": "1\t+ 1",
    "a backslash": "1 + \\\n1",
}

INCOMPLETE = {
    "nothing": "",
    "spaces": "   ",
    "an open parenthesis": "(1",
    "a closed parenthesis": "1)",
    "an operator alone": "*",
    "half a sum": "1 +",
    "two numbers": "1 2",
    "half a number": "1e",
    "two points": "1.2.3",
    "a leading zero": "012",
}

TOO_MUCH = {
    "a tower of powers": "9 ** 9 ** 9",
    "a power of a power": "((2 ** 900) ** 900) ** 900",
    "a power of minus": "(-9) ** 999999999",
    "a power by a huge power": "2 ** (10 ** 300)",
    "a power of floats": "9.0 ** 999",
    "a power of the smallest": "0.1 ** -1000",
    "one bit more than allowed": f"2 ** {MAX_BITS} * 2",
    "a literal": "9" * 400,
    "a float literal that is infinite": "1e999",
    "the difference of infinities": "1e999 - 1e999",
    "a quotient": "1e300 / 1e-300",
    "an integer that no float holds": "(10 ** 301) * 9 / 0.1",
    "a long text": "1" + "+1" * (MAX_LENGTH // 2),
    "parentheses": "(" * 249 + "1" + ")" * 249,
    "signs": "-" * 400 + "1",
    "a deep sum": "1" + "+1" * 200,
}

WITHOUT_VALUE = {
    "division by zero": "1 / 0",
    "division by zero without remainder": "1 // 0",
    "a remainder by zero": "1 % 0",
    "a remainder by zero, floating": "1.0 % 0",
    "zero to a negative power": "0 ** -1",
    "the square root of a negative number": "(-8) ** 0.5",
}

CPU_SECONDS = 0.2
"""Far more than any refusal takes, far less than what is refused would. Load does not add to it."""


@pytest.mark.parametrize(("expression", "value"), VALUES.items())
def test_arithmetic_has_its_value(expression: str, value: float) -> None:
    result = calculate(expression)

    assert (result, type(result)) == (value, type(value))


def test_the_examples_in_the_documentation_are_true() -> None:
    assert doctest.testmod(calculator).failed == 0


def refused(table: dict[str, str]) -> Callable[[Callable[[str], None]], Callable[[str], None]]:
    """Run a test for every expression of a table."""
    return pytest.mark.parametrize("expression", table.values(), ids=table)


@refused(OTHER_LANGUAGE | INCOMPLETE)
def test_what_is_not_arithmetic_is_refused(expression: str) -> None:
    with pytest.raises(CalculationError):
        calculate(expression)


@refused(TOO_MUCH)
def test_what_would_take_long_or_much_is_refused_at_once(expression: str) -> None:
    begun = time.process_time()

    with pytest.raises(CalculationError):
        calculate(expression)

    assert time.process_time() - begun < CPU_SECONDS


@refused(WITHOUT_VALUE)
def test_what_has_no_real_value_is_refused(expression: str) -> None:
    with pytest.raises(CalculationError):
        calculate(expression)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("", "the expression is empty"),
        ("2 ^ 3", "write ** for a power"),
        ("1,000", "no commas"),
        ("1 / 0", "division by zero"),
        ("9 ** 9 ** 9", "larger than 2 **"),
        ("1" * 600, "600 characters"),
        ("-" * 400 + "1", "nested"),
        ("sqrt(2)", "'s' is not arithmetic"),
    ],
)
def test_a_refusal_says_what_is_wrong(expression: str, words: str) -> None:
    with pytest.raises(CalculationError) as caught:
        calculate(expression)

    assert words in str(caught.value)


NUMBERS = st.one_of(
    st.integers(0, 1000).map(str),
    st.floats(0, 1000, allow_subnormal=False).map(lambda value: f"{value:.3f}"),
)


def _combined(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operators = st.sampled_from(["+", "-", "*", "/", "//", "%"])
    powers = st.tuples(parts, st.integers(-3, 3)).map(lambda one: f"({one[0]}) ** ({one[1]})")
    signs = st.tuples(st.sampled_from("+-"), parts).map("".join)
    return st.one_of(
        st.tuples(parts, operators, parts).map(" ".join),  # precedence decides
        parts.map(lambda part: f"({part})"),
        powers,
        signs,
    )


@given(st.recursive(NUMBERS, _combined, max_leaves=8))
@settings(max_examples=500)
def test_the_value_is_the_one_that_python_has(expression: str) -> None:
    try:
        expected = eval(expression)  # noqa: S307 - the strategy makes nothing but arithmetic
    except (ZeroDivisionError, OverflowError):
        expected = None

    if expected is None or isinstance(expected, complex):
        with pytest.raises(CalculationError):
            calculate(expression)
    else:
        try:
            result = calculate(expression)
        except CalculationError as error:
            assert "larger than" in str(error) or "characters" in str(error)  # noqa: PT017
        else:
            assert (result, type(result)) == (expected, type(expected))


@given(st.text(st.sampled_from("0123456789.eE+-*/%() "), max_size=60))
@settings(max_examples=500)
def test_any_text_of_the_right_characters_has_a_real_value_or_is_refused(text: str) -> None:
    try:
        value = calculate(text)
    except CalculationError:
        return
    assert type(value) in (int, float)
    assert abs(value) <= 2**MAX_BITS


@given(st.text(max_size=200))
def test_any_text_at_all_has_a_real_value_or_is_refused(text: str) -> None:
    try:
        value = calculate(text)
    except CalculationError:
        return
    assert type(value) in (int, float)
