"""What strangers wrote is text, wherever it is shown."""

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Route

from tests.server.page.browser.window import Window
from tests.server.page.site import Site

pytestmark = pytest.mark.slow

AWAY = "https://stranger.example/hit"
HOSTILE = {
    "a script": f"<script>window.hit = 1</script><script src={AWAY}.js></script>",
    "an event": "<img src=x onerror='window.hit = 1'><b onclick=hit>\" onmouseover=\"window.hit = 1",
    "a script's address": "[free](javascript:window.hit=1) <a href='javascript:window.hit=1'>free</a>",
    "a drawing": f"<svg onload='window.hit = 1'><image href='{AWAY}.svg'/></svg>",
    "pictures": f"![free]({AWAY}.png) ![][r]\n\n[r]: {AWAY}.png",
    "letters that turn": "pay \u202eeerf\u202c\u2066\u200b\u00ad you",
    "data": "[a](data:text/html,<script>window.hit=1</script>) ![b](data:image/svg+xml,<svg/onload=hit>)",
    "a template": "{{constructor.constructor('window.hit=1')()}} ${window.hit = 1} <%= hit %>",
    "a long word": "Donaudampfschifffahrtsgesellschaft" * 40,
    "a comment": f"<!-- --><style>@import '{AWAY}.css'</style><iframe src='{AWAY}'></iframe><!-- -->",
}
LIKE_OTHERS = {"a drawing", "a template", "a comment"}
VIEWS = ("talk/t", "waiting", "done", "spent", "agreed", "remembered", "planned")
KEPT = {"id", "question", "status", "role", "tool_call_id", "type", "day", "event", "updated_at"}
"""What the server alone writes, or what a page cannot do without."""


def _everywhere(value: Any, text: str, name: str = "") -> Any:
    """Return a value with a text for every string that others may have written, names of arguments too."""
    if isinstance(value, dict):
        own = {key: _everywhere(each, text, key) for key, each in value.items()}
        return {**own, text: text} if name in {"args", "where"} else own
    if isinstance(value, list):
        return [_everywhere(each, text, name) for each in value]
    return text if isinstance(value, str) and name not in KEPT else value


def _told(text: str) -> dict[str, Any]:
    """Return what the server tells the page, with a text wherever a stranger can have written."""
    action = {"name": "n", "args": {"a": "a", "b": ["b"]}, "description": "```\n+p\n```\n\nwhy"}
    request = {"message": "m", "problem": "p", "approvers": ["a"], "action_requests": [action]}
    calls = [{**action, "tool_call_id": number, "offer": {"text": "o"}} for number in ("1", "2")]
    card = {"id": "t", "user": "u", "title": "t", "since": 1, "question": "q", "may_answer": True}
    schema = {"properties": {"a": {"type": "string", "description": "d"}, "c": {"enum": ["e"]}}}
    asked = [{**card, "request": {**request, "action_requests": calls}, "schemas": {text: schema}}]
    asked += [{**card, "id": "u", "question": "r", "may_answer": False, "request": request}]
    said = [{"role": role, "text": "t", "attachments": [{"name": "n"}]} for role in ("user", "assistant")]
    receipt = {"tool": "t", "call_id": "c", "status": "failed", "text": "t"}
    result = {"response": "r", "receipts": [receipt], "backend": "b", "usage": {}, "stop_reason": "s"}
    talk = {"id": "t", "title": "t", "status": "answered", "user": "u", "updated_at": 1}
    call = {"thread": "t", "call_id": "c", "user": "u", "model": "m", "tool": "t", "args": {"a": "a"}}
    call |= {
        "status": "executed",
        "decision": "d",
        "decided_by": "b",
        "result_sha256": "h",
        "result_size": 1,
        "started_at": 1,
    }
    notice = dict.fromkeys(("id", "what", "title", "text", "note", "conversation"), "t")
    told = {
        "conversations": [talk],
        "conversations/t": {**talk, "messages": said, "result": result, "live": None},
        "waiting": asked,
        "audit": [call],
        "usage": [{"day": "2026-11-28", "user": "u", "model": "m", "role_": "r", "cost_usd": 1}],
        "rules": [{"id": "r", "tool": "t", "text": "t", "facts": ["f"]}],
        "pins": [{"server": "s", "tool": "t", "text": "t", "facts": ["f"]}],
        "memories": [{"id": "m", "text": "t", "facts": ["f"]}],
        "planned": [{"id": "p", "text": "t", "facts": ["f"], "status": "active"}],
        "notices": {"notices": [notice], "more": 0},
    }
    told = {path: _everywhere(value, text) for path, value in told.items()}
    for each in told["waiting"]:
        named = each["request"]["action_requests"][0]["name"]
        each["request"]["review_configs"] = [{"action_name": named, "allowed_decisions": ["edit"]}]
        for action in each["request"]["action_requests"]:
            action["description"] = f"```\n+{text}\n```\n\n{text}"
    return told


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[pytest.mark.prove(sampled=False)] if kind in LIKE_OTHERS else [])
        for kind in HOSTILE
    ],
)
def test_a_hostile_text_is_shown_as_text_in_every_field_and_loads_nothing(window: Window, kind: str):
    page, text = window.page, HOSTILE[kind]
    told = _told(text)

    def answer(route: Route) -> None:
        path = route.request.url.partition("/app/api/")[2].partition("?")[0]
        if path in told:
            route.fulfill(json=told[path])
        else:
            route.continue_()

    page.route("**/app/api/**", answer)
    for view in VIEWS:
        window.open(view)
        page.reload()
        sample = {"pictures": "free", "a script's address": "free"}.get(kind, text.split()[0][:40])
        _is_shown(window, sample)
        for button in ("Edit…", "Always…"):
            if view == "waiting":
                window.press(button)
                _is_shown(window, sample)
                window.button("Back").click()
        for summary in page.locator("main summary").all():
            summary.click()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{view} is too wide"
    _is_harmless(window)


