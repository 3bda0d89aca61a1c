import pytest

from tools.policy.rules import covers
from tools.policy.taint import link_of, links_in


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


@pytest.mark.parametrize(
    ("text", "link"),
    [
        ("See https://Example.com/menu.", "https://example.com/menu"),
        ("(https://example.com/menu)", "https://example.com/menu"),
        ("https://example.com/wiki/Tea_(drink)", "https://example.com/wiki/Tea_(drink)"),
        ("read example.com/menu, please", "https://example.com/menu"),
        ("www.example.com", "http://www.example.com/"),
        ("http://localhost:8123/api", "http://localhost:8123/api"),
        ("<a href='http://example.com:80/a?b=c#d'>", "https://example.com/a?b=c"),
    ],
)
def test_a_link_that_a_text_names_is_found_however_it_is_spelled(text, link):
    assert link_of(link) in links_in(text)


@pytest.mark.parametrize(
    ("text", "link"),
    [
        ("example.com/menu", "https://example.com/menu?q=secret"),
        ("example.com", "https://evil.example.com"),
        ("example.com", "https://example.com.evil.example"),
        ("example.com:8080", "https://example.com"),
        ("ada@example.com", "https://example.com"),
        ("https://example.com@evil.example/", "https://example.com"),
        ("no link at all", "https://example.com"),
    ],
)
def test_no_other_link_counts_as_named(text, link):
    assert link_of(link) not in links_in(text)


@pytest.mark.parametrize(
    "text", ["", "ftp://example.com", "https://a:b@example.com/", "http://[::1", "\ud800"]
)
def test_what_is_no_link_has_no_form(text):
    assert link_of(text) is None
