"""The commands that talk, and those that list; their options.

What a command does is imported when it runs: `--help` need not wait for LangGraph.
"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from typing import Annotated, Literal, get_args

import typer

from base.run_context import PathChoice

app = typer.Typer(
    name="twobrain",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_TURNS = "Talk"
_LISTS = "Look"


def one_of(*known: str) -> Callable[[str], str]:
    """Return a parser of a choice; typer's own says "Value error"."""

    def read(value: str) -> str:
        if value not in known:
            raise typer.BadParameter(f"{value!r} is not one of {', '.join(known)}.")
        return value

    return read


def completing(of: str) -> Callable[[str], list[tuple[str, str]]]:
    """Return what completes threads, users or models in the shell.

    Nothing where they cannot be read, for a shell that completes has no room for errors; and nothing that a
    shell could take for more than words, for some evaluate what they are told.
    """

    def complete(begun: str) -> list[tuple[str, str]]:
        from base.errors import TwobrainError

        try:
            found = _named(of)
        except TwobrainError:
            return []
        fit = {name: found[name] for name in found if name.startswith(begun)}
        named = {name: means for name, means in fit.items() if re.fullmatch(r"[\w.@+-]+", name)}
        return [(name, " ".join(re.findall(r"[\w.,@/-]+", means))) for name, means in named.items()]

    return complete


def _named(of: str) -> dict[str, str]:
    """Return names with what each means; LangGraph is not imported for it."""
    from base.settings import load_settings

    settings = load_settings()
    if of == "user":
        return {"local": "", **{name: card.role for name, card in settings.users.items()}}
    if of == "model":
        from models.catalog import ModelRegistry

        registry = ModelRegistry(settings)
        roles = {role: ", ".join(names) for role, names in registry.roles.items()}
        return {**{name: card.label or card.model for name, card in registry.cards()}, **roles}
    from base.data_dir import LEDGER
    from ledger.ledger import Ledger

    async def threads() -> dict[str, str]:
        ledger = await Ledger.open(settings.database_url or settings.data_dir / LEDGER, settings.redact)
        try:
            return {row["thread"]: row["title"] or "" for row in reversed(await ledger.threads())}
        finally:
            await ledger.close()

    is_there = settings.database_url or (settings.data_dir / LEDGER).exists()
    return asyncio.run(threads()) if is_there else {}  # nothing is made by completing


def among(*known: str) -> Callable[[str], list[str]]:
    """Return what completes one of a few words."""
    return lambda incomplete: [word for word in known if word.startswith(incomplete)]


