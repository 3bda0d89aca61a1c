import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from playwright.sync_api import Route

from tests.server.page.browser.conftest import Open
from tests.server.page.browser.window import NARROW, WIDE, Network, Window, focused, tabbed
from tests.server.page.conftest import TOKENS
from tests.server.page.site import Site, Visitor
from tests.server.page.test_planned import nightly, plan, soon
from tests.server.page.test_turns import WAITS, let_go

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("size", [pytest.param(WIDE, marks=pytest.mark.prove(sampled=False)), NARROW])
def test_a_newcomer_finds_everything_by_keyboard_alone(open_window: Open, site: Site, size, tmp_path: Path):
    window = open_window(site.url, size=size).open()
    name = f"walk-{size[0]}.txt"
    _sign_in_and_attach(window, tmp_path / "list.txt")
    _approve_edit_and_reject(window, name)
    _agree_to_a_rule_and_revoke_it(window, name)
    _go(window, "Spent")
    window.sees("By brain")
    assert window.page.locator(".by-day .bars i").count() >= 30
    _go(window, "Done")
    window.page.locator("summary", has_text=name).first.wait_for()
    _go(window, "", leave=True)
    window.page.get_by_label("Token").wait_for()


def _sign_in_and_attach(window: Window, attached: Path) -> None:
    page, press = window.page, window.page.keyboard.press
    page.get_by_label("Token").wait_for()
    assert focused(page) == "Token"
    page.keyboard.type(TOKENS["bob"])
    press("Enter")

    page.get_by_label("Message", exact=True).wait_for()
    attached.write_text("milk")
    page.locator("input[type=file]").set_input_files(attached)
    window.sees("list.txt")
    tabbed(page, "Remove list.txt")
    press("Enter")
    assert focused(page) == "Message"


def _approve_edit_and_reject(window: Window, name: str) -> None:
    page, press = window.page, window.page.keyboard.press
    page.keyboard.type(f'write "one" to {name}')
    press("Enter")
    _decide(window, "Approve")
    window.sees(f"I wrote “one” to {name}")
    page.keyboard.type(f'write "two" to {name}')
    press("Enter")
    _decide(window, "Edit…")
    assert focused(page) == "content"
    press("Control+A")
    page.keyboard.type("three")
    tabbed(page, "Run it with these changes")
    page.wait_for_timeout(450)
    press("Enter")
    window.sees(f"I wrote “three” to {name}")
    page.keyboard.type(f"delete {name}")
    press("Enter")
    _decide(window, "Reject…")
    page.keyboard.type("it is still needed")
    tabbed(page, "Reject")
    page.wait_for_timeout(450)
    press("Enter")
    window.sees("it is still needed")


def _agree_to_a_rule_and_revoke_it(window: Window, name: str) -> None:
    page, press = window.page, window.page.keyboard.press
    page.keyboard.type(f'write "four" to {name}')
    press("Enter")
    _decide(window, "Always…")
    press("Control+A")
    page.keyboard.type("*")
    window.sees(f"content is anything, and path is exactly “{name}”: at most 20 more times, until")
    tabbed(page, "Approve, and agree to the rule")
    page.wait_for_timeout(450)
    press("Enter")
    window.sees(f"I wrote “four” to {name}")
    page.keyboard.type(f'write "five" to {name}')
    press("Enter")
    window.sees(f"I wrote “five” to {name}")

    _go(window, "Agreed")
    window.sees(f"write_file runs without asking where path matches “{name}”")
    tabbed(page, "Revoke")
    press("Enter")
    assert focused(page) == "Keep it"
    tabbed(page, "Revoke")
    press("Enter")
    page.get_by_text(f"matches “{name}”").wait_for(state="detached")


def _decide(window: Window, choice: str) -> None:
    window.button(choice).wait_for()
    window.page.wait_for_timeout(450)
    tabbed(window.page, choice)
    window.page.keyboard.press("Enter")


def _go(window: Window, view: str, *, leave: bool = False) -> None:
    page = window.page
    page.evaluate("document.activeElement.blur()")
    if page.viewport_size["width"] == NARROW[0]:
        tabbed(page, "Menu")
        page.keyboard.press("Enter")
    tabbed(page, "Sign out" if leave else view)
    page.keyboard.press("Enter")
    if view:
        page.get_by_role("heading", name=view, level=1).wait_for()
        assert focused(page) == view


