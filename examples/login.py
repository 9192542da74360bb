"""Sign in on a terminal: password, second factor, lockout, and what the trail shows.

    export CMCORE_SECRET_KEY=...     # from cmcore.accounts.generate_key()
    cmcore migrate --database sqlite:///login.db
    cmcore user create ada@example.org --name "Ada Lovelace" --database sqlite:///login.db
    cmcore user enrol-2fa ada@example.org --database sqlite:///login.db
    python examples/login.py --database sqlite:///login.db

Without a terminal it reads e-mail, password and code from lines of standard input.
"""

import argparse
import getpass
import sys

import cmcore
from cmcore import accounts
from cmcore.models import AuditLog, User


def ask(question: str, *, hidden: bool = False) -> str:
    """Ask on the terminal, or read the next line."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    return getpass.getpass(question) if hidden else input(question)


def sign_in() -> User | None:
    """Ask until somebody is let in; an empty e-mail address gives up."""
    while email := ask("E-mail (empty to leave): "):
        password = ask("Password: ", hidden=True)
        result = accounts.authenticate(email, password)
        if result.reason == "second_factor_required":
            code = ask("Code, or recovery code: ")
            result = accounts.authenticate(email, password, code)
        if result.ok:
            return result.user
        print(
            "That is not right. After some failures an account is locked for a while."
        )
    return None


def is_open(session: tuple[str, int]) -> bool:
    """Tell whether a session still holds; an application asks at each request.

    It ends with a new password, second factor or role, and when the user is disabled or
    deleted.
    """
    user = User.get_or_none(User.id == session[0])
    return user is not None and user.auth_epoch == session[1]


def show_trail(user: User) -> None:
    """Print what happened to the account, oldest first."""
    for entry in reversed(AuditLog.for_instance(user).limit(10)):
        extra = entry.extra_data or {}
        known = [
            f"{n}: {extra[n]}" for n in ("attempts", "second_factor") if extra.get(n)
        ]
        print(f"  {entry.action}: {', '.join([entry.description, *known])}")


def main() -> None:
    """Sign somebody in, and show what the trail says of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--database", default="sqlite:///login.db", metavar="URL")
    db = cmcore.connect(parser.parse_args().database)
    with cmcore.acting_as(ip_address="127.0.0.1", user_agent="examples/login.py"):
        user = sign_in()
    if user is not None:
        session = (user.id, user.auth_epoch)
        print(f"Hello, {user.full_name}. Your session is open: {is_open(session)}")
        show_trail(user)
    db.close()


if __name__ == "__main__":
    main()