_threads = completing("thread")
_models = completing("model")
Thread = Annotated[
    str,
    typer.Argument(
        metavar="THREAD", help="A thread's id, as `twobrain threads` lists it.", autocompletion=_threads
    ),
]
Role = Literal["guest", "user", "admin"]
thread_option = partial(typer.Option, "--thread", "-t", metavar="ID", autocompletion=_threads)
_user = partial(typer.Option, "--user", "-u", metavar="NAME", autocompletion=completing("user"))
OnThread = Annotated[str | None, thread_option(help="Continue this thread; default: a new one.")]
Continue = Annotated[bool, typer.Option("--continue", "-c", help="Continue the conversation used last.")]
User = Annotated[str | None, _user(help="Who asks, as twobrain.toml knows them; default: local.")]
OnlyUser = Annotated[str | None, _user(help="Only this user's.")]
Whose = Annotated[str | None, _user(help="Whose; default: local.")]
Path = Annotated[
    PathChoice | None,
    typer.Option(
        "--path",
        metavar="PATH",
        parser=one_of(*get_args(PathChoice)),
        autocompletion=among(*get_args(PathChoice)),
        help="auto, two-brain, single, or direct: plain chat without tools.",
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME",
        help="Model or role that reasons and calls tools.",
        autocompletion=_models,
    ),
]
Writer = Annotated[
    str | None,
    typer.Option(
        "--writer", metavar="NAME", help="Model or role that writes the answer.", autocompletion=_models
    ),
]
System = Annotated[
    str | None, typer.Option("--system", metavar="TEXT", help="Persona of whoever writes the answer.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Plain = Annotated[bool, typer.Option("--plain", help="Show the answer as it was written: no Markdown.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Answer every confirmation with yes.")]
No = Annotated[bool, typer.Option("--no", "-n", help="Answer every confirmation with no.")]


Server = Annotated[
    str | None,
    typer.Option(
        "--server", metavar="URL", help="On this server, as whoever the token in TWOBRAIN_TOKEN is of."
    ),
]


class Which(Enum):
    """A conversation that is not named."""

    LAST = "last"
    PICKED = "picked"


@dataclass(frozen=True)
class Options:
    """The options that commands which run a turn share."""

    user: str | None = None
    """None: as it was when the turn began."""
    path: PathChoice | None = None
    model: str | None = None
    writer: str | None = None
    system: str | None = None
    json: bool = False
    """The result is printed as JSON: nothing else is shown, and nobody asked."""
    json_stream: bool = False
    """So are the turn's events, each on a line as it comes, its result in the last."""
    plain: bool = False
    """The answer is shown as it was written, its Markdown not rendered."""
    consent: bool | None = None
    """The answer to every confirmation; None asks the person, where there is one."""
    server: str | None = None
    """Where the conversation is; None: here."""


def consent(yes: bool, no: bool) -> bool | None:
    """Return the answer to every confirmation; None: the person is asked."""
    if yes and no:
        raise typer.BadParameter("--yes and --no contradict each other: say one of them.")
    return yes if yes or no else None


def _known(user: str | None, server: str | None) -> str | None:
    if user and server:
        raise typer.BadParameter("--user is for conversations here: a server knows you by your token.")
    return user


def _on(thread: str | None, go_on: bool, pick: bool = False) -> "str | Which | None":
    if sum([thread is not None, go_on, pick]) > 1:
        raise typer.BadParameter(
            "--thread, --continue and --resume each name a conversation: say one of them."
        )
    return Which.LAST if go_on else Which.PICKED if pick else thread


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
    go_on: Continue = False,
    user: User = None,
    path: Path = None,
    model: Model = None,
    writer: Writer = None,
    system: System = None,
    json: Json = False,
    json_stream: Annotated[
        bool, typer.Option("--json-stream", help="Print each event as a line of JSON, and nothing else.")
    ] = False,
    plain: Plain = False,
    yes: Yes = False,
    no: No = False,
    server: Server = None,
) -> None:
    """Ask for one thing and read the answer.

    What is piped to it comes with the task: cat report.txt | twobrain ask summarise this
    """
    from terminal.commands import ask, failures_told, run_at

    options = Options(_known(user, server), path, model, writer, system, json or json_stream, json_stream)
    options = replace(options, plain=plain, consent=consent(yes, no), server=server)
    with failures_told(as_events=json_stream):
        run_at(server, ask.ask, task, file or [], _on(thread, go_on), options)


@app.command(rich_help_panel=_TURNS)
def chat(  # noqa: PLR0913, PLR0917 (each is one option)
    thread: OnThread = None,
    go_on: Continue = False,
    pick: Annotated[bool, typer.Option("--resume", "-r", help="Pick one of the last conversations.")] = False,
    user: User = None,
    path: Path = None,
    model: Model = None,
    writer: Writer = None,
    system: System = None,
    plain: Plain = False,
    yes: Yes = False,
    no: No = False,
    server: Server = None,
) -> None:
    """Talk, line by line."""
    from terminal.commands import chat, run_at

    options = Options(_known(user, server), path, model, writer, system, plain=plain)
    options = replace(options, consent=consent(yes, no), server=server)
    run_at(server, chat.chat, _on(thread, go_on, pick), options)


@app.command(rich_help_panel=_TURNS)
def approve(thread: Thread, user: User = None, json: Json = False, server: Server = None) -> None:
    """Say yes to everything that a thread waits for."""
    from terminal.commands import approve, run_at

    options = Options(_known(user, server), json=json, server=server)
    run_at(server, approve.decide, thread, options, yes=True)


@app.command(rich_help_panel=_TURNS)
def reject(
    thread: Thread,
    reason: Annotated[str, typer.Option("--reason", "-r", metavar="TEXT", help="Why, for the planner.")] = "",
    user: User = None,
    json: Json = False,
    server: Server = None,
) -> None:
    """Say no to everything that a thread waits for."""
    from terminal.commands import approve, run_at

    options = Options(_known(user, server), json=json, server=server)
    run_at(server, approve.decide, thread, options, yes=False, reason=reason)


@app.command(rich_help_panel=_TURNS)
def resume(  # noqa: PLR0913, PLR0917 (each is one option)
    thread: Thread,
    user: User = None,
    json: Json = False,
    yes: Yes = False,
    no: No = False,
    server: Server = None,
) -> None:
    """Go on with a turn that Ctrl-C or a crash cut short."""
    from terminal.commands import resume, run_at

    options = Options(_known(user, server), json=json, consent=consent(yes, no), server=server)
    run_at(server, resume.resume, thread, options)


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
    from terminal.commands import run
    from terminal.commands.conversations import threads

    run(threads.threads, user=user, as_json=json)


OneThread = Annotated[
    str | None,
    typer.Argument(
        metavar="THREAD", help="A thread's id; default: the conversation used last.", autocompletion=_threads
    ),
]


@app.command(rich_help_panel=_LISTS)
def show(thread: OneThread = None, user: User = None, plain: Plain = False, json: Json = False) -> None:
    """Show what was said in a conversation, and how it stands."""
    from terminal.commands import run
    from terminal.commands.conversations import show

    run(show.show, thread, Options(user, json=json, plain=plain))


@app.command(rich_help_panel=_LISTS)
def search(
    words: Annotated[list[str], typer.Argument(metavar="WORDS", help="What was said, or stands in a title.")],
    user: OnlyUser = None,
    json: Json = False,
) -> None:
    """Find conversations by what was said."""
    from terminal.commands import run
    from terminal.commands.conversations import search

    run(search.search, words, user=user, as_json=json)


@app.command(rich_help_panel=_LISTS)
def usage(
    by: Annotated[
        Literal["user", "model", "role", "turn", "day"],
        typer.Option(
            "--by",
            metavar="<user|model|role|turn|day>",
            parser=one_of("user", "model", "role", "turn", "day"),
            autocompletion=among("user", "model", "role", "turn", "day"),
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
    thread: Annotated[str | None, thread_option(help="Only this thread.")] = None,
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
def models(json: Json = False) -> None:
    """List the models, their roles, and what is missing to use them."""
    from terminal.commands import run
    from terminal.commands.setup import models

    run(models.models, as_json=json)


@app.command(rich_help_panel=_LISTS)
def tools(json: Json = False) -> None:
    """List the tools, who may use them, and which ask first."""
    from terminal.commands import run, tools

    run(tools.tools, as_json=json)