def test_an_answer_shows_what_ran_and_what_it_took(window: Window):
    window.say("what time is it in Tokyo and what is 12*7")
    window.sees("12*7 = 84")
    window.page.get_by_text("2 receipts").click()
    assert window.page.locator(".account .step.executed").count() == 2
    window.sees("planner → writer · ")
    window.say("what is 5*5")
    window.sees("5*5 = 25")
    window.open("waiting").page.get_by_role("heading", name="Waiting").wait_for()
    window.page.go_back()
    window.sees("5*5 = 25")
    window.page.get_by_text("planner → writer · ").nth(1).wait_for()
    assert window.page.locator(".account").all_inner_texts()[0].startswith("2 receipts")
    assert window.page.get_by_text("planner → writer · ").count() == 2
    window.page.reload()
    window.sees("12*7 = 84")
    window.sees("1 receipt")


def test_one_message_is_sent_at_a_time_and_no_draft_is_lost(window: Window):
    page, held = window.page, []
    page.route(
        "**/api/conversations",
        lambda route: held.append(route) if route.request.method == "POST" else route.continue_(),
    )
    message = page.get_by_label("Message", exact=True)
    window.say("what is 8*8")
    page.wait_for_function("document.querySelector('.composer textarea').readOnly")
    for key in ("x", "Enter"):
        message.press(key)
    assert window.button("Send").is_disabled()
    window.open("talk/other")
    message.fill("half a thought")
    assert window.button("Send").is_disabled()
    [route] = held
    route.continue_()
    page.locator("#conversations").get_by_text("what is 8*8").wait_for()
    assert (page.url.partition("#")[2], message.input_value()) == ("talk/other", "half a thought")
    window.button("Send").click(trial=True)
    window.open("talk")
    window.sees("What can I do for you?")
    assert message.input_value() == ""
    window.open("talk/other")
    page.wait_for_function("document.querySelector('.composer textarea').value === 'half a thought'")