def _is_shown(window: Window, sample: str) -> None:
    """Wait until a text is shown, in the list at the side, in a notice and in the view."""
    shown = """(sample) => ["#conversations", "#told", "main"].every((place) => {
        const at = document.querySelector(place);
        return [at.innerText, ...[...at.querySelectorAll("input, textarea")].map((each) => each.value)]
            .some((each) => each.includes(sample)) })"""
    window.page.wait_for_function(shown, arg=sample)


def _is_harmless(window: Window) -> None:
    page = window.page
    assert page.evaluate("window.hit") is None
    assert (
        page.evaluate(
            "document.querySelectorAll('main :is(script, style, iframe, img:not([alt=\"\"]), image)').length"
        )
        == 0
    )
    schemes = page.evaluate("[...document.querySelectorAll('a[href]')].map((each) => each.protocol)")
    assert set(schemes) <= {"http:", "https:", "mailto:"}


def test_what_a_model_wrote_is_markdown_without_anything_that_loads(window: Window, open_site: Site):
    page = window.page
    wild = Path(open_site.workspace) / "wild.md"
    wild.parent.mkdir(parents=True, exist_ok=True)
    wild.write_text("\n\n".join(HOSTILE.values()) + f"\n\n[bank]({AWAY}?next=1) <mailto:a@b.example> **end**")
    window.say("read wild.md")
    page.locator(".account").wait_for()
    _is_harmless(window)
    page.reload()
    page.locator(".account").wait_for()
    _is_harmless(window)


def test_markdown_is_drawn_and_each_link_shows_where_it_leads(window: Window):
    page = window.page
    text = (
        f"# Title\n\nSome *soft* and **loud** `code`.\n\n1. one\n   - inner\n2. two\n\n| a | b |\n|---|---|\n"
        f"| 1 | <b> |\n\n> said\n\n```py\n<x> = 1\n```\n\n"
        f"[bank]({AWAY}?a=1) ![cat]({AWAY}.png) [x](vbscript:1)"
    )
    found = {"id": "t", "title": "t", "status": "answered", "updated_at": 1, "live": None, "result": None}
    found["messages"] = [{"role": "assistant", "text": text}]
    page.route("**/api/conversations/t", lambda route: route.fulfill(json=found))
    window.open("talk/t")
    page.locator(".markdown h2", has_text="Title").wait_for()
    shown = page.locator(".markdown")
    for selector, words in {
        "em": "soft", "strong": "loud", "p > code": "code", "ol ul > li": "inner", "th": "a",
        "ol > li:nth-child(2)": "two", "td:nth-child(2)": "<b>", "blockquote": "said", "pre code": "<x> = 1",
    }.items():  # fmt: skip
        assert shown.locator(selector).first.inner_text() == words
    links = shown.locator("a").evaluate_all("(all) => all.map((a) => [a.innerText, a.href, a.rel])")
    assert links == [
        [f"bank ({AWAY}?a=1)", f"{AWAY}?a=1", "noopener noreferrer"],
        [f"cat ({AWAY}.png)", f"{AWAY}.png", "noopener noreferrer"],
    ]
    assert "[x](vbscript:1)" in shown.inner_text()


def test_no_text_stops_the_page(window: Window):
    page = window.page
    signs = ["[", "`", "*a ", "**", "| ", "> ", "# ", "- ", "[a](", "https://", "_", "\\", "~", "<"]
    slow = [sign * (60_000 // len(sign)) for sign in signs]
    slow += ["#" + " " * 60_000, "a" + " " * 60_000 + "b"]
    took = page.evaluate(
        """async (texts) => { const { Markdown } = await import("/app/static/markdown.js");
        return texts.map((text) => { const began = performance.now();
            new Markdown(document.createElement("div")).show(text); return performance.now() - began }) }""",
        slow,
    )
    assert max(took) < 5_000, json.dumps(dict(zip((each[:6] for each in slow), took, strict=True)))


def test_no_letters_turn_a_link_a_title_or_what_one_said_around(window: Window):
    page, turned = (
        window.page,
        "\u202e[moc.knab](http://127.0.0.1:2079/x) \u2067a\x07 \U0001f469\u200d\U0001f680",
    )
    found = {"id": "t", "title": turned, "status": "answered", "updated_at": 1, "live": None, "result": None}
    found["messages"] = [{"role": role, "text": turned, "attachments": []} for role in ("user", "assistant")]
    page.route("**/api/conversations/t", lambda route: route.fulfill(json=found))
    window.open("talk/t")
    page.locator(".markdown a").wait_for()
    shown = page.locator(".markdown").inner_text()
    assert shown == "\\u{202e}moc.knab (http://127.0.0.1:2079/x) \\u{2067}a\\u{7} \U0001f469\u200d\U0001f680"
    assert page.locator(".user p").inner_text().startswith("\\u{202e}[moc.knab]")
    assert page.get_by_label("Title").input_value().startswith("\\u{202e}[moc.knab]")
    isolated = page.locator(".markdown a, .address").evaluate_all(
        "(all) => all.map((each) => getComputedStyle(each).unicodeBidi)"
    )
    assert isolated == ["isolate", "isolate"]


@pytest.mark.parametrize("name", ["%ff", "../me", "..", "nobody"])
def test_what_is_no_conversation_is_told_as_that(window: Window, name: str):
    window.open(f"talk/{name}")
    window.page.reload()
    window.page.locator("h1", has_text="There is no such conversation.").wait_for()
