import os
import re
import stat
import sys
import tomllib
from pathlib import Path
from threading import Event

import pytest

from base.settings import load_settings
from tests.wires.brain import Call, Reply

FAKE_CLAUDE = Path(__file__).parents[2] / "models" / "fake_claude.py"
GEMINI, ANTHROPIC = "AIzaSyRight-0123456789_abcdefghijklmn", "sk-ant-right-0123456789"
WRONG = "AIzaSyWrong-0123456789_abcdefghijklmn"


@pytest.fixture
def config(home):
    return home.directory / ".config" / "twobrain"


@pytest.fixture
def wires(open_wire):
    """A Gemini that writes a note when it is asked to, and a Claude."""

    def plan(heard):
        if heard.results:
            return Reply(text="It is written.")
        if "write_file" in heard.tools and not heard.tools_off:
            return Reply(calls=(Call("write_file", {"path": "notes.txt", "content": "buy milk"}),))
        return Reply(text="You asked for that note.")

    return open_wire("gemini", plan, GEMINI), open_wire("anthropic", key=ANTHROPIC)


@pytest.fixture
def init(terminal, wires):
    """Start `twobrain init` where the services are these."""

    def start(**options):
        urls = {"GOOGLE_GEMINI_BASE_URL": wires[0].url, "ANTHROPIC_BASE_URL": wires[1].url}
        return terminal("init", **urls, **options)

    return start


def answer(screen, *answers):
    """Answer questions as they come."""
    for question, given in answers:
        screen.sees(question)
        screen.sendline(given)


def answer_rest(screen, gemini=GEMINI, anthropic=ANTHROPIC):
    """Answer all questions: the two keys, and no further endpoint."""
    answer(screen, ("GEMINI_API_KEY: ", gemini), ("ANTHROPIC_API_KEY: ", anthropic))
    answer(screen, ("Address", ""), ("OPENAI_API_KEY: ", ""))


def files_of(folder):
    return {path.name: path.read_text() for path in folder.iterdir()} if folder.exists() else {}


@pytest.mark.slow
def test_from_two_keys_to_an_approved_change_by_init_alone(home, terminal, init, wires, config):
    screen = init()
    answer_rest(screen)
    screen.sees("gemini plans and works with tools, claude writes the answers", "ln -s")
    screen.sees("Try it:", "/twobrain ask 'write")  # by its path: it is on no PATH
    screen.ends(0)
    assert GEMINI not in screen.whole
    assert ANTHROPIC not in screen.whole
    assert {stat.S_IMODE(path.stat().st_mode) for path in config.iterdir()} == {0o600}
    assert GEMINI not in files_of(config)["twobrain.toml"]
    elsewhere = home.directory / "elsewhere"
    elsewhere.mkdir()
    screen = terminal("ask", "write", "me", "a", "note", folder=elsewhere)
    screen.sees("Confirm", "notes.txt", " >")
    assert not (home.workspace / "notes.txt").exists()
    screen.sendline("a")
    screen.sees("✓", "write_file")
    screen.ends(0)
    assert (home.workspace / "notes.txt").read_text() == "buy milk"
    assert wires[0].rejected == wires[1].rejected == []


def test_a_refused_key_is_told_in_the_providers_words_and_asked_again(init, config):
    screen = init()
    answer(screen, ("GEMINI_API_KEY: ", WRONG))
    screen.sees("API key not valid.")
    answer(screen, ("Try again?", ""))
    answer_rest(screen)
    screen.ends(0)
    assert WRONG not in files_of(config)[".env"]
    assert GEMINI in files_of(config)[".env"]


def test_a_refused_key_may_be_left_out(init, config):
    screen = init()
    answer(screen, ("GEMINI_API_KEY: ", WRONG), ("Try again?", "n"), ("ANTHROPIC_API_KEY: ", ANTHROPIC))
    answer(screen, ("Address", ""), ("OPENAI_API_KEY: ", ""))
    screen.sees("claude plans, works with tools and answers")
    screen.ends(0)
    assert list(tomllib.loads(files_of(config)["twobrain.toml"])["models"]) == ["claude"]
    assert "GEMINI" not in files_of(config)[".env"]


