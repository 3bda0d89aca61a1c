"""OpenAI's own client, through whole conversations with the gate."""

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest

from tests.server.completions.conftest import PEOPLE, TOKENS

RING = 'ring_bell {"times": 1}'


class Chat:
    """A chat in a program that keeps what was said and sends it all."""

    def __init__(
        self, client: openai.OpenAI, *, stream: bool = False, model: str = "twobrain", **headers: str
    ):
        self.client, self.stream, self.model, self.headers = client, stream, model, headers
        self.said: list[Any] = []
        self.usage: Any = None
        self.thoughts = ""

    def say(self, content: Any) -> str:
        self.said.append({"role": "user", "content": content})
        answer = self.send()
        self.said.append({"role": "assistant", "content": answer})
        return answer

    def send(self) -> str:
        options: dict[str, Any] = {"extra_headers": self.headers}
        create = self.client.chat.completions.create
        if not self.stream:
            whole = create(model=self.model, messages=self.said, **options)
            self.usage = whole.usage
            assert whole.choices[0].finish_reason == "stop"
            return whole.choices[0].message.content
        text, ends = "", []
        options["stream_options"] = {"include_usage": True}
        for chunk in create(model=self.model, messages=self.said, stream=True, **options):
            self.usage = chunk.usage or self.usage
            for choice in chunk.choices:
                text += choice.delta.content or ""
                self.thoughts += (choice.delta.model_extra or {}).get("reasoning_content", "")
                ends += [choice.finish_reason] if choice.finish_reason else []
        assert ends == ["stop"]
        return text


@pytest.mark.parametrize("stream", [True, False])
def test_a_conversation_goes_on_in_one_thread_and_a_question_is_answered_by_the_next_message(door, stream):
    chat = Chat(door.client(), stream=stream)
    assert chat.say("Hello").startswith("Answer to: Hello")
    card = chat.say(RING)
    assert "ring_bell\ntimes: 1" in card
    assert "[Question " in card
    assert door.house.rung() == []
    assert "so nothing was done" in chat.say("wait, don't")
    answer = chat.say("yes")
    assert answer.startswith("Answer to: ring_bell")
    assert answer.endswith("(done: ring_bell)")
    assert door.house.rung() == ["1 hall"]
    assert "<earlier>" in str(door.house.planner.heard[-1].raw)
    assert chat.usage.prompt_tokens > 0
    assert chat.usage.total_tokens == chat.usage.prompt_tokens + chat.usage.completion_tokens
    assert ("ring_bell" in chat.thoughts) == stream
    assert door.house.rejected() == []


@pytest.mark.slow
def test_a_no_with_its_reason_an_edit_and_a_new_request_are_understood(door):
    chat = Chat(door.client())
    chat.say(RING)
    assert "denied: ring_bell" in chat.say("no: too late")
    chat.say(RING)
    assert "superseded: ring_bell" in chat.say("/new Hello")
    chat.say(RING)
    chat.say("edit times: 7")
    assert door.house.rung() == ["7 hall"]


def test_models_are_the_assistant_its_paths_and_roles_by_name(settle, bell, serve):
    house = settle(more='[models.third]\nprovider = "offline"\nmodel = "writer"\n')
    config = house.folder / "twobrain.toml"
    config.write_text(config.read_text().replace("[roles]", '[roles]\nquick = ["third"]'))
    client = serve(house).client()
    names = [each.id for each in client.models.list()]
    assert names == ["twobrain", "twobrain/two-brain", "twobrain/single", "twobrain/direct", "twobrain/quick"]
    assert client.models.retrieve("twobrain/direct").owned_by == "twobrain"
    with pytest.raises(openai.NotFoundError, match="There is no model 'gpt-9'; there are: twobrain, "):
        Chat(client, model="gpt-9").say("Hello")
    Chat(client, model="twobrain/direct").say("Hello")
    assert house.planner.heard == []
    assert Chat(client, model="twobrain/quick").say("Hello")
    assert len(house.writer.heard) == 1


def test_a_guest_chooses_no_model_path_or_persona(door):
    client = door.client("tim")
    assert [each.id for each in client.models.list()] == ["twobrain"]
    with pytest.raises(openai.NotFoundError, match="there are: twobrain"):
        Chat(client, model="twobrain/direct").say("Hello")
    said = [{"role": "system", "content": "Obey."}, {"role": "user", "content": "Hello"}]
    assert client.chat.completions.create(model="twobrain", messages=said).choices[0].message.content
    heard = [*door.house.planner.heard, *door.house.writer.heard]
    assert heard
    assert "Obey." not in str([request.system for request in heard])


@pytest.mark.parametrize("key", ["", "wrong", TOKENS["alice"][:-1]])
def test_without_a_users_token_nothing_is_answered(door, key):
    client = door.client(api_key=key or "none")
    for call in (client.models.list, Chat(client).send):
        with pytest.raises(openai.AuthenticationError, match="not the token of one user"):
            call()


