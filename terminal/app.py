"""The commands, their options and defaults.

What a command does is imported when it runs: `--help` need not wait for LangGraph.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal, get_args

import typer

app = typer.Typer(
    name="twobrain",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_TURNS = "Talk"
_LISTS = "Look"
_UPKEEP = "Look after it"


def _one_of(*known: str) -> Callable[[str], str]:
    """Return a parser of a choice; typer's own says "Value error"."""

    def read(value: str) -> str:
        if value not in known:
            raise typer.BadParameter(f"{value!r} is not one of {', '.join(known)}.")
        return value

    return read


Thread = Annotated[
    str, typer.Argument(metavar="THREAD", help="A thread's id, as `twobrain threads` lists it.")
]
Role = Literal["guest", "user", "admin"]
PathName = Literal["auto", "two-brain", "single", "direct"]
_thread = partial(typer.Option, "--thread", "-t", metavar="ID")
_user = partial(typer.Option, "--user", "-u", metavar="NAME")
OnThread = Annotated[str | None, _thread(help="Continue this thread; default: a new one.")]
User = Annotated[str | None, _user(help="Who asks, as twobrain.toml knows them; default: local.")]
OnlyUser = Annotated[str | None, _user(help="Only this user's.")]
Path = Annotated[
    PathName | None,
    typer.Option(
        "--path",
        metavar="PATH",
        parser=_one_of(*get_args(PathName)),
        help="auto, two-brain, single, or direct: plain chat without tools.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Plain = Annotated[bool, typer.Option("--plain", help="Show the answer as it was written: no Markdown.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Answer every confirmation with yes.")]
No = Annotated[bool, typer.Option("--no", "-n", help="Answer every confirmation with no.")]


@dataclass(frozen=True)
class Options:
    """The options that commands which run a turn share."""

    user: str | None = None
    """None: as it was when the turn began."""
    path: PathName | None = None
    json: bool = False
    """The result is printed as JSON: nothing else is shown, and nobody asked."""
    plain: bool = False
    """The answer is shown as it was written, its Markdown not rendered."""
    consent: bool | None = None
    """The answer to every confirmation; None asks the person, where there is one."""


def _consent(yes: bool, no: bool) -> bool | None:
    if yes and no:
        raise typer.BadParameter("--yes and --no contradict each other: say one of them.")
    return yes if yes or no else None


def _show_version(wished: bool) -> None:
    if wished:
        from importlib.metadata import version

        typer.echo(f"twobrain {version('twobrain')}")
        raise typer.Exit


@app.callback()
def start(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """A personal assistant with two brains: one gathers with tools, one writes.

    You agree before anything changes.
    """


@app.command(rich_help_panel=_TURNS)
def ask(  # noqa: PLR0913, PLR0917 (each is one option)
    task: Annotated[
        list[str],
        typer.Argument(metavar="TASK", help="What to do, in words; - reads it from standard input."),
    ],
    file: Annotated[
        list[str] | None,
        typer.Option("--file", "-f", "-a", metavar="FILE", help="Attach this file; it may be said again."),
    ] = None,
    thread: OnThread = None,
    user: User = None,
    path: Path = None,
    json: Json = False,
    plain: Plain = False,
    yes: Yes = False,
    no: No = False,
) -> None:
    """Ask for one thing and read the answer.

    What is piped to it comes with the task: cat report.txt | twobrain ask summarise this
    """
    from terminal.commands import ask, run

    run(ask.ask, task, file or [], thread, Options(user, path, json, plain, _consent(yes, no)))


@app.command(rich_help_panel=_TURNS)
def chat(  # noqa: PLR0913, PLR0917 (each is one option)
    thread: OnThread = None,
    user: User = None,
    path: Path = None,
    plain: Plain = False,
    yes: Yes = False,
    no: No = False,
) -> None:
    """Talk, line by line."""
    from terminal.commands import chat, run

    run(chat.chat, thread, Options(user, path, plain=plain, consent=_consent(yes, no)))


@app.command(rich_help_panel=_TURNS)
def approve(thread: Thread, user: User = None, json: Json = False) -> None:
    """Say yes to everything that a thread waits for."""
    from terminal.commands import approve, run

    run(approve.decide, thread, Options(user, json=json), yes=True)


@app.command(rich_help_panel=_TURNS)
def reject(
    thread: Thread,
    reason: Annotated[str, typer.Option("--reason", "-r", metavar="TEXT", help="Why, for the planner.")] = "",
    user: User = None,
    json: Json = False,
) -> None:
    """Say no to everything that a thread waits for."""
    from terminal.commands import approve, run

    run(approve.decide, thread, Options(user, json=json), yes=False, reason=reason)


@app.command(rich_help_panel=_TURNS)
def resume(thread: Thread, user: User = None, json: Json = False, yes: Yes = False, no: No = False) -> None:
    """Go on with a turn that Ctrl-C or a crash cut short."""
    from terminal.commands import resume, run

    run(resume.resume, thread, Options(user, json=json, consent=_consent(yes, no)))


@app.command(rich_help_panel=_LISTS)
def pending(
    user: Annotated[str | None, _user(help="Only what this user may answer.")] = None, json: Json = False
) -> None:
    """List what waits for your yes or no."""
    from terminal.commands import pending, run

    run(pending.pending, user=user, as_json=json)


@app.command(rich_help_panel=_LISTS)
def threads(user: OnlyUser = None, json: Json = False) -> None:
    """List the conversations, the last used last."""
    from terminal.commands import run, threads

    run(threads.threads, user=user, as_json=json)


@app.command(rich_help_panel=_LISTS)
def usage(
    by: Annotated[
        Literal["user", "model", "role", "turn", "day"],
        typer.Option(
            "--by",
            metavar="<user|model|role|turn|day>",
            parser=_one_of("user", "model", "role", "turn", "day"),
            help="What to sum up by.",
        ),
    ] = "model",
    user: OnlyUser = None,
    json: Json = False,
) -> None:
    """Sum up what the models used: tokens, and dollars where known."""
    from terminal.commands import run, usage

    run(usage.usage, by, user=user, as_json=json)


@app.command(rich_help_panel=_LISTS)
def audit(
    thread: Annotated[str | None, _thread(help="Only this thread.")] = None,
    user: OnlyUser = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=1_000_000, help="Most calls to list, the newest.")
    ] = 50,
    json: Json = False,
) -> None:
    """List every tool call: who, what, decided how, and how it ended."""
    from terminal.commands import audit, run

    run(audit.audit, thread, user=user, limit=limit, as_json=json)


@app.command(rich_help_panel=_LISTS)
def rules(
    revoke: Annotated[str | None, typer.Option("--revoke", metavar="ID", help="Forget this rule.")] = None,
    user: OnlyUser = None,
    json: Json = False,
) -> None:
    """List what you agreed to for good; or take it back."""
    from terminal.commands import rules, run

    if revoke:
        run(rules.revoke, revoke, user=user, as_json=json)
    run(rules.rules, user=user, as_json=json)


@app.command(rich_help_panel=_LISTS)
def models(json: Json = False) -> None:
    """List the models, their roles, and what is missing to use them."""
    from terminal.commands import models, run

    run(models.models, as_json=json)


@app.command(rich_help_panel=_LISTS)
def tools(json: Json = False) -> None:
    """List the tools, who may use them, and which ask first."""
    from terminal.commands import run, tools

    run(tools.tools, as_json=json)


@app.command(rich_help_panel=_UPKEEP)
def doctor(
    thread: Annotated[str | None, _thread(help="Explain this thread.")] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Put right what can be; no tool is run.")] = False,
    online: Annotated[
        bool, typer.Option("--online", help="Also call each model, and reach every server.")
    ] = False,
    json: Json = False,
) -> None:
    """Tell whether everything is in order, or how a thread stands."""
    from terminal.commands import doctor, run

    if thread is None:
        raise typer.Exit(doctor.check(mend=repair, as_json=json, online=online))
    run(doctor.examine, thread, mend=repair, as_json=json)


@app.command(rich_help_panel=_UPKEEP)
def prune(
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="AGE", help="Not used for so long: 12h, 30d, 8w.")
    ] = "30d",
    audit: Annotated[bool, typer.Option("--audit", help="The audit of their calls goes too.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would go.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """Delete finished conversations; what waits, runs or is in doubt stays."""
    from terminal.commands import run
    from terminal.commands.upkeep import prune

    run(prune.prune, older_than, audit=audit, dry_run=dry_run, yes=yes, as_json=json)


users = typer.Typer(no_args_is_help=True)
app.add_typer(
    users,
    name="users",
    rich_help_panel=_UPKEEP,
    help="Say who may use the server, by a token.",
)
UserName = Annotated[str, typer.Argument(metavar="NAME", help="The user's name.")]


@users.command("add")
def add_user(
    name: UserName,
    role: Annotated[
        Role | None,
        typer.Option(
            "--role",
            metavar="<guest|user|admin>",
            parser=_one_of(*get_args(Role)),
            help="What they may do; default: as twobrain.toml says, else user.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Give a user a token, which is shown this once."""
    from terminal.commands.upkeep import users

    users.add(name, role, as_json=json)


@users.command("list")
def list_users(json: Json = False) -> None:
    """List the users, their roles, and who has a token."""
    from terminal.commands.upkeep import users

    users.list_all(as_json=json)


@users.command("revoke")
def revoke_user(name: UserName, json: Json = False) -> None:
    """Take a user's token back; it counts no more, at once."""
    from terminal.commands.upkeep import users

    users.revoke(name, as_json=json)


@app.command(rich_help_panel=_UPKEEP)
def backup(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="A new folder, for the copy.")],
    json: Json = False,
) -> None:
    """Copy all that is kept, also while it is used."""
    from terminal.commands.upkeep import backup

    backup.backup(folder, as_json=json)


