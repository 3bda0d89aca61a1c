"""The commands on schedules, and their options."""

from typing import Annotated

import typer

from terminal.app import Json, OnlyUser, Path, User, app, one_of

_Missed = Annotated[
    str,
    typer.Option(
        "--missed",
        metavar="<once|skip>",
        parser=one_of("once", "skip"),
        help="Of what was missed: do it once, late, or not at all.",
    ),
]
_Zone = Annotated[str | None, typer.Option("--zone", help="By whose clock: Asia/Tokyo; else by yours.")]

schedule = typer.Typer(no_args_is_help=True)
app.add_typer(
    schedule, name="schedule", rich_help_panel="Talk", help="Have things done, or be reminded, at their time."
)
Ident = Annotated[str, typer.Argument(metavar="ID", help="As `twobrain schedule list` shows it.")]


@schedule.command("add")
def add_schedule(  # noqa: PLR0913, PLR0917 (its options)
    task: Annotated[list[str], typer.Argument(metavar="TASK", help="What to ask then, or to remind of.")],
    at: Annotated[str | None, typer.Option("--at", help="07:00, '2026-12-01 07:00', or 'in 90m'.")] = None,
    every: Annotated[str | None, typer.Option("--every", help="90m, 2h, 1d, 1w; from --at on.")] = None,
    rule: Annotated[str | None, typer.Option("--rule", help="An RRULE: FREQ=WEEKLY;BYDAY=MO.")] = None,
    cron: Annotated[str | None, typer.Option("--cron", help="Five fields: 0 7 * * 1-5.")] = None,
    zone: _Zone = None,
    remind: Annotated[bool, typer.Option("--remind", help="Say just this; no model is asked.")] = False,
    missed: _Missed = "once",
    to: Annotated[
        str, typer.Option("--to", help="telegram, matrix, page, a variable with an apprise URL, or nowhere.")
    ] = "",
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing where nothing is to report.")] = False,
    respond: Annotated[
        bool, typer.Option("--respond/--no-respond", help="Have the answer written by the second model.")
    ] = True,
    path: Path = None,
    max_cost_usd: Annotated[float | None, typer.Option("--max-cost", help="US dollars each time.")] = None,
    user: User = None,
    json: Json = False,
) -> None:
    """Plan a task or a reminder."""
    from terminal.commands import run
    from terminal.commands.schedules import schedule

    times = {"at": at, "every": every, "rule": rule, "cron": cron}
    options = {
        "user": user or "local",
        "is_reminder": remind,
        "when_missed": missed,
        "place": to,
        "is_quiet": quiet,
    }
    choices = {"path": path, "max_cost_usd": max_cost_usd, "respond": None if respond else False}
    run(schedule.add, schedule.Wanted(" ".join(task), times, options, choices, zone), as_json=json)


@schedule.command("list")
def list_schedules(user: OnlyUser = None, json: Json = False) -> None:
    """List what is planned, and what became of it last."""
    from terminal.commands import run
    from terminal.commands.schedules import schedule

    run(schedule.list_all, user=user, as_json=json)


@schedule.command("pause")
def pause_schedule(ident: Ident, user: OnlyUser = None, json: Json = False) -> None:
    """Let one rest."""
    from terminal.commands import run
    from terminal.commands.schedules import schedule

    run(schedule.change, ident, user=user, to="paused", as_json=json)


@schedule.command("resume")
def resume_schedule(ident: Ident, user: OnlyUser = None, json: Json = False) -> None:
    """Go on with one that rests, from its next time on."""
    from terminal.commands import run
    from terminal.commands.schedules import schedule

    run(schedule.change, ident, user=user, to="active", as_json=json)


@schedule.command("remove")
def remove_schedule(ident: Ident, user: OnlyUser = None, json: Json = False) -> None:
    """Forget one."""
    from terminal.commands import run
    from terminal.commands.schedules import schedule

    run(schedule.change, ident, user=user, to="removed", as_json=json)


@schedule.command("run")
def run_schedule(ident: Ident, user: OnlyUser = None, json: Json = False) -> None:
    """Do one now, besides."""
    from terminal.commands import run
    from terminal.commands.schedules import schedule

    run(schedule.run_now, ident, user=user, as_json=json)


@app.command(rich_help_panel="Look after it")
def run_due(json: Json = False) -> None:
    """Do what is due, once, for a timer of the system."""
    from terminal.commands import run
    from terminal.commands.schedules import schedule

    run(schedule.run_due, as_json=json)