@pytest.mark.parametrize(
    "pasted",
    [f"  {GEMINI} \t", f"'{GEMINI}'", f'export GEMINI_API_KEY="{GEMINI}";', f"\u201c{GEMINI}\u201d\u200b"],
)
def test_what_is_pasted_around_a_key_is_no_part_of_it(init, config, pasted):
    screen = init()
    answer_rest(screen, pasted, "")
    screen.ends(0)
    assert files_of(config)[".env"] == f"GEMINI_API_KEY='{GEMINI}'\n"


def test_a_key_of_another_provider_or_of_no_kind_is_sent_to_nobody(init, wires, config):
    screen = init()
    for variable, typed, said in (
        ("GEMINI_API_KEY: ", ANTHROPIC, "another provider"),
        ("GEMINI_API_KEY: ", "two words", "one word"),
        ("GEMINI_API_KEY: ", "ключ", "one word"),
        ("GEMINI_API_KEY: ", "", "Claude"),
        ("ANTHROPIC_API_KEY: ", GEMINI, "another provider"),
        ("ANTHROPIC_API_KEY: ", "", "OpenAI"),
    ):
        answer(screen, (variable, typed))
        screen.sees(said)
    answer(screen, ("Address", ""), ("OPENAI_API_KEY: ", ""))
    screen.sees("Nothing was changed", "two offline brains")
    screen.ends(0)
    assert wires[0].heard == wires[0].rejected == wires[1].heard == wires[1].rejected == []
    assert files_of(config) == {}


def test_run_again_it_shows_what_is_set_and_changes_only_what_is_answered(home, init, wires, config):
    config.mkdir(parents=True)
    toml = f"""# mine, by hand
[limits]            # not too much
max_rounds = 7

[models.gemini]     # the good one
provider = "google"
model = "gemini-pro"
base_url = "{wires[0].url}"
tools = true
"""
    (config / "twobrain.toml").write_text(toml)
    (config / ".env").write_text(f"# keys\nGEMINI_API_KEY={GEMINI}\nOTHER='x y'\n")
    screen = init()
    screen.sees("GEMINI_API_KEY is set in", "gemini: gemini-pro at")
    answer_rest(screen, gemini="")
    screen.ends(0)
    files = files_of(config)
    assert files[".env"] == f"# keys\nGEMINI_API_KEY={GEMINI}\nOTHER='x y'\nANTHROPIC_API_KEY='{ANTHROPIC}'\n"
    assert files["twobrain.toml"].startswith(toml)
    assert tomllib.loads(files["twobrain.toml"])["models"]["claude"]["provider"] == "anthropic"
    assert (config / ".env").stat().st_mode & 0o777 == 0o600
    assert wires[0].heard == []
    screen = init()
    answer_rest(screen, gemini="", anthropic="")
    screen.sees("Nothing was changed")
    screen.ends(0)
    assert files_of(config) == files


@pytest.mark.parametrize("answers", [0, 1, 2, 3])
def test_ctrl_c_at_any_question_writes_nothing(init, config, answers):
    questions = [("GEMINI_API_KEY: ", GEMINI), ("ANTHROPIC_API_KEY: ", ANTHROPIC), ("Address", "")]
    screen = init()
    answer(screen, *questions[:answers])
    screen.sees([*questions, ("OPENAI_API_KEY: ", "")][answers][0])
    screen.sendintr()
    screen.sees("Nothing was written.")
    screen.ends(130)
    assert files_of(config) == {}


def test_ctrl_c_while_a_key_is_tried_writes_nothing(init, wires, config):
    asked, on = Event(), Event()

    def slowly(heard):
        asked.set()
        on.wait(60)
        return Reply(text="Yes.")

    wires[0].brain = slowly
    screen = init()
    answer(screen, ("GEMINI_API_KEY: ", GEMINI))
    screen.sees("Trying gemini-3-flash-preview")
    assert asked.wait(60)
    screen.sendintr()
    screen.sees("Nothing was written.")
    on.set()
    screen.ends(130)
    assert files_of(config) == {}