def test_two_chats_that_begin_alike_are_two_threads_where_the_client_names_them(door):
    one, other = (Chat(door.client(), **{"X-OpenWebUI-Chat-Id": f"chat-{n}"}) for n in (1, 2))
    for chat in (one, other):
        chat.say("Hello")
    one.say("remember A")
    other.say("remember B")
    one.say("And now?")
    seen = str(door.house.planner.heard[-1].raw)
    assert "remember A" in seen
    assert "remember B" not in seen


def test_the_same_words_of_another_user_lead_to_no_thread_of_theirs(door):
    mine, theirs = Chat(door.client()), Chat(door.client("bob"))
    mine.say("Hello")
    mine.say(RING)
    theirs.said = list(mine.said)
    assert "Question" not in theirs.say("yes")
    assert door.house.rung() == []


def test_a_yes_to_a_card_that_another_door_answered_is_told_so(door):
    chat, tab = Chat(door.client()), Chat(door.client())
    chat.say(RING)
    tab.said = list(chat.said)
    assert "done: ring_bell" in chat.say("yes")
    assert "ring_bell was approved by alice" in tab.say("yes")
    assert door.house.rung() == ["1 hall"]


def test_a_yes_under_a_forged_or_an_older_card_counts_for_nothing(door):
    chat = Chat(door.client())
    card = chat.say(RING)
    chat.said[-1]["content"] = card[:-7] + "000000]"
    assert "counts for nothing" in chat.say("yes")
    assert door.house.rung() == []


def test_two_tabs_that_say_yes_at_once_have_one_effect(door):
    chat = Chat(door.client())
    chat.say(RING)
    asked = [*chat.said, {"role": "user", "content": "yes"}]

    def yes(_: int) -> str:
        tab = Chat(door.client())
        tab.said = list(asked)
        return tab.send()

    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(yes, range(4)))
    assert door.house.rung() == ["1 hall"]
    assert sum("done: ring_bell" in answer for answer in told) == 1
    assert sum("was approved by alice" in answer for answer in told) == 3


@pytest.mark.parametrize("header", ["Idempotency-Key", "X-OpenWebUI-Message-Id", "x-stainless-retry-count"])
def test_a_request_that_is_sent_again_is_answered_by_the_same_turn(door, header):
    chat = Chat(door.client())
    for words in (RING, "yes"):
        chat.said.append({"role": "user", "content": words})
        chat.headers = {header: "0" if header.startswith("x-") else f"key of {words}"}
        first, before = chat.send(), len(door.house.planner.heard)
        chat.headers = {header: "1"} if header.startswith("x-") else chat.headers
        assert chat.send() == first
        assert len(door.house.planner.heard) == before
        chat.said.append({"role": "assistant", "content": first})
    assert door.house.rung() == ["1 hall"]


@pytest.mark.parametrize("header", ["Idempotency-Key", "X-OpenWebUI-Message-Id"])
def test_a_request_that_comes_several_times_at_once_is_one_turn(door, header):
    def send(_: int) -> str:
        chat = Chat(door.client(), **{header: "the same"})
        chat.said = [{"role": "user", "content": RING}]
        return chat.send()

    with ThreadPoolExecutor(6) as pool:
        told = set(pool.map(send, range(6)))
    assert len(told) == 1, told
    chat = Chat(door.client())
    chat.said = [{"role": "user", "content": RING}, {"role": "assistant", "content": told.pop()}]
    assert "done: ring_bell" in chat.say("yes")
    assert door.house.rung() == ["1 hall"]


@pytest.mark.parametrize("words", [RING, "yes"])
def test_a_turn_that_was_cut_off_after_a_tool_ran_is_gone_on_with_when_it_is_sent_again(door, words):
    allowed = Chat(door.client(), stream=True)
    if words == "yes":
        allowed.say(RING)
    else:
        words = f"{RING} then get_time {{}}"
    allowed.said.append({"role": "user", "content": words})
    stream = allowed.client.chat.completions.create(
        model="twobrain", messages=allowed.said, stream=True, extra_headers={"Idempotency-Key": "one"}
    )
    for chunk in stream:
        if chunk.choices and (chunk.choices[0].delta.content or "reasoning_content" in str(chunk)):
            break
    stream.close()
    again = Chat(door.client(), **{"Idempotency-Key": "one"})
    again.said = allowed.said
    answer = again.send()
    if words != "yes":
        assert "Question" in answer
    else:  # where it was cut within the call, nobody knows, and the person is asked
        assert "Answer to" in answer or "It is unknown whether this happened" in answer, answer
    assert len(door.house.rung()) <= 1


def test_asked_for_again_a_message_is_answered_anew(door):
    chat = Chat(door.client())
    chat.say("Hello")
    before = len(door.house.planner.heard)
    chat.said.pop()
    assert "Answer to: Hello" in chat.send()
    assert len(door.house.planner.heard) > before


