"""What the page is told, as a browser reads it."""

import json
import math

from server.page.page import as_json


def test_a_number_that_javascript_would_read_as_another_is_a_text_digit_for_digit():
    told = json.loads(as_json({"args": [2**53 + 1, -(2**63), 2**53 - 1, 1.5, math.nan, -math.inf, True]}))
    assert told == {"args": ["9007199254740993", "-9223372036854775808", 2**53 - 1, 1.5, "nan", "-inf", True]}
