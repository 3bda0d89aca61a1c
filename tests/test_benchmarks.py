"""A benchmark that cannot fail is a defect: goals are missed, and unequal work is refused."""

import asyncio
import math
import sys

import pytest

from benchmarks import driver
from benchmarks.figures import Figure, as_markdown, exact, exponent, ratios, spread
from benchmarks.run import publish
from benchmarks.scenarios import week
from benchmarks.script import Job, Work


def _figure(value, goal, better="less"):
    return Figure(name="a figure", value=exact(value), unit="x", goal=goal, better=better, kind="count")


@pytest.fixture
def plain_python(monkeypatch):
    monkeypatch.setitem(driver.PYTHONS, "peers", sys.executable)  # the floor needs the standard library alone


@pytest.fixture
def bare(plain_python):
    with driver.Side("bare") as side:
        yield side


def test_a_ratio_is_taken_of_the_measurements_made_side_by_side():
    found = ratios([1, 20, 3], [2, 10, 3])
    assert (found.low, found.middle, found.high) == (0.75, 1.0, 1.5)
    with pytest.raises(ValueError, match="shorter"):
        ratios([1, 2], [1])


def test_the_middle_of_uneven_measurements_is_their_median():
    assert spread([1, 2, 1_000]).middle == 2


@pytest.mark.parametrize(("many", "power"), [(20, 1), (200, 2), (2, 0)])
def test_growth_is_told_as_a_power(many, power):
    assert math.isclose(exponent(2, many, 10), power, abs_tol=1e-9)


@pytest.mark.parametrize(
    ("figure", "holds"),
    [
        (_figure(1.01, 1), False),
        (_figure(1, 1), True),
        (_figure(5.9, 6, "more"), False),
        (_figure(6, 6, "more"), True),
        (_figure(7, None), None),
    ],
)
def test_a_missed_goal_is_told_and_a_figure_without_a_goal_neither_holds_nor_fails(figure, holds):
    assert figure.holds is holds
    word = {True: "yes", False: "NO", None: ""}[holds]
    assert as_markdown([figure]).splitlines()[-1].split("|")[5].strip() == word


def test_a_side_that_does_what_was_asked_reports_what_it_cost(bare):
    report = bare.run(Job(rounds=3, calls=2, size=10, runs=2, tool_s=0.001))
    assert len(report.latencies) == 2
    assert min(report.latencies) >= 0.006
    assert report.wall_s >= max(report.latencies)
    assert report.cpu_s > 0


@pytest.mark.parametrize("claimed", [Work(3, 2, 20), Work(3, 3, 30), Work(4, 2, 30), Work(0, 0, 0)])
def test_a_side_whose_count_of_work_is_not_the_jobs_is_refused(bare, claimed):
    class Misread(Job):
        def work(self):
            return claimed

    job = Misread(rounds=2, size=10)
    assert Job(rounds=2, size=10).work() == Work(3, 2, 20)
    if claimed == Work(3, 2, 20):
        assert bare.run(job).wall_s > 0
        return
    with pytest.raises(driver.UnequalWorkError, match="bare did"):
        bare.run(job)


def test_a_side_that_gives_another_answer_ends_with_an_error(plain_python):
    with pytest.raises(RuntimeError, match="ended with"), driver.Side("bare") as side:
        side.run(Job(rounds=1, asks=True))


def test_a_whole_run_replaces_the_pages_table_and_shows_what_is_missed(tmp_path):
    page = tmp_path / "performance.md"
    page.write_text("Before.\n<!-- figures: generated -->\nstale\n<!-- end -->\nAfter.\n")
    publish([_figure(3, 1), _figure(1, 3)], load=0.5, minutes=2, docs=tmp_path)
    table = [line for line in page.read_text().splitlines() if line.startswith("| a figure")]
    assert [("NO" in row, "yes" in row) for row in table] == [(True, False), (False, True)]
    assert "stale" not in page.read_text()
    assert page.read_text().startswith("Before.")
    assert page.read_text().endswith("After.\n")


def test_a_page_without_a_place_for_the_figures_is_refused(tmp_path):
    (tmp_path / "performance.md").write_text("No place.")
    with pytest.raises(ValueError, match="no place"):
        publish([_figure(1, 1)], load=0, minutes=1, docs=tmp_path)


@pytest.mark.prove(sampled=False)
def test_a_households_week_tells_what_a_rule_lets_through_that_is_too_wide():
    wide = '[[users.anna.rules]]\ntool = "send_email"\nwhere = { to = "*" }\n'
    narrow = wide.replace('"*"', '"ben@home.example"')
    found = [week.let_through(asyncio.run(week.live(0, takes=False, more=more))) for more in (narrow, wide)]
    assert [(figure.holds, figure.value.middle) for figure in found] == [(True, 0), (False, 2)]
    assert "eve@evil.example" in found[1].note
    assert "What we earn" not in found[1].note, "after a mail it asks, whatever the rule"