def test_conversations_are_searched_renamed_and_deleted(window: Window):
    page = window.page
    for words in ("what is 1*1", "what is 2*2"):
        window.open().say(words)
        window.sees(words.removeprefix("what is ") + " = ")
    title = page.get_by_label("Title")
    title.fill("Twice two <b>")
    title.press("Enter")
    page.locator("#conversations").get_by_text("Twice two <b>").wait_for()
    search = page.get_by_label("Search conversations")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "?q=" in request.url else None)
    search.press_sequentially("Twice two", delay=20)
    page.locator("#conversations").get_by_text("what is 1*1").wait_for(state="detached", timeout=1_000)
    assert len(asked) <= 3, "each letter was searched for"
    for clear in (lambda: search.press("Escape"), lambda: search.fill("")):
        clear()
        page.locator("#conversations").get_by_text("what is 1*1").wait_for(timeout=1_000)
        assert search.input_value() == ""
        search.fill("Twice")
        page.locator("#conversations").get_by_text("what is 1*1").wait_for(state="detached", timeout=1_000)
    window.button("Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.get_by_text("Nothing was found.").wait_for()
    window.sees("What can I do for you?")


def test_what_a_search_finds_too_late_is_not_shown(window: Window):
    page, held = window.page, []

    def answer(route: Route) -> None:
        held.append(route) if "q=slow" in route.request.url else route.continue_()

    window.say("what is 3*3")
    window.sees("3*3 = 9")
    page.route("**/app/api/conversations?*", answer)
    search = page.get_by_label("Search conversations")
    search.fill("slow")
    page.wait_for_timeout(500)
    search.fill("3*3 = 9")
    page.wait_for_timeout(500)
    late = {"id": "late", "title": "too late", "status": "answered", "updated_at": 1}
    for route in held:
        route.fulfill(json=[late])
    assert held
    page.locator("#conversations[aria-busy=false]").get_by_text("what is 3*3").wait_for()
    assert page.locator("#conversations").get_by_text("too late").count() == 0


def test_files_are_attached_and_one_that_is_too_large_is_left_out_in_words(window: Window, tmp_path: Path):
    page = window.page
    page.get_by_label("Message", exact=True).wait_for()
    large = tmp_path / "holiday.jpg"
    large.write_bytes(b"0" * 21_000_000)
    page.locator("input[type=file]").set_input_files(large)
    window.sees("holiday.jpg has 21,000 KB: at most")
    assert page.locator(".composer .chip").count() == 0
    drop = """(type) => { const data = new DataTransfer(); data.items.add(new File(["milk"], `${type}.txt`));
        const event = type === "paste" ? new ClipboardEvent(type, { clipboardData: data, bubbles: true })
            : new DragEvent(type, { dataTransfer: data, bubbles: true });
        document.querySelector(".composer textarea").dispatchEvent(event) }"""
    page.evaluate(drop, "drop")
    page.evaluate(drop, "paste")
    assert page.locator(".composer .chip").all_inner_texts() == ["drop.txt\n1 KB", "paste.txt\n1 KB"]
    window.say("what is 3*3")
    window.sees("3*3 = 9")
    page.reload()
    window.sees("3*3 = 9")
    assert page.locator(".user .chip").all_inner_texts() == ["drop.txt", "paste.txt"]


def test_what_was_stopped_is_gone_on_with_and_asked_whether_it_happened(open_as: Open, site: Site):
    window = open_as("dora")
    window.say(WAITS.format("halted.txt"))
    window.page.locator(".step.running .clock", has_text=" s").wait_for()
    window.button("Stop").click()
    window.button("Go on").click()
    window.sees("Did it happen?")
    window.sees("It is unknown whether this happened")
    assert window.page.get_by_role("button", name="Approve").count() == 0
    window.press("Count it as done")
    window.button("Send").wait_for()
    window.page.locator(".account .step.unknown").wait_for()
    assert window.asked() == []


def test_a_dropped_network_loses_nothing_of_an_answer(open_window: Open, own_site: Site, network: Network):
    window = _at(open_window, network)
    window.say(WAITS.format("awake.txt"))
    window.page.locator(".step.running").wait_for()
    network.cut()
    let_go(own_site, "awake.txt")
    network.mend()
    window.page.locator(".account").wait_for()
    window.button("Send").wait_for()
    assert window.page.locator(".step").count() == 2  # as it ran, and its receipt


def test_a_page_left_open_goes_on_after_a_restart(open_window: Open, own_site: Site, network: Network):
    window = _at(open_window, network)
    window.say('write "x" to kept.txt')
    window.button("Approve").wait_for()
    window.page.get_by_label("Message", exact=True).fill("half a thought")
    own_site.stop()
    network.cut()
    own_site.start()
    network.mend(own_site.url)
    window.press("Approve")
    window.sees("I wrote “x” to kept.txt")
    assert window.page.get_by_label("Message", exact=True).input_value() == "half a thought"


def test_a_sign_in_that_ended_asks_again_and_loses_no_text(open_window: Open, site: Site):
    window = open_window(site.url).open()
    token = window.page.get_by_label("Token")
    token.fill("a wrong one")
    token.press("Enter")
    window.page.get_by_text("That token is not known here.").wait_for()
    token.fill(TOKENS["kid"])
    token.press("Enter")
    message = window.page.get_by_label("Message", exact=True)
    message.fill("what is 6*7")
    with Visitor(site) as elsewhere:
        elsewhere.sign_in(TOKENS["kid"])
        assert elsewhere.call("DELETE", "sessions").is_success
    message.press("Enter")
    window.sees("Your sign-in has ended. What you typed is still here.")
    token.fill(TOKENS["kid"])
    token.press("Enter")
    window.page.get_by_role("dialog").wait_for(state="hidden")
    assert message.input_value() == "what is 6*7"
    message.press("Enter")
    window.sees("6*7 = 42")


def _at(open_window: Open, network: Network) -> Window:
    window = open_window(network.url)
    answer = window.context.request.post(
        f"{network.url}/app/api/session",
        data=json.dumps({"token": TOKENS["dora"]}),
        headers={"Content-Type": "application/json"},
    )
    assert answer.ok
    return window.open()


def test_what_is_planned_rests_and_goes_and_a_reminder_comes_by_itself(open_window, open_site):
    with ThreadPoolExecutor() as threads:
        planned = nightly("s1", "local"), soon("s2", "local", "take the bins out", 6)
        threads.submit(asyncio.run, plan(open_site, *planned)).result()
    window = open_window(open_site.url).open("planned")
    window.sees("every day at 02:30")
    window.press("Pause")
    window.sees("· paused")
    window.sees("take the bins out")
    window.page.get_by_label("Dismiss take the bins out").click()
    window.page.locator("#told").wait_for(state="hidden")
    window.press("Cancel")
    window.page.locator("#sure-yes").click()
    window.page.locator(".record", has_text="tidy up").wait_for(state="detached")