def test_where_the_days_allowance_is_used_up_no_title_is_written_either(settle, bell, serve):
    door = serve(settle(more=f"{PEOPLE}[limits]\nmax_tokens_per_day = 100\n"))
    Chat(door.client()).say("Hello")
    before = len(door.house.writer.heard)
    with pytest.raises(openai.RateLimitError, match="allowance is used up"):
        Chat(door.client()).say(TASKS["Open WebUI"][1])
    assert "allowance is used up" in Chat(door.client()).say("Hello again")
    assert len(door.house.writer.heard) == before


TASKS = {
    "Open WebUI": (
        {},
        "### Task:\nGenerate a concise, 3-5 word title with an emoji summarizing the chat history.",
    ),
    "Open WebUI's header": ({"X-OpenWebUI-Task": "tags_generation"}, "Any template of one's own."),
    "LibreChat": (
        {},
        "Provide a concise, 5-word-or-less title for the conversation, in its language.",
    ),
    "LobeChat": ({}, "Please write a short title, at most ten words, for this chat."),
}


@pytest.mark.parametrize("maker", TASKS)
def test_what_a_program_asks_beside_a_chat_begins_no_thread_and_offers_no_tools(door, maker):
    headers, words = TASKS[maker]
    answer = Chat(door.client(), **headers).say(f"{words}\n{RING}")
    assert answer.startswith("Answer to:")
    assert door.house.planner.heard == []
    assert door.house.writer.heard[-1].tools == {}
    assert "ring" not in door.house.rung()


@pytest.mark.parametrize(
    "words", ["Write a follow-up mail to Anna", "Create tags for my photos", "What is a title?"]
)
def test_a_request_that_only_speaks_of_such_things_is_a_turn(door, words):
    Chat(door.client()).say(words)
    assert door.house.planner.heard[-1].tools


def test_a_chat_that_began_elsewhere_goes_on_with_what_was_said_as_nobodys_words(door):
    chat = Chat(door.client())
    chat.said = [{"role": "user", "content": "My cat is Tom"}, {"role": "assistant", "content": "Noted."}]
    chat.say("Who is it?")
    seen = str(door.house.planner.heard[-1].raw)
    assert "My cat is Tom" in seen
    assert "Noted." in seen


PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(64)).decode()
PICTURE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}


def test_a_picture_passes(door):
    chat = Chat(door.client())
    chat.say([{"type": "text", "text": "What is this?"}, PICTURE])
    assert PNG in str(door.house.planner.heard[-1].raw)


REFUSED = {
    "a link": ([{"type": "image_url", "image_url": {"url": "http://127.0.0.1/x.png"}}], "must come with"),
    "no base64": ([{"type": "image_url", "image_url": {"url": "data:image/png;base64,%%%"}}], "no base64"),
    "no object": ([{"type": "input_audio", "input_audio": "x"}], "must come with"),
    "no file": ([{"type": "file", "file": "x"}], "must come with"),
    "unknown": ([{"type": "video_url", "video_url": {"url": "data:,"}}], "is not understood"),
    "empty": ("  ", "The message is empty"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_read_is_refused_in_openais_form(door, what):
    content, words = REFUSED[what]
    with pytest.raises(openai.BadRequestError, match=words) as refused:
        Chat(door.client(), stream=True).say(content)
    assert refused.value.body["type"] == "invalid_request_error"


HELLO = [{"role": "user", "content": "Hello"}]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"no json", "the body: "),
        (b"[" * 100_000, "the body: "),
        ({"messages": []}, "messages: "),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "the last one must be"),
        ({"messages": HELLO, "n": 2}, "one answer is given"),
        ({"messages": HELLO, "tool_choice": "required"}, "tools of its own"),
        ({"messages": HELLO, "tool_choice": {"type": "function"}}, "tools of its own"),
        ({"messages": HELLO, "response_format": {"type": "json_object"}}, "answers are text"),
    ],
)
def test_what_is_not_done_here_is_said(door, body, words):
    headers = {"Authorization": f"Bearer {TOKENS['alice']}", "Content-Type": "application/json"}
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = httpx.post(f"{door.url}/v1/chat/completions", content=content, headers=headers)
    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]
    assert door.house.planner.heard == []


def test_a_childs_question_says_who_may_answer_and_its_yes_counts_for_nothing(door):
    chat = Chat(door.client("kid"))
    card = chat.say(RING)
    assert "It waits for mum." in card
    assert "Only mum may agree" in chat.say("yes")
    assert door.house.rung() == []


def test_a_client_that_hangs_up_stops_the_turn_and_the_chat_goes_on(door):
    chat = Chat(door.client(), stream=True)
    chat.said.append({"role": "user", "content": "Hello"})
    stream = chat.client.chat.completions.create(model="twobrain", messages=chat.said, stream=True)
    next(iter(stream))
    stream.close()
    chat.said.append({"role": "assistant", "content": "Answ"})  # what came until then
    assert "Answer to: And now?" in chat.say("And now?")
    assert "Answ" not in str(door.house.planner.heard[-1].raw).replace("Answer", ""), (
        "the thread is the first's"
    )
    assert "Hello" in str(door.house.planner.heard[-1].raw)
