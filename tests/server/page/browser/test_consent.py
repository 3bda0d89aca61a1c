"""What is a yes on the page, and what is none."""

import json
from typing import Any

import pytest
from playwright.sync_api import Route

from server.page.consent import simplified
from tests.server.page.browser.conftest import Open
from tests.server.page.browser.window import Window, focused
from tests.server.page.site import Site, Visitor

pytestmark = pytest.mark.slow

AT_ONCE = """(again) => { window.clicked = 0;
const all = () => document.querySelectorAll('main [data-is="approve"]');
const seen = new Set(again ? all() : []);
new MutationObserver((changes) => {
    const moved = again && changes.some((each) => each.target.className === "cards");
    for (const each of all())
        if (moved || !seen.has(each)) { seen.add(each); window.clicked += 1; each.click() }
}).observe(document.body, { childList: true, subtree: true }) }"""
"""Clicks what agrees in the moment in which it appears, or moves, as a hand does that was about to click."""
CARD: dict[str, Any] = {
    "id": "t",
    "user": "bob",
    "title": "Heating",
    "since": 1,
    "question": "q",
    "may_answer": True,
    "schemas": {},
    "request": {"message": "", "review_configs": [], "action_requests": []},
}


def _answers(window: Window, **card: Any) -> list[dict[str, Any]]:
    """Show one card, and return what the page answers to it."""
    heard: list[dict[str, Any]] = []

    def answer(route: Route) -> None:
        heard.append(json.loads(route.request.post_data or ""))
        route.fulfill(status=202, json={"id": "t", "turn": 1})

    shown = {**CARD, **card}
    window.page.route("**/api/waiting", lambda route: route.fulfill(json=[] if heard else [shown]))
    window.page.route("**/api/conversations/t/answer", answer)
    window.open("waiting")
    window.page.reload()
    return heard


def _asking(name: str, args: dict[str, Any], **more: Any) -> dict[str, Any]:
    action = {"name": name, "args": args, "description": f"{name} asks.", "tool_call_id": f"c-{name}", **more}
    allowed = ["approve", "reject"] if "attempt" in more else ["approve", "edit", "reject"]
    return {
        "action_requests": [action],
        "review_configs": [{"action_name": name, "allowed_decisions": allowed}],
    }


def test_no_stray_key_and_no_click_meant_for_something_else_is_a_yes(window: Window, open_site: Site):
    page = window.page
    page.evaluate(AT_ONCE)
    page.get_by_label("Message", exact=True).fill('write "x" to stray.txt')
    for _ in range(3):
        page.keyboard.down("Enter")  # held, so that it repeats
    page.keyboard.up("Enter")
    window.button("Approve").wait_for()
    assert focused(page) == "Message"
    for key in ("Enter", "Space", "Enter", "Backspace"):
        page.keyboard.press(key)
    page.goto(f"{window.url}/app#waiting")
    window.button("Approve").wait_for()
    assert focused(page) == "Waiting"
    for key in ("Enter", "Space", "y", "Enter"):
        page.keyboard.press(key)
    window.press("Reject…")
    reason = page.get_by_label("Why not")
    reason.fill("no")
    reason.press("Enter")
    window.button("Back").click()
    window.press("Edit…")
    for field in ("path", "content"):
        page.get_by_label(field, exact=True).press("Enter")
    assert page.evaluate("window.clicked") > 0
    [waiting] = window.asked()
    assert waiting["title"] == 'write "x" to stray.txt'
    assert not (open_site.workspace / "stray.txt").exists()
    page.get_by_label("path", exact=True).fill("meant.txt")
    window.press("Run it with these changes")
    window.sees("will run as you edited it")
    window.button("Approve").wait_for(state="detached")


def test_a_card_that_slides_under_the_pointer_hears_no_click(window: Window, open_site: Site):
    page = window.page
    for name in ("first", "second"):
        window.open().say(f'write "x" to slid-{name}.txt')
        window.button("Approve").wait_for()
    window.open("waiting")
    window.button("Approve").nth(1).wait_for()
    page.wait_for_timeout(450)
    page.evaluate(AT_ONCE, True)
    with Visitor(open_site) as elsewhere:
        first, second = sorted(elsewhere.get("waiting"), key=lambda each: each["title"])
        assert elsewhere.answer(first, "reject").status_code == 202
    window.sees("This no longer waits")
    window.sees("write_file: rejected by local; denied.")
    assert page.evaluate("window.clicked") > 0
    assert [each["id"] for each in window.asked()] == [second["id"]]
    window.press("Reject…")
    window.press("Reject")
    window.sees("Sent")