@app.command(rich_help_panel=_UPKEEP)
def restore(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="What `twobrain backup` made.")],
    force: Annotated[
        bool, typer.Option("--force", help="Put it in the place of what is there, which is moved aside.")
    ] = False,
    json: Json = False,
) -> None:
    """Put a backup back."""
    from terminal.commands.upkeep import restore

    restore.restore(folder, force=force, as_json=json)


@app.command(rich_help_panel=_UPKEEP)
def migrate(
    check: Annotated[
        bool, typer.Option("--check", help="Only tell; code 1: there is something to do.")
    ] = False,
    json: Json = False,
) -> None:
    """Make or update the tables, before a start."""
    from terminal.commands.upkeep import migrate

    raise typer.Exit(migrate.migrate(check=check, as_json=json))


@app.command(rich_help_panel=_UPKEEP)
def serve(
    host: Annotated[str, typer.Option("--host", metavar="HOST", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", metavar="PORT", min=1, max=65_535)] = 2024,
    no_auth: Annotated[
        bool, typer.Option("--no-auth", help="Let others in although no user has a token.")
    ] = False,
) -> None:
    """Serve the graph on this machine, for LangGraph Studio and other clients."""
    from terminal.commands import serve

    serve.serve(host, port, no_auth=no_auth)


@app.command(rich_help_panel=_UPKEEP)
def channels() -> None:
    """Serve the messengers of [channels] alone; `twobrain serve` does, too."""
    from terminal.commands import channels

    raise typer.Exit(channels.channels())
