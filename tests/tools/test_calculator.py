from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.calculator import calculate
from tools.run import run_tool


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("12*7", "84"),
        ("0.1+0.2", "0.3"),
        ("1/3*3", "1"),
        ("1/3", "0.3333333333333333"),
        ("10/4", "2.5"),
        ("-7//2", "-4"),
        ("-7.5 % 2", "0.5"),
        ("2**-1", "0.5"),
        ("2^10", "1024"),
        ("2**100", "1267650600228229401496703205376"),
        ("-2**2", "-4"),
        ("12 \N{MULTIPLICATION SIGN} 3 \N{DIVISION SIGN} 4 \N{MINUS SIGN} 1 =", "8"),
        ("(1 + 2) * +3", "9"),
        ("sqrt(16)", "4"),
        ("sqrt(2)", "1.414213562373095"),
        ("sqrt(2)**2", "2"),
        ("2**0.5", "1.414213562373095"),
        ("pi", "3.141592653589793"),
        ("-e", "-2.718281828459045"),
        ("round(2.675, 2)", "2.68"),
        ("round(7/2)", "4"),
        ("abs(-3.5)", "3.5"),
        ("min(3, 1/2, 2)", "0.5"),
        ("MAX(1, 2.5)", "2.5"),
        ("1e-30", "0.000000000000000000000000000001"),
        ("1e-60", "1e-60"),
        ("1_000 + 0xff", "1255"),
        ("0 * 9**2000", "0"),
        ("1**(10**900)", "1"),
        ("(-1)**(10**900 + 1)", "-1"),
    ],
)
async def test_results_are_exact_and_plain(call, expression, result):
    assert (await call("calculate", expression=expression)).text == result


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("9**9**9", "too large"),
        ("9**-9**9", "too large"),
        ("*".join(["9**2000"] * 100), "too large or too fine"),
        ("10**3999.5", "too large"),
        ("10**-5000.5", "too large or too small"),
        ("1e999999999", "too large or too small"),
        ("round(1, 10**9)", "whole number of digits"),
        ("1 << 99999999", "not supported"),
        ("factorial(99999)", "not supported"),
        ("(" * 450 + "1" + ")" * 450, "too many nested parentheses"),
        ("-" * 990 + "1", "nested too deeply"),
        ("1" * 5000, "longer than 1000 characters"),
        ("1/0", "Division by zero"),
        ("0**-1", "Division by zero"),
        ("5 % 0", "Division by zero"),
        ("sqrt(-1)", "no real value"),
        ("(-8)**(1/3)", "no real value"),
        ("1,000 * 2", "write 1000, not 1,000"),
        ("sqrt()", "too few or too many"),
        ("max()", "not an arithmetic expression"),
        ("max(1, key=2)", "not supported"),
        ("__import__('os').system('id')", "not supported"),
        ("().__class__", "not supported"),
        ("[1][0]", "not supported"),
        ("'a' * 9", "not supported"),
        ("1j", "not supported"),
        ("True + 1", "not supported"),
        ("x", "functions sqrt, abs, round, min, max"),
        ("5!", "not an arithmetic expression"),
        ("", "not an arithmetic expression"),
        ("1 +", "not an arithmetic expression"),
        ("1\0", "not an arithmetic expression"),
    ],
)
async def test_what_cannot_be_computed_is_refused_in_words(call, expression, complaint):
    outcome = await call("calculate", expression=expression)
    assert outcome.status == "failed"
    assert complaint in outcome.text


numbers = st.integers(-(10**6), 10**6) | st.decimals(-1000, 1000, places=3)


@given(left=numbers, op=st.sampled_from(["+", "-", "*"]), right=numbers)
async def test_sums_and_products_of_decimals_lose_nothing(left, op, right):
    text = await calculate.run(None, {"expression": f"({left:f}) {op} ({right:f})"})
    exact = {"+": Fraction.__add__, "-": Fraction.__sub__, "*": Fraction.__mul__}[op]
    assert Fraction(text) == exact(Fraction(left), Fraction(right))


@given(expression=st.text("0123456789.+-*/%^()e, sqrtminab", max_size=40))
async def test_no_expression_raises_or_takes_long(expression):
    from base.settings import Settings
    from tools.declaration import Here

    here = Here(Settings(data_dir="d", workspace="w"), "ada", "user", "t", "c", "k")
    outcome = await run_tool(calculate, here, {"expression": expression})
    assert outcome.text.startswith("Tool error: ") == (outcome.status == "failed")
    assert "Error:" not in outcome.text