def test_what_is_deaf_looks_so_and_a_form_that_grows_is_not(window: Window):
    heard = _answers(window, request=_asking("mail", {"to": "a@x.org", "body": "Hi"}))
    page = window.page
    states = """() => [...document.querySelectorAll("main .card button[aria-disabled]")]
        .filter((each) => each.checkVisibility()).map((each) => each.ariaDisabled)"""
    window.button("Approve").wait_for()
    page.wait_for_function(f"() => ({states})().every((each) => each === 'false')")
    page.evaluate(
        f"""() => {{ document.querySelector('[data-is="edit"]').click(); window.seen = ({states})() }}"""
    )
    assert page.evaluate("window.seen") == ["true"]
    page.wait_for_function(f"() => ({states})().every((each) => each === 'false')")
    body = page.get_by_label("body", exact=True)
    assert body.evaluate("(at) => at.tagName") == "TEXTAREA"
    body.evaluate("(at) => { at.style.height = '20rem' }")
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert page.evaluate(states) == ["false"]
    window.button("Run it with these changes").click()
    window.sees("Sent")
    assert len(heard) == 1


def test_a_message_sets_the_card_aside_at_once(window: Window):
    page = window.page
    window.say('write "x" to aside.txt')
    window.button("Approve").wait_for()
    page.route("**/api/audit*", lambda route: None)  # what became of it is never told
    page.evaluate("""() => { window.most = 0; new MutationObserver(() => { window.most = Math.max(window.most,
        document.querySelectorAll('main .card:not([inert]) [data-is="approve"]').length) })
        .observe(document.body, { childList: true, subtree: true }) }""")
    window.say('write "y" to beside.txt')
    page.locator(".card", has_text="beside.txt").wait_for()
    assert page.locator(".card", has_text="aside.txt").count() == 0
    assert page.evaluate("window.most") == 1


def test_two_tabs_that_answer_have_one_effect_and_are_both_told(window: Window, open_site: Site):
    window.say('write "x" to tabs.txt')
    window.button("Approve").wait_for()
    other = window.tab()
    other.route("**/api/events", lambda route: route.abort())  # one that hears of nothing
    other.goto(f"{window.url}/app#waiting")
    other.get_by_role("button", name="Approve").wait_for()
    window.press("Approve")
    window.sees("I wrote “x” to tabs.txt")
    other.wait_for_timeout(450)
    other.get_by_role("button", name="Approve").click()
    other.get_by_text("This no longer waits").wait_for()
    other.get_by_text("was approved by local").wait_for()


def test_calls_of_one_round_are_answered_together_each_for_itself(window: Window, open_site: Site):
    page = window.page
    window.say('write "x" to one.txt and write "y" to two.txt')
    window.sees("2 of 2 undecided")
    window.press("Approve")
    assert window.button("Send these decisions").is_hidden()
    window.press("Change")
    window.sees("2 of 2 undecided")
    window.press("Approve")
    window.press("Reject…")
    page.get_by_label("Why not").fill("not that one")
    window.press("Reject")
    assert len(window.asked()) == 1
    window.press("Send these decisions")
    window.sees("not that one")
    page.locator(".account .step.denied").wait_for()
    assert (open_site.workspace / "one.txt").exists()
    assert not (open_site.workspace / "two.txt").exists()


