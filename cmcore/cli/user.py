"""`user …`: the people who can log in."""

import functools
import getpass
import sys
import warnings
from collections.abc import Callable
from typing import Any

import click
import peewee

from cmcore import accounts
from cmcore.cli.connection import with_database
from cmcore.cli.output import note, show_json, show_lines, show_table
from cmcore.cli.program import Failure
from cmcore.errors import InvalidCredentialsError
from cmcore.models import User, UserRole
from cmcore.models.schema_state import require_schema

Function = Callable[..., Any]

TRIES = 3  # for the code that ends an enrolment
USAGE = 2

password_option = click.option(
    "--password-stdin",
    "from_stdin",
    is_flag=True,
    help="Read the password from the first line of standard input.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document.")


@click.group()
def user() -> None:
    """Look after the users: create, list, unlock, disable, second factors."""


def on_user(function: Function) -> Function:
    """Give a command the live user whose address it names, as `person`."""

    @click.argument("email", metavar="EMAIL")
    @with_database()
    @functools.wraps(function)
    def found(db: peewee.Database, email: str, **options: Any) -> Any:
        require_schema(db, "users")
        person = User.get_or_none(User.email == email)
        if person is None:
            message = f"There is no user {email}. `cmcore user list` shows them."
            raise Failure(message)
        return function(person=person, **options)

    command: Function = found
    return command


@user.command("create")
@click.argument("email", metavar="EMAIL")
@click.option("--name", required=True, metavar="NAME", help="The full name.")
@click.option(
    "--role",
    type=click.Choice([role.value for role in UserRole]),
    default=UserRole.CLIENT.value,
    show_default=True,
    help="What the user may do.",
)
@password_option
@with_database()
def create(
    db: peewee.Database, *, email: str, name: str, role: str, from_stdin: bool
) -> None:
    """Create a user, and print the id."""
    require_schema(db, "users")
    password = _new_password(from_stdin=from_stdin)
    made = accounts.create_user(email, password, name, role=UserRole(role))
    show_lines([made.id])
    note(f"{made.email} can log in.")


@user.command("list")
@json_option
@with_database()
def list_users(db: peewee.Database, *, as_json: bool) -> None:
    """List the users that are not deleted."""
    people = [_document(person) for person in User.select().order_by(User.email)]
    if as_json:
        show_json(people)
        return
    names = (
        "email",
        "full_name",
        "role",
        "is_active",
        "is_2fa_enabled",
        "locked_until",
    )
    show_table(
        ("E-mail", "Name", "Role", "Active", "Second factor", "Locked until"),
        [[_text(person[name]) for name in names] for person in people],
    )


@user.command("show")
@json_option
@on_user
def show(*, person: User, as_json: bool) -> None:
    """Show all of one user but the secrets."""
    document = _document(person)
    if as_json:
        show_json(document)
        return
    show_table(("Column", "Value"), [(n, _text(v)) for n, v in document.items()])


@user.command("set-password")
@password_option
@on_user
def set_password(*, person: User, from_stdin: bool) -> None:
    """Give a user a new password, which ends the sessions."""
    accounts.set_password(person, _new_password(from_stdin=from_stdin))
    note(f"{person.email} has a new password.")


@user.command("disable")
@on_user
def disable(*, person: User) -> None:
    """Let a user log in no more."""
    was_active = person.is_active
    accounts.disable_user(person)
    _say(person, "cannot log in", changed=was_active)


@user.command("enable")
@on_user
def enable(*, person: User) -> None:
    """Let a disabled user log in again."""
    was_active = person.is_active
    accounts.enable_user(person)
    _say(person, "is enabled", changed=not was_active)


@user.command("unlock")
@on_user
def unlock(*, person: User) -> None:
    """Let a user try again who is locked after too many failures."""
    had_failed = person.failed_login_attempts > 0
    accounts.unlock(person)
    _say(person, "is not locked", changed=had_failed)


@user.command("enrol-2fa")
@click.option(
    "--issuer",
    default="cmcore",
    show_default=True,
    metavar="NAME",
    help="The application's name, which authenticators show.",
)
@password_option
@on_user
def enrol(*, person: User, issuer: str, from_stdin: bool) -> None:
    """Switch a second factor on: shows a QR code, asks for a code of it.

    The code is asked for on the terminal, also with --password-stdin. A wrong one
    counts as at a login, and may be typed three times. Nothing changes until a right
    one is given.

    Prints ten recovery codes, one a line, which are shown only now.
    """
    password = _first_line() if from_stdin else _asked("Password")
    try:
        enrolment = accounts.begin_totp(person, password, issuer=issuer)
        note(f"Let an authenticator read this:\n\n{enrolment.qr()}")
        note(f"Or type in: {enrolment.secret}")
        recovery_codes = _confirmed(person)
    except InvalidCredentialsError:
        message = (
            "The password or the code is not right, or not any more; nothing was "
            "changed. Run the command again. After five failures the account is locked "
            "for a while, as at a login."
        )
        raise Failure(message) from None
    note("It is on. Keep these recovery codes; each works once:")
    show_lines(recovery_codes)


@user.command("disable-2fa")
@on_user
def disable_2fa(*, person: User) -> None:
    """Switch off the second factor of a user who lost it; nothing is asked."""
    had_one = person.is_2fa_enabled
    accounts.remove_totp(person)
    _say(person, "has no second factor", changed=had_one)


def _say(person: User, state: str, *, changed: bool) -> None:
    """Say how it is now, and whether it was so before."""
    note(f"{person.email} {state}{'' if changed else ' anyway; nothing was changed'}.")


def _confirmed(person: User) -> list[str]:
    """Ask for the code of an enrolment until it is right, and return recovery codes."""
    tries = 1
    while True:
        code = _asked("Code", otherwise="nothing was switched on")
        try:
            return accounts.confirm_totp(person, code)
        except InvalidCredentialsError as error:
            if error.reason != "wrong_code" or tries == TRIES:
                raise
        note("That is not the code. Type the one that is shown now.")
        tries += 1


def _new_password(*, from_stdin: bool) -> str:
    return _first_line() if from_stdin else _asked("Password", twice=True)


def _first_line() -> str:
    line = sys.stdin.readline()
    if not line:
        message = "Standard input is empty; its first line has to be the password."
        raise Failure(message, USAGE)
    return line.rstrip("\r\n")


def _asked(
    what: str, *, twice: bool = False, otherwise: str = "use --password-stdin"
) -> str:
    """Return what is typed on the terminal, which does not show it.

    That is the terminal itself, wherever standard input comes from.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            typed = click.prompt(
                what, hide_input=True, confirmation_prompt=twice, err=True
            )
        except getpass.GetPassWarning:
            message = f"There is no terminal to ask on; {otherwise}."
            raise Failure(message, USAGE) from None
    return str(typed)


def _document(person: User) -> dict[str, Any]:
    """Return what may be shown of a user."""
    times = ("created_at", "last_login_at", "last_failed_login", "locked_until")
    plain = ("is_active", "is_2fa_enabled", "failed_login_attempts", "auth_epoch")
    return {
        "id": person.id,
        "email": person.email,
        "full_name": person.full_name,
        "role": str(person.role),
        **{name: getattr(person, name) for name in plain},
        **{name: _time(getattr(person, name)) for name in times},
    }


def _time(moment: Any) -> str | None:
    return None if moment is None else str(moment.isoformat(" ", "seconds"))


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)
