"""A stand-in for the `claude` program: it writes down what it is given and speaks the same stream.

FAKE_CLAUDE says how it goes. As long as it or a child of it lives, the file `alive` beside it is locked.
"""

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

MODE = os.environ.get("FAKE_CLAUDE", "answer")
HERE = Path(__file__).parent
FAILURES = {
    "not logged in": (
        "Not logged in · Please run /login",
        "authentication_failed",
        {"api_error_status": None},
    ),
    "login expired": ("Invalid API key", "authentication_failed", {"api_error_status": 401}),
    "rate limit": ("You've hit your limit", "rate_limit", {"api_error_status": 429}),
    "overload": ("529 Overloaded", "server_error", {"api_error_status": 529}),
    "lost": ("Connection to the API was lost", "server_error", {"api_error_status": None}),
    "too long": (
        "Prompt is too long",
        "invalid_request",
        {"api_error_status": 400, "terminal_reason": "prompt_too_long"},
    ),
    "refusal": ("flagged", "invalid_request", {"api_error_status": None, "stop_reason": "refusal"}),
    "no model": ("no such model", "model_not_found", {"api_error_status": 404}),
}
WRITTEN = {"again": "Good morning!", "whole at the end": "Hello there! How are you?"}


def say(kind, **event):
    line(json.dumps({"type": kind, **event}))


def line(text):
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def stream(text):
    say("stream_event", event={"type": "content_block_delta", "delta": {"type": "text_delta", "text": text}})


def whole(text, **more):
    say("assistant", message={"content": [{"type": "text", "text": text}]}, **more)


def listen():
    if MODE == "deaf":
        os.close(0)
        return
    seen = {
        "told": sys.stdin.read(),
        "argv": sys.argv[1:],
        "env": dict(os.environ),
        "cwd": [path.name for path in Path().iterdir()],
        "mode": oct(Path("..").stat().st_mode)[-3:],
        "system": Path("../system.txt").read_text(encoding="utf-8"),
    }
    (HERE / "seen").write_text(json.dumps(seen))


def fail():
    words, error, more = FAILURES[MODE]
    stream("Hel")
    whole(words, error=error, is_api_error_message=True)
    say("result", subtype="success", is_error=True, result=words, **{"terminal_reason": "api_error", **more})
    sys.exit(1)


def break_off():
    stream("Hel")
    if MODE == "garbage":
        line('{"type": "stream_ev')
    if MODE == "crash":
        sys.exit("Segmentation fault")
    sys.exit(0)


def answer(alive):
    line("[SandboxDebug] not an event")
    stream("Hello")
    if MODE in {"hang", "linger"}:
        child = subprocess.Popen(["sleep", "30"], pass_fds=[alive], stdout=subprocess.DEVNULL)
    if MODE == "hang":
        child.wait()
    stream(" there!")
    whole(WRITTEN.get(MODE, "Hello there!"))
    usage = {
        "input_tokens": 12,
        "cache_read_input_tokens": 5,
        "cache_creation_input_tokens": 3,
        "output_tokens": 7,
    }
    usage = None if MODE == "uncounted" else usage
    why = "max_tokens" if MODE == "cut" else "end_turn"
    say("result", is_error=False, result="x", stop_reason=why, total_cost_usd=0.0123, usage=usage)


def main():
    with (HERE / "starts").open("a") as starts:
        starts.write("started\n")
    alive = os.open(HERE / "alive", os.O_CREAT | os.O_RDWR)
    fcntl.flock(alive, fcntl.LOCK_EX)
    if MODE == "unknown option":
        sys.exit("error: unknown option '--tools'")
    listen()
    version = "2.1.200" if MODE == "old" else "2.1.329"
    say("system", subtype="init", claude_code_version=version, model="claude-x")
    say("system", subtype="status", status="requesting")
    if MODE in FAILURES:
        fail()
    if MODE in {"garbage", "crash", "silence"}:
        break_off()
    answer(alive)


if __name__ == "__main__":
    main()
