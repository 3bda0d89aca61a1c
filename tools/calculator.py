"""Arithmetic with exact fractions, without eval, in bounded time."""

import ast
import decimal
import operator
from collections.abc import Callable
from decimal import Context, Decimal, DecimalException, DivisionByZero, InvalidOperation, localcontext
from fractions import Fraction
from typing import Annotated

from tools.declaration import ToolFailure, tool

_LONGEST_EXPRESSION = 1_000
"""Characters of an expression."""
_MOST_BITS = 10_000
"""Of a numerator or denominator: about 3,000 digits."""
_EXACT_DIGITS = 50
"""A result of more digits behind the point is rounded."""
_ROUNDED_DIGITS = 16
_WORKING = Context(
    prec=60,
    Emax=4_000,
    Emin=-4_000,
    traps=[InvalidOperation, DivisionByZero, decimal.Overflow, decimal.Underflow],
)
"""For roots and fractional powers; its rounding stays far behind the digits shown."""

_SPELLINGS = str.maketrans(
    {"\N{MULTIPLICATION SIGN}": "*", "\N{DIVISION SIGN}": "/", "\N{MINUS SIGN}": "-", "^": "**"}
)


@tool(effect="read", role="guest")
def calculate(
    expression: Annotated[str, "such as (12.5 + 3) * 2^10, with sqrt, abs, round, min, max, pi and e"],
) -> str:
    """Compute an arithmetic expression exactly."""
    source = expression.translate(_SPELLINGS).strip().rstrip("=").strip()
    if len(source) > _LONGEST_EXPRESSION:
        raise ToolFailure(f"The expression is longer than {_LONGEST_EXPRESSION} characters.")
    try:
        return _shown(_value(ast.parse(source, mode="eval").body, source))
    except ZeroDivisionError:
        raise ToolFailure("Division by zero.") from None
    except DecimalException:
        raise ToolFailure("That has no real value, or one too large or too small to compute.") from None
    except (RecursionError, MemoryError):
        raise ToolFailure("The expression is nested too deeply.") from None
    except TypeError:
        raise ToolFailure("A function was given too few or too many numbers.") from None
    except (SyntaxError, ValueError) as error:
        reason = getattr(error, "msg", error)
        raise ToolFailure(f"{expression[:80]!r} is not an arithmetic expression: {reason}.") from None


def _value(node: ast.expr, source: str) -> Fraction:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return _literal(number, ast.get_source_segment(source, node) or "")
        case ast.Name(id=name) if name.lower() in _CONSTANTS:
            return _CONSTANTS[name.lower()]
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
            return _UNARY[type(op)](_value(operand, source))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _bounded(_BINARY[type(op)](_value(left, source), _value(right, source)))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name.lower() in _FUNCTIONS:
            return _bounded(_FUNCTIONS[name.lower()](*(_value(each, source) for each in args)))
        case ast.Tuple():
            raise ToolFailure("A comma only separates the arguments of a function: write 1000, not 1,000.")
    part = ast.get_source_segment(source, node)
    raise ToolFailure(
        f"{part!r} is not supported. There are + - * / // % ** and parentheses, "
        f"{', '.join(_CONSTANTS)}, and the functions {', '.join(_FUNCTIONS)}."
    )


def _literal(number: float, text: str) -> Fraction:
    """Return what the text says, where a float would have rounded it."""
    if isinstance(number, int):
        return _bounded(Fraction(number))
    digits = Decimal(text.replace("_", ""))
    if digits and abs(digits.adjusted()) > _LONGEST_EXPRESSION:
        raise ToolFailure(f"{text} is too large or too small.")
    return Fraction(digits)


def _bounded(number: Fraction) -> Fraction:
    if max(number.numerator.bit_length(), number.denominator.bit_length()) > _MOST_BITS:
        raise ToolFailure("A number gets too large or too fine to compute exactly.")
    return number


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1:
        with localcontext(_WORKING):
            return Fraction(_decimal(base) ** _decimal(exponent))
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    if abs(base) not in {0, 1} and bits * abs(exponent) > _MOST_BITS:
        raise ToolFailure("The power is too large to compute exactly.")
    return base ** int(exponent)


def _root(number: Fraction) -> Fraction:
    with localcontext(_WORKING):
        return Fraction(_decimal(number).sqrt())


def _rounded(number: Fraction, digits: Fraction = Fraction(0)) -> Fraction:
    if digits.denominator != 1 or abs(digits) > _LONGEST_EXPRESSION:
        raise ToolFailure(f"round takes a whole number of digits up to {_LONGEST_EXPRESSION}.")
    return round(number, int(digits))


def _decimal(number: Fraction) -> Decimal:
    return Decimal(number.numerator) / Decimal(number.denominator)


def _shown(number: Fraction) -> str:
    """Write a number whole within 50 digits, else rounded to 16."""
    if number.denominator == 1:
        return str(number.numerator)
    scaled = number * 10**_EXACT_DIGITS
    if scaled.denominator != 1:
        with localcontext(Context(prec=_ROUNDED_DIGITS)):
            return str(_decimal(number).normalize()).lower()
    digits = f"{abs(scaled.numerator):0{_EXACT_DIGITS + 1}d}"
    sign = "-" if number < 0 else ""
    return f"{sign}{digits[:-_EXACT_DIGITS]}.{digits[-_EXACT_DIGITS:].rstrip('0')}"


_CONSTANTS = {
    "pi": Fraction("3.14159265358979323846264338327950288419716939937510582097494459"),
    "e": Fraction("2.71828182845904523536028747135266249775724709369995957496696763"),
}
_UNARY: dict[type[ast.unaryop], Callable[[Fraction], Fraction]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}
_BINARY: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: lambda left, right: Fraction(left // right),
    ast.Mod: operator.mod,
    ast.Pow: _power,
}
_FUNCTIONS: dict[str, Callable[..., Fraction]] = {
    "sqrt": _root,
    "abs": abs,
    "round": _rounded,
    "min": lambda *numbers: min(numbers),
    "max": lambda *numbers: max(numbers),
}

TOOLS = (calculate,)
