"""The commands that keep house and set it up, and their options."""

from typing import Annotated, get_args

import typer

from terminal.app import (
    Json,
    No,
    OneThread,
    OnlyUser,
    Options,
    Role,
    Thread,
    User,
    Whose,
    Yes,
    app,
    consent,
    one_of,
    thread_option,
)

_UPKEEP = "Look after it"


@app.command(rich_help_panel=_UPKEEP)
def undo(  # noqa: PLR0913, PLR0917 (each is one option)
    call: Annotated[
        str | None,
        typer.Argument(metavar="CALL", help="Its number in --list, or its id; default: the newest."),
    ] = None,
    listed: Annotated[bool, typer.Option("--list", "-l", help="Only list what can be undone.")] = False,
    thread: Annotated[str | None, thread_option(help="The call of this thread.")] = None,
    user: User = None,
    json: Json = False,
    yes: Yes = False,
    no: No = False,
) -> None:
    """Put back what a call changed: files, events, memories."""
    from terminal.commands import run
    from terminal.commands.conversations import undo

    options = Options(user, json=json, consent=consent(yes, no))
    if listed:
        run(undo.undoable, options)
    run(undo.undo, call, thread, options)


@app.command(rich_help_panel=_UPKEEP)
def export(
    thread: OneThread = None,
    to: Annotated[
        str | None, typer.Option("--to", "-o", metavar="FILE", help="Default: standard output.")
    ] = None,
    user: User = None,
    json: Annotated[
        bool, typer.Option("--json", help="As JSON, with every call; default: Markdown.")
    ] = False,
) -> None:
    """Write a conversation to a file."""
    from terminal.commands import run
    from terminal.commands.conversations import export

    run(export.export, thread, to, "json" if json else "markdown", Options(user))


skills = typer.Typer(no_args_is_help=True)
app.add_typer(skills, name="skills", rich_help_panel=_UPKEEP, help="Instructions for kinds of work.")
SkillName = Annotated[str, typer.Argument(metavar="NAME", help="As `twobrain skills list` shows it.")]


@skills.command("list")
def list_skills(user: User = None, json: Json = False) -> None:
    """List what a person has, and what lies there and is none."""
    from terminal.commands import run, skills

    run(skills.list_all, user=user, as_json=json)


@skills.command("show")
def show_skill(name: SkillName, user: User = None, json: Json = False) -> None:
    """Show one: where it is, and all that it says."""
    from terminal.commands import run, skills

    run(skills.show, name, user=user, as_json=json)


@skills.command("trust")
def trust_skill(name: SkillName, user: User = None) -> None:
    """Trust one that was written after untrusted content: read it first."""
    from terminal.commands import run, skills

    run(skills.trust_it, name, user=user)


@skills.command("remove")
def remove_skill(name: SkillName, user: User = None, yes: Yes = False) -> None:
    """Delete one, with all that lies in its folder."""
    from terminal.commands import run, skills

    run(skills.remove, name, user=user, yes=yes)


@app.command(rich_help_panel=_UPKEEP)
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


memories = typer.Typer(invoke_without_command=True)
app.add_typer(
    memories,
    name="memories",
    rich_help_panel=_UPKEEP,
    help="Look at what is remembered, and where it is from; change it.",
)
Memory = Annotated[str, typer.Argument(metavar="ID", help="As `twobrain memories list` shows it.")]


@memories.callback()
def all_memories(context: typer.Context) -> None:
    """Look at what is remembered, and where it is from; change it."""
    if context.invoked_subcommand is None:
        list_memories()


@memories.command("list")
def list_memories(user: Whose = None, json: Json = False) -> None:
    """List what is remembered, the latest first."""
    from terminal.commands import run
    from terminal.commands.upkeep import memories

    run(memories.list_all, user=user, as_json=json)


