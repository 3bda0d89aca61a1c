import pytest

from tools.policy.rules import covers


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        ("notes/*", "notes/a.txt"),
        ("notes/*", "notes/2026/a.txt"),
        ("*.txt", "a b.txt"),
        ("*@example.org", "ada@example.org"),
        ("*@example.org", ["ada@example.org", "bob@example.org"]),
        ("a, b", "a, b"),
        ("https://example.org/*", "https://example.org/a//b"),
        ("*", "anything at all"),
    ],
)
def test_a_pattern_matches_what_it_means(pattern, value):
    assert covers({"path": pattern}, {"path": value, "content": "x"})


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        ("notes/*", "notes/../secret.txt"),
        ("notes/*", "notes/a/../../secret.txt"),
        ("notes/*", "notes/..\\secret.txt"),
        ("notes/*", "./notes/a.txt"),
        ("notes/*", "notes/."),
        ("notes/*", "notes//."),
        ("notes/*", "Notes/a.txt"),
        ("notes/*", "/notes/a.txt"),
        ("notes/*", "notes"),
        ("notes/*", "notes/a\0.txt"),
        ("https://example.org/open/*", "https://example.org/open/../closed"),
        ("https://example.org/open/*", "https://example.org/open/%2e%2e/closed"),
        ("*@example.org", "eve@evil.example, ada@example.org"),
        ("*@example.org", "eve@evil.example;ada@example.org"),
        ("*@example.org", "eve@evil.example\nada@example.org"),
        ("*@example.org", ["ada@example.org", "eve@evil.example"]),
        ("*", []),
        ("*", [5]),
        ("*", 5),
        ("*", None),
        ("*", {"a": "b"}),
    ],
)
def test_a_pattern_matches_nothing_that_leads_elsewhere_or_is_more_than_one(pattern, value):
    assert not covers({"path": pattern}, {"path": value})


@pytest.mark.parametrize(
    ("where", "args"),
    [
        ({"path": "*"}, {}),
        ({"path": "*", "content": "*"}, {"path": "a"}),
        ({"path": "a", "content": "y"}, {"path": "a", "content": "x"}),
        ({}, {"path": "a"}),
        ({"path": "*"}, None),
        ({"path": "*"}, "path"),
    ],
)
def test_every_pattern_must_be_met(where, args):
    assert not covers(where, args)
