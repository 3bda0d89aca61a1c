import re

import pytest

LISTS = (["audit"], ["pending"], ["usage"], ["usage", "--by", "turn"], ["threads"], ["tools"], ["models"])
LONG = "a-name-of-a-file-that-goes-on-" * 7
PARIS = {"TZ": "Europe/Paris"}


@pytest.fixture
def used(home):
    """A home where one call ran, one was denied, and one waits."""
    home.configure("[limits]\nmax_tokens_per_day = 2_000_000\nmax_cost_usd_per_day = 5.0\n")
    home.run("ask", 'write "buy milk" to notes.txt', "--yes")
    home.run("ask", 'write "bread" to b.txt', "--no")
    home.run("ask", f'write "homework" to {LONG}.txt', code=3)
    return home


def table(text):
    """Return a piped list as rows by heading."""
    heads, *lines = (line.split("\t") for line in text.splitlines())
    return [dict(zip(heads, line, strict=True)) for line in lines]


def test_the_audit_says_who_asked_who_decided_and_when_it_was_denied(used):
    done = used.run("audit", **PARIS)
    ran, denied, waiting = table(done.stdout)
    assert (ran["status"], ran["asked by"], ran["decided"]) == ("executed", "local", "approved by local")
    assert (denied["status"], denied["decided"]) == ("denied", "rejected by local")
    assert (waiting["status"], waiting["decided"]) == ("waiting", "")
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d", row["when"]) for row in (ran, denied, waiting))
    assert "Times are those of Europe/Paris." in done.stderr


def test_a_pipe_gets_all_of_it_between_tabs(used):
    assert f"path={LONG}.txt" in table(used.run("audit").stdout)[-1]["arguments"]
    assert len(table(used.run("tools").stdout)) == len(used.json("tools"))


def test_what_waits_is_listed_with_its_arguments_and_how_to_answer(used):
    done = used.run("pending")
    (row,) = table(done.stdout)
    assert row["waits for"].startswith("write_file ")
    assert f"path={LONG}.txt" in row["waits for"]
    assert "twobrain resume THREAD" in done.stderr
    used.run("approve", row["thread"][:8])
    assert (used.workspace / f"{LONG}.txt").exists()


def test_usage_tells_what_is_left_of_the_day_and_turns_by_date_and_title(used):
    done = used.run("usage", "--by", "turn", **PARIS)
    rows = table(done.stdout)
    assert [row["title"] for row in rows][:2] == ['write "buy milk" to notes.txt', 'write "bread" to b.txt']
    assert all(re.match(r"20\d\d-", row["when"]) for row in rows)
    spent = sum(int(row[name].replace(",", "")) for row in rows for name in ("input", "output"))
    assert f"{2_000_000 - spent:,} of 2,000,000 tokens, $5.00 of $5.00" in done.stderr
    assert re.search(r"begins anew at \S+ 0[12]:00 \(Europe/Paris\)", done.stderr)
    assert "left" not in used.run("usage", "--json").stdout.lower()


def test_one_time_zone_is_everywhere_the_persons(used):
    used.configure('[users.local]\ntimezone = "Asia/Tokyo"\n')
    for command in LISTS:
        done = used.run(*command, **PARIS)
        assert "Paris" not in done.stderr
        assert ("Asia/Tokyo" in done.stderr) == (
            command[0] in {"audit", "pending", "threads"} or "turn" in command
        )


@pytest.mark.parametrize("columns", [80, 40])
def test_every_list_can_be_read_at_a_narrow_terminal(used, terminal, columns):
    for command in LISTS:
        shown = terminal(*command, columns=columns).ends(0)
        lines = [line.rstrip() for line in shown.splitlines()]
        assert max(map(len, lines)) <= columns
        alone = [line for line in lines if re.fullmatch(r" *\w{1,3}", line)]
        assert len(alone) <= 2, alone  # no column of a few letters a line


def test_doctor_and_models_cut_nothing_at_a_narrow_terminal(used, terminal):
    for command in ("doctor", "models"):
        shown = terminal(command, columns=40).ends(0)
        assert "…" not in shown
        assert max(len(line.rstrip()) for line in shown.splitlines()) <= 40


def test_a_dumb_terminal_gets_them_too(used, terminal):
    shown = terminal("audit", columns=40, TERM="dumb").ends(0)
    assert "asked by local" in shown
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= 40