@memories.command("show")
def show_memory(ident: Memory, user: Whose = None, json: Json = False) -> None:
    """Show one, and where it is from."""
    from terminal.commands import run
    from terminal.commands.upkeep import memories

    run(memories.show, ident, user=user, as_json=json)


@memories.command("add")
def add_memory(
    text: Annotated[list[str], typer.Argument(metavar="TEXT", help="What to remember.")],
    user: Whose = None,
    json: Json = False,
) -> None:
    """Remember something."""
    from terminal.commands import run
    from terminal.commands.upkeep import memories

    run(memories.add, " ".join(text), user=user, as_json=json)


@memories.command("edit")
def edit_memory(
    ident: Memory,
    text: Annotated[
        list[str] | None, typer.Argument(metavar="TEXT", help="The new text; default: your editor asks.")
    ] = None,
    user: Whose = None,
    json: Json = False,
) -> None:
    """Change one, which is then no longer marked untrusted."""
    from terminal.commands import run
    from terminal.commands.upkeep import memories

    run(memories.edit, ident, " ".join(text or []), user=user, as_json=json)


@memories.command("delete")
def delete_memory(ident: Memory, user: Whose = None, yes: Yes = False, json: Json = False) -> None:
    """Forget one."""
    from terminal.commands import run
    from terminal.commands.upkeep import memories

    run(memories.delete, ident, user=user, yes=yes, as_json=json)


@memories.command("export")
def export_memories(
    to: Annotated[
        str | None, typer.Option("--to", "-o", metavar="FILE", help="Default: standard output.")
    ] = None,
    user: Whose = None,
) -> None:
    """Write all as JSON, to the screen or to a file."""
    from terminal.commands import run
    from terminal.commands.upkeep import memories

    run(memories.export, to, user=user)


@memories.command("import")
def import_memories(
    file: Annotated[str, typer.Argument(metavar="FILE", help="What `twobrain memories export` wrote.")],
    trust: Annotated[bool, typer.Option("--trust", help="Nobody else has changed the file.")] = False,
    user: Whose = None,
    json: Json = False,
) -> None:
    """Remember what a file holds, marked untrusted."""
    from terminal.commands import run
    from terminal.commands.upkeep import memories

    run(memories.import_all, file, user=user, trust=trust, as_json=json)


@app.command(rich_help_panel=_UPKEEP)
def rename(
    thread: Thread,
    words: Annotated[list[str], typer.Argument(metavar="TITLE", help="What it is to be called.")],
) -> None:
    """Call a conversation by another title."""
    from terminal.commands import run
    from terminal.commands.conversations import rename

    run(rename.rename, thread, words)


@app.command(rich_help_panel=_UPKEEP)
def delete(
    thread: Thread, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False
) -> None:
    """Delete one conversation; what its calls did stays in the audit."""
    from terminal.commands import run
    from terminal.commands.conversations import delete

    run(delete.delete, thread, yes=yes)


@app.command(rich_help_panel=_UPKEEP)
def init() -> None:
    """Set it up: keys and programs, each tried; may be run again."""
    from terminal.commands.setup import init

    raise typer.Exit(init.init())


@app.command(rich_help_panel=_UPKEEP)
def doctor(
    thread: Annotated[str | None, thread_option(help="Explain this thread.")] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Put right what can be; no tool is run.")] = False,
    online: Annotated[
        bool, typer.Option("--online", help="Also call each model, and reach every server.")
    ] = False,
    json: Json = False,
) -> None:
    """Tell whether everything is in order, or how a thread stands."""
    from terminal.commands import run
    from terminal.commands.setup import doctor

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
            parser=one_of(*get_args(Role)),
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
    """Serve the web page, and LangGraph Studio and other clients."""
    from terminal.commands import serve

    serve.serve(host, port, no_auth=no_auth)


@app.command(rich_help_panel=_UPKEEP)
def channels() -> None:
    """Serve the configured messengers alone; `twobrain serve` does, too."""
    from terminal.commands import channels

    raise typer.Exit(channels.channels())
