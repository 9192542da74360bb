"""Passwords and codes are asked for on the terminal, which may not be there."""

import os
import pty
import subprocess
import sys

import pytest

from cmcore import accounts
from cmcore.models import User
from tests.conftest import MakeUrl, connected

PASSWORD = "correct horse battery"
EMAIL = "ada@example.org"


@pytest.fixture
def url(engine: str, make_url: MakeUrl, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a database with Ada, and a key for processes."""
    url = make_url(engine, migrated=True)
    monkeypatch.setenv("CMCORE_SECRET_KEY", accounts.generate_key())
    with connected(url):
        accounts.create_user(EMAIL, PASSWORD, "Ada Lovelace")
    return url


def process(
    command: list[str], url: str, *, typing: tuple[tuple[str, str], ...] | None
) -> tuple[int, str]:
    """Run a command whose standard input is a password, and return what it says.

    Args:
        command: The arguments.
        url: Of the database.
        typing: Prompts and what is typed at them on the terminal that the process
            has; None for a process without one.
    """
    end, far = pty.openpty()
    attach = f"import fcntl, termios; fcntl.ioctl({far}, termios.TIOCSCTTY, 0);"
    begin = "from cmcore.cli import main; main()"
    running = subprocess.Popen(
        [sys.executable, "-c", (attach if typing else "") + begin, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "CMCORE_DATABASE_URL": url},
        pass_fds=[far],
        start_new_session=True,
        text=True,
    )
    os.close(far)
    assert running.stdin is not None
    running.stdin.write(f"{PASSWORD}\n")
    running.stdin.close()
    running.stdin = None
    for prompt, text in typing or ():
        shown = ""
        while prompt not in shown:
            shown += os.read(end, 1024).decode()
        os.write(end, f"{text}\n".encode())
    said, _ = running.communicate(timeout=60)
    os.close(end)
    return running.returncode, said


def test_the_code_is_typed_on_the_terminal(url: str) -> None:
    """Also where standard input is a pipe that holds the password alone."""
    wrong = (("Code", "no code"),) * 3
    enrol = ["user", "enrol-2fa", EMAIL, "--password-stdin"]
    code, said = process(enrol, url, typing=wrong)
    assert (code, said.count("That is not the code")) == (1, 2)
    with connected(url):
        assert User.get(User.email == EMAIL).failed_login_attempts == 3


@pytest.mark.parametrize(
    ("command", "advice"),
    [
        (["create", "eva@example.org", "--name", "Eva"], "use --password-stdin."),
        (["set-password", EMAIL], "use --password-stdin."),
        (["enrol-2fa", EMAIL], "use --password-stdin."),
        (["enrol-2fa", EMAIL, "--password-stdin"], "nothing was switched on."),
    ],
)
def test_without_a_terminal_nothing_is_asked(
    url: str, command: list[str], advice: str
) -> None:
    """It ends with 2, and says so in one sentence without a warning of Python."""
    code, said = process(["user", *command], url, typing=None)
    assert code == 2
    assert said.endswith(f"Error: There is no terminal to ask on; {advice}\n")
    assert "Warning" not in said
    with connected(url):
        ada = User.get(User.email == EMAIL)
        assert (ada.failed_login_attempts, ada.is_2fa_enabled) == (0, False)