def test_an_edit_is_made_in_a_form_of_the_tools_schema(window: Window):
    schema = {
        "type": "object",
        "$defs": {"Mode": {"enum": ["heat", "off"], "type": "string"}, "Loop": {"$ref": "#/$defs/Loop"}},
        "properties": {
            "room": {"type": "string", "description": "which room"},
            "degrees": {"type": "number"},
            "mode": {"$ref": "#/$defs/Mode"},
            "quiet": {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
            "tell": {"type": "array", "items": {"type": "string"}},
            "more": {"type": "object"},
            "note": {"type": "string"},
            "loop": {"$ref": "#/$defs/Loop"},
        },
        "required": ["room"],
    }
    args = {"room": "hall", "degrees": 19, "mode": "heat", "tell": ["ann"], "more": {"a": 1}, "odd": [None]}
    heard = _answers(window, request=_asking("heat", args), schemas={"heat": simplified(schema)})
    page = window.page
    window.press("Edit…")
    page.get_by_label("degrees").fill("warm")
    window.press("Run it with these changes")
    window.sees("degrees: “warm” is no number.")
    page.get_by_label("degrees").fill("20.5")
    page.get_by_label("mode").select_option("off")
    page.get_by_label("quiet").select_option("true")
    page.get_by_label("tell").fill("ann\nbob")
    window.press("Run it with these changes")
    window.sees("Sent")
    [answer] = heard
    [decision] = answer["decisions"]
    edited = {**args, "degrees": 20.5, "mode": "off", "quiet": True, "tell": ["ann", "bob"]}
    assert answer["question"] == "q"
    assert decision == {
        "type": "edit",
        "tool_call_id": "c-heat",
        "edited_action": {"name": "heat", "args": edited},
    }


def test_a_command_in_a_cards_sentence_is_code_and_other_ticks_stay(window: Window):
    said = "Say `twobrain skills trust tea`.\n\n```\n+echo `twobrain x`\n```\n\nIt runs `ls <b>`."
    _answers(window, request=_asking("mail", {"to": "`twobrain x`"}, description=said))
    card = window.page.locator(".card")
    card.get_by_text("twobrain skills trust tea").wait_for()
    assert card.locator(".effect code").all_inner_texts() == ["twobrain skills trust tea"]
    assert card.locator(".effect").inner_text().splitlines()[0] == "Say twobrain skills trust tea."
    for text in ("+echo `twobrain x`", "It runs `ls <b>`."):
        assert text in card.locator(".effect").inner_text()
    assert card.locator(".args dd").inner_text() == "`twobrain x`"


def test_a_rule_has_bounds_that_are_said_in_words(window: Window):
    heard = _answers(window, request=_asking("mail", {"to": ["a@x.org"], "body": "Hi\nthere", "copies": 2}))
    page = window.page
    window.press("Always…")
    window.press("Approve, and agree to the rule")
    window.sees("A pattern is empty: write *, where it may be anything.")
    assert heard == []
    page.get_by_label("to", exact=True).fill("*@x.org")
    page.get_by_label("body").fill("*")
    page.get_by_label("How often").fill("3")
    page.get_by_label("Until when").select_option("for good")
    words = (
        "mail runs without asking where to matches “*@x.org”, and body is anything, and copies is anything"
    )
    window.sees(f"From now on {words}: at most 3 more times, for good.")
    window.press("Approve, and agree to the rule")
    window.sees("Sent")
    assert heard[0]["decisions"][0]["remember"] == {"where": {"to": "*@x.org"}, "until": None, "uses": 3}


def test_a_rule_that_is_offered_is_one_more_choice(window: Window):
    offer = {"text": "Mails to the family, 20 times.", "remember": {"where": {"to": "*@x.org"}, "uses": 20}}
    heard = _answers(window, request=_asking("mail", {"to": "a@x.org"}, offer=offer))
    window.sees("Mails to the family, 20 times.")
    window.press("Approve, and agree to that rule")
    window.sees("Sent")
    assert heard[0]["decisions"] == [
        {"type": "approve", "remember": offer["remember"], "tool_call_id": "c-mail"}
    ]


@pytest.mark.parametrize(("choice", "said"), [("Run it again", "approve"), ("Count it as done", "reject")])
def test_whether_something_happened_is_asked_as_that(window: Window, choice: str, said: str):
    heard = _answers(window, request=_asking("heat", {"room": "hall"}, attempt=1))
    window.sees("Did it happen?")
    window.press(choice)
    window.sees("Sent")
    assert heard[0]["decisions"] == [{"type": said, "tool_call_id": "c-heat"}]


def test_what_waits_for_somebody_else_cannot_be_approved(open_as: Open):
    kid, alice = open_as("kid"), open_as("alice")
    kid.say('write "x" to homework.txt')
    kid.sees("It waits for alice.")
    assert kid.page.get_by_role("button", name="Approve").count() == 0
    alice.open("waiting")
    alice.sees("kid")
    alice.press("Approve")
    kid.sees("I wrote “x” to homework.txt")


def test_of_what_always_asks_no_rule_can_be_made(window: Window):
    _answers(window, request=_asking("propose_skill", {"name": "tea"}, always_asks=True))
    window.sees("propose_skill asks.")
    assert window.page.get_by_role("button", name="Always…").count() == 0
    assert window.page.get_by_role("button", name="Edit…").count() == 1
