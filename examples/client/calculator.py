"""A calculator for expressions that a model wrote, which is untrusted input.

`tools.py` offers it to the model. It never calls `eval`: the text is parsed, and only numbers, the
seven operators and the two signs are evaluated, each within limits, so that no expression can run
code, take long or fill the memory.

    >>> calculate("6 + 2 * 3")
    12
    >>> calculate("2 ** 10 % 1000")
    24
"""

import ast
import math
import operator
import re
from collections.abc import Callable

MAX_LENGTH = 500
"""Characters of an expression."""

MAX_DEPTH = 100
"""Operators within operators. `1 + 2 + 3` is two deep, as Python reads it: `(1 + 2) + 3`."""

MAX_BITS = 1000
"""Size of every number on the way: 2 ** 1000 has 302 digits and still fits a float."""

Number = int | float

_AS_TYPED = str.maketrans(
    {"\N{MULTIPLICATION SIGN}": "*", "\N{DIVISION SIGN}": "/", "\N{MINUS SIGN}": "-"}
)
_NOT_ARITHMETIC = re.compile(r"[^0-9.eE+\-*/%() ]")
_HINTS = {
    "^": "write ** for a power",
    ",": "write 1234.5, with a point and no commas",
    "=": "write only what is to be computed",
}

_BINARY: dict[type[ast.operator], Callable[[Number, Number], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_UNARY: dict[type[ast.unaryop], Callable[[Number], Number]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}


class CalculationError(ValueError):
    """The expression has no value here; the text says why, in words that can go to the model."""


def calculate(expression: str) -> Number:
    """Return the value of an arithmetic expression.

    It may hold decimal numbers (`12`, `0.5`, `1e3`), `+ - * / // % **`, parentheses and spaces, and
    also the multiplication, division and minus signs that people paste from a text.

    Raises:
        CalculationError: it holds something else, is not complete, has no real value, or is beyond
            `MAX_LENGTH`, `MAX_DEPTH` or `MAX_BITS`.
    """
    if len(expression) > MAX_LENGTH:
        raise CalculationError(
            f"the expression has {len(expression)} characters; at most {MAX_LENGTH} are allowed"
        )
    text = expression.translate(_AS_TYPED).strip()
    if not text:
        raise CalculationError("the expression is empty")
    _refuse_other_characters(text)
    try:
        tree = ast.parse(text, mode="eval")
    except SyntaxError as error:
        raise CalculationError(f"this is not an arithmetic expression: {error.msg}") from error
    except (MemoryError, RecursionError) as error:  # what the parser says to deep nesting
        raise CalculationError("the expression is nested too deeply") from error
    return _value(tree.body, 0)


def _refuse_other_characters(text: str) -> None:
    """Keep names, strings, brackets and exotic digits away from the parser, with a clear error."""
    match = _NOT_ARITHMETIC.search(text)
    if match is not None:
        hint = _HINTS.get(match.group(), "write numbers, + - * / // % ** and parentheses")
        raise CalculationError(f"{match.group()!r} is not arithmetic: {hint}")


def _value(node: ast.expr, depth: int) -> Number:
    if depth > MAX_DEPTH:
        raise CalculationError(f"more than {MAX_DEPTH} operators are nested")
    match node:
        case ast.Constant(value=int(value) | float(value)) if not isinstance(value, bool):
            return _bounded(value)
        case ast.UnaryOp(op=sign, operand=operand) if type(sign) in _UNARY:
            return _UNARY[type(sign)](_value(operand, depth + 1))
        case ast.BinOp(left=left, op=symbol, right=right) if type(symbol) in _BINARY:
            return _applied(symbol, _value(left, depth + 1), _value(right, depth + 1))
    raise CalculationError("only numbers, + - * / // % ** and parentheses are allowed")


def _applied(symbol: ast.operator, left: Number, right: Number) -> Number:
    if isinstance(symbol, ast.Pow):
        _refuse_huge_power(left, right)
    try:
        return _bounded(_BINARY[type(symbol)](left, right))
    except ZeroDivisionError as error:
        raise CalculationError("division by zero") from error
    except OverflowError as error:
        raise CalculationError(_TOO_LARGE) from error


def _refuse_huge_power(base: Number, exponent: Number) -> None:
    """Refuse before computing: unlike one of floats, a power of integers can run endlessly."""
    if not (isinstance(base, int) and isinstance(exponent, int)):
        return
    # |base| >= 2 ** (bits - 1), so what is refused here is too large for certain, and what is not
    # has at most twice the allowed bits.
    if (abs(base).bit_length() - 1) * exponent > MAX_BITS:
        raise CalculationError(_TOO_LARGE)


_TOO_LARGE = f"a number on the way is larger than 2 ** {MAX_BITS}"


def _bounded(value: Number | complex) -> Number:
    if isinstance(value, complex):
        raise CalculationError("a fractional power of a negative number is not a real number")
    if abs(value) > 2**MAX_BITS or math.isnan(value):
        raise CalculationError(_TOO_LARGE)
    return value