@pytest.mark.parametrize("gemini", ["", GEMINI])
def test_a_program_that_is_here_is_tried_before_it_is_used(home, init, config, gemini):
    program = home.directory / "bin" / "claude"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\n{FAKE_CLAUDE.read_text()}")
    program.chmod(0o755)
    path = f"{program.parent}{os.pathsep}{os.defpath}"
    screen = init(PATH=path, FAKE_CLAUDE="not logged in")
    answer_rest(screen, gemini, "")
    answer(screen, ("`claude` is on this machine. Use it?", ""))
    screen.sees("Not logged in")
    answer(screen, ("Try it again?", "n"))
    screen.ends(0)
    screen = init(PATH=path)
    answer_rest(screen, "", "")
    answer(screen, ("`claude` is on this machine. Use it?", ""))
    planner = "gemini" if gemini else "offline-planner"
    screen.sees("✓", f"{planner} plans and works with tools, claude-code writes the answers")
    screen.ends(0)
    assert ("claude-code" in files_of(config).get("twobrain.toml", "")) == bool(gemini)


def test_at_a_dumb_terminal_and_a_narrow_one_no_key_is_shown(init, config):
    screen = init(TERM="dumb", columns=40)
    answer_rest(screen)
    screen.sees("gemini plans and works")
    screen.ends(0)
    assert GEMINI in files_of(config)[".env"]
    assert GEMINI[:12] not in screen.whole
    words, _, commands = screen.whole.partition("So that")
    assert [line for line in words.splitlines() if len(line) > 40 and not re.search("/|Address", line)] == []
    assert "twobrain ask 'write" in commands


def test_an_endpoint_of_ones_own_is_asked_for_its_address_and_model(init, open_wire, config):
    wire = open_wire("openai", key="local-1")
    screen = init()
    answer(screen, ("GEMINI_API_KEY: ", ""), ("ANTHROPIC_API_KEY: ", ""))
    answer(screen, ("Address", "http://127.0.0.1:9/v1"), ("OPENAI_API_KEY: ", "local-1"), ("Model:", "m"))
    screen.sees("✗", "cannot be reached")
    answer(screen, ("Keep it all the same?", "n"), ("Try again?", "y"), ("Address", f"\x15{wire.url}"))
    answer(screen, ("OPENAI_API_KEY: ", ""), ("Model:", ""))
    screen.sees("✓", "openai plans, works with tools and answers")
    screen.ends(0)
    card = tomllib.loads(files_of(config)["twobrain.toml"])["models"]["openai"]
    assert card == {"provider": "openai", "model": "m", "base_url": wire.url, "api_key_env": "OPENAI_API_KEY"}
    assert files_of(config)[".env"] == "OPENAI_API_KEY='local-1'\n"


def test_what_wins_over_what_was_written_is_said(home, init, config):
    (home.directory / ".env").write_text(f"GEMINI_API_KEY={WRONG}\n")
    home.configure("[limits]\nmax_rounds = 3\n")
    screen = init()
    screen.sees("GEMINI_API_KEY is set in ./.env")
    answer_rest(screen, anthropic="")
    said = screen.sees("Try it:")
    screen.ends(0)
    assert "GEMINI_API_KEY in ./.env wins over what was written" in said
    assert "Here twobrain.toml is read" in said


def test_without_a_person_it_says_what_to_do(home, config):
    told = home.run("init", code=2, stdin="y\n").stderr
    assert "nobody is here to answer" in told
    assert str(config / ".env") in told


@pytest.mark.parametrize("spoiled", ["folder", "file"])
def test_what_cannot_be_written_is_told_before_anything_is_asked(home, init, config, spoiled):
    if spoiled == "folder":
        (config / ".env").mkdir(parents=True)
    else:
        config.parent.write_text("")
    said = init().ends(2)
    assert ("is no file" if spoiled == "folder" else "cannot be written") in said.replace("\n", " ")
    assert "API_KEY" not in said


def test_env_is_found_from_every_folder_and_a_nearer_one_wins(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    names = ("GEMINI", "OPENAI", "ANTHROPIC")
    for name in names:
        monkeypatch.delenv(f"{name}_API_KEY", raising=False)
    (tmp_path / "twobrain").mkdir()
    (tmp_path / "twobrain" / ".env").write_text("".join(f"{name}_API_KEY=far\n" for name in names))
    (tmp_path / ".env").write_text("OPENAI_API_KEY=near\nANTHROPIC_API_KEY=near\n")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "nearest")
    settings = load_settings()
    found = [settings.secret(f"{name}_API_KEY") for name in names]
    assert found == ["far", "near", "nearest"]
