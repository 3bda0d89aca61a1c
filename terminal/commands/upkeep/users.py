"""`twobrain users`: who may use the server, by a token of theirs."""

import re
import unicodedata
from typing import Any

from base.data_dir import USERS
from base.errors import RequestError
from base.settings import Settings, UserCard, load_settings
from base.users import Added, AddedUser, Role, Users, digest_of, new_token
from nodes.shared_users import shared_users
from terminal.lists import list_rows, show_json
from terminal.screen import open_screen
from terminal.text import plain

_NAME = re.compile(r"\w[\w.@-]{0,63}")
_TAKEN = {"anonymous", "langgraph-studio-user", "system"}
"""Names that engines give to whom they do not know, or to themselves."""
_COLUMNS = ("name", "role", "has_token", "defined_in")
_NONE = "There are no users yet. `twobrain users add NAME` gives one a token."


def add(name: str, role: Role | None, *, as_json: bool) -> None:
    """Give a user a token, and print it.

    Raises:
        ConfigurationError: a file of the users cannot be read.
        RequestError: nobody can be called so, they have a token, or twobrain.toml gives them another role.
        StorageError: the data directory cannot be written.
    """
    settings, screen = load_settings(), open_screen(machine=as_json)
    token = new_token()

    def added(users: Added) -> tuple[Role, Users]:
        known = settings.read_users()
        _check_name(name, known)
        written = known.cards.get(name)
        _check_role(name, role, settings.written_users.get(name))
        if written and written.token_sha256:
            raise RequestError(
                f"{name!r} has a token already. If it is lost, `twobrain users revoke {name}` first."
            )
        given = role or (written.role if written else "user")
        users[name] = AddedUser(role=given, token_sha256=digest_of(token.encode()))
        return given, known

    with shared_users(settings) as stored:
        given, known = stored.change(added)
    if as_json:
        show_json(screen, {"name": name, "role": given, "token": token})
        return
    screen.note(f"{plain(name)} ({given}) is let in with this token, which is shown this once:", "bold")
    screen.out.print(token, soft_wrap=True)
    if not known.guarded:
        screen.note("From now on a server lets nobody in without a token, a running one too.", "yellow")


def revoke(name: str, *, as_json: bool) -> None:
    """Take a user's token back. Raises as `add`."""
    settings, screen = load_settings(), open_screen(machine=as_json)

    def revoked(added: Added) -> None:
        card = settings.read_users().cards.get(name)
        if card is None or card.token_sha256 is None:
            raise RequestError(f"{name!r} has no token. `twobrain users list` shows who has one.")
        added[name] = AddedUser(role=card.role, token_sha256=None)

    with shared_users(settings) as stored:
        stored.change(revoked)
        users = settings.read_users()
    if as_json:
        show_json(screen, {"revoked": name})
        return
    screen.note(f"Revoked the token of {plain(name)}: it counts no more. What is theirs stays.")
    if not any(map(users.may_enter, users.cards)):
        screen.note(
            f"Nobody has a token now, and a server lets nobody in. To serve without tokens again, take away "
            f"{_place(settings)} and every token_sha256 of twobrain.toml, and start it anew.",
            "yellow",
        )


def list_all(*, as_json: bool) -> None:
    """List the users. Raises `ConfigurationError`: a file of theirs cannot be read."""
    settings = load_settings()
    with shared_users(settings):
        rows = [_row(name, card, settings) for name, card in settings.users.items()]
    list_rows(rows, _COLUMNS, _NONE, as_json=as_json, for_people=_for_people)


def _place(settings: Settings) -> str:
    """Return where the added users are."""
    row = f"the row {USERS!r} of the table documents"
    return row if settings.database_url else str(settings.data_dir / USERS)


def _row(name: str, card: UserCard, settings: Settings) -> dict[str, Any]:
    places = {"twobrain.toml": settings.written_users, "twobrain users": settings.known_users.added}
    return {
        "name": name,
        "role": card.role,
        "has_token": settings.known_users.token_of(name) is not None,
        "defined_in": [place for place, names in places.items() if name in names],
    }


def _for_people(row: Any) -> dict[str, Any]:
    return {**row, "defined_in": " and ".join(row["defined_in"])}


def _check_name(name: str, known: Users) -> None:
    """Check that a name can be had and means no other."""
    if not _NAME.fullmatch(name) or not unicodedata.is_normalized("NFKC", name):
        raise RequestError(
            f"Nobody can be called {name[:80]!r}: a name has 1 to 64 letters, digits, or any of . @ _ -, and "
            "begins with a letter or a digit."
        )
    alike = next((each for each in known.cards if each != name and each.casefold() == name.casefold()), None)
    if alike:
        raise RequestError(f"There is {alike!r} already, and {name!r} would be taken for them.")
    if name.casefold() in _TAKEN:
        raise RequestError(f"Engines call whom they do not know {name!r}: choose another name.")


def _check_role(name: str, role: Role | None, written: UserCard | None) -> None:
    if role and written and written.role != role:
        raise RequestError(
            f"twobrain.toml says that {name!r} is {written.role!r}: change it there, or leave --role out."
        )
