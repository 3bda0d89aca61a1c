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
        ("https://*.example.org/*", "https://a.example.org/b/c?d=e#f"),
        ("https://example.???/*", "https://example.org/a"),
        ("a\tb*", "a\tbc"),
        ("notes/+([!/]).md", "notes/a b.md"),
        ("a@b.org,c@d.org", ["a@b.org", "c@d.org"]),
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
        ("notes/+([!/]).md", "notes/.md"),
        ("notes/+([!/]).md", "notes/deep/a.md"),
        ("notes/+([!/]).md", "notes/a.sh"),
        ("notes/+([[]!/])", "notes/a"),
        ("a@b.org,c@d.org", ["a@b.org"]),
        ("a@b.org,c@d.org", ["a@b.org", "c@d.org", "eve@evil.example"]),
        ("a@b.org,c@d.org", ["a@b.org,c@d.org", "eve@evil.example"]),
        ("a,b", ["a,b", "c"]),
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
        ("*@example.org", "evil@x ada@example.org"),
        ("*@example.org", "evil@x\tada@example.org"),
        ("*@example.org", '"evil@x" <ada@example.org'),
        ("*@example.org", "evil@x\u2028ada@example.org"),
        ("*@example.org", "evil x\u00a0ada@example.org"),
        ("*@example.org", "evil\uff20x\uff0cada@example.org"),
        ("notes/*", "notes/.\t./secret"),
        ("notes/*", "notes/.\t."),
        ("notes/*", "notes/.\u200b./secret"),
        ("notes/*", "notes/a\u2028b"),
        ("notes/*", "notes/a\u0085b"),
        ("notes/*", "notes/\u2025/secret"),
        ("notes/*", "notes/\uff0e\uff0e/secret"),
        ("notes/*", "notes/%252e%252e/secret"),
        ("*", "%" + "25" * 200_000 + "2e%2e"),
        ("*", "a\tb"),
        ("https://*.example.org/*", "https://evil.example/x.example.org/"),
        ("https://*.example.org/*", "https://evil.example?.example.org/"),
        ("https://*.example.org/*", "https://evil.example\\.example.org/"),
        ("https://*.example.org/*", "https://a@evil.example#.example.org/"),
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
