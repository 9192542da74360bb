"""`cmcore user`: the first admin, second factors, locks; no password in an argument."""

import json

import pyotp
import pytest
from click.testing import CliRunner, Result

import cmcore
from cmcore import accounts
from cmcore.accounts import codes
from cmcore.cli import cli
from cmcore.models import AuditLog, User
from tests.accounts.conftest import EMAIL, PASSWORD, cheap  # noqa: F401 - a fixture
from tests.cli.conftest import Run
from tests.conftest import MakeUrl, connected, unbind


@pytest.fixture
def url(engine: str, make_url: MakeUrl) -> str:
    """The URL of a database with Ada, who is an admin."""
    url = make_url(engine, migrated=True)
    with connected(url):
        accounts.create_user(
            EMAIL, PASSWORD, "Ada Lovelace", role=cmcore.UserRole.ADMIN
        )
        accounts.create_user("eve@example.org", PASSWORD, "Eve Else")
    return url


def typed(url: str, *arguments: str, lines: list[str]) -> Result:
    """Run a command of the group with lines typed in."""
    text = "".join(f"{line}\n" for line in lines)
    command = ["user", *arguments, "--database", url]
    result = CliRunner().invoke(cli, command, input=text)
    if not isinstance(result.exception, SystemExit | None):
        raise result.exception
    unbind()
    return result


def test_the_first_admin_is_created_at_a_prompt(engine: str, make_url: MakeUrl) -> None:
    """The password is asked for twice, not shown, and the id is printed alone."""
    url = make_url(engine, migrated=True)
    create = ("create", EMAIL, "--name", "Ada Lovelace", "--role", "admin")
    result = typed(url, *create, lines=[PASSWORD, PASSWORD])
    assert result.exit_code == 0
    assert PASSWORD not in result.output
    with connected(url):
        user = User.get(User.email == EMAIL)
        assert (user.role, user.full_name) == ("admin", "Ada Lovelace")
        assert result.stdout.split() == [user.id]
        assert accounts.authenticate(EMAIL, PASSWORD)


def test_a_password_comes_from_standard_input(engine: str, make_url: MakeUrl) -> None:
    """Its first line, as it is."""
    url = make_url(engine, migrated=True)
    create = ("create", EMAIL, "--name", "Ada Lovelace", "--password-stdin")
    assert typed(url, *create, lines=["  spaces are kept  ", "x"]).exit_code == 0
    with connected(url):
        assert accounts.authenticate(EMAIL, "  spaces are kept  ")


def test_no_option_takes_a_password() -> None:
    """Other users of the machine see arguments."""
    group = cli.commands["user"]
    assert hasattr(group, "commands")
    for command in group.commands.values():
        for option in command.params:
            assert "password" not in (option.name or "")


def test_a_bad_password_is_refused(url: str) -> None:
    """With 1, all reasons, and nothing changed."""
    change = ("set-password", EMAIL, "--password-stdin")
    result = typed(url, *change, lines=["ada"])
    assert result.exit_code == 1
    assert "fewer than 12 characters" in result.stderr
    assert "e-mail address" in result.stderr
    with connected(url):
        assert accounts.authenticate(EMAIL, PASSWORD)


def test_a_password_is_set(url: str) -> None:
    """The new one logs in, the old one does not."""
    change = ("set-password", EMAIL)
    result = typed(url, *change, lines=["another good one"] * 2)
    assert (result.exit_code, result.stdout) == (0, "")
    with connected(url):
        assert accounts.authenticate(EMAIL, "another good one")
        assert not accounts.authenticate(EMAIL, PASSWORD)


def test_users_are_listed(run: Run, url: str) -> None:
    """As a table, and as one JSON document without secrets."""
    assert "eve@example.org" in run("user", "list", "--database", url).stdout
    document = run("user", "list", "--json", "--database", url).stdout
    found = json.loads(document)
    assert [person["email"] for person in found] == [
        EMAIL,
        "eve@example.org",
        "system@cmcore.invalid",
    ]
    assert "argon2" not in document


def test_one_user_is_shown(run: Run, url: str) -> None:
    """As two columns, and as one JSON document."""
    assert "Ada Lovelace" in run("user", "show", EMAIL, "--database", url).stdout
    shown = run("user", "show", EMAIL.upper(), "--json", "--database", url).stdout
    document = json.loads(shown)
    assert (document["email"], document["auth_epoch"]) == (EMAIL, 0)
    assert "password_hash" not in document


def test_disabling_enabling_unlocking(run: Run, url: str) -> None:
    """Each does it, and the trail tells."""
    with connected(url):
        for _ in range(5):
            accounts.authenticate("eve@example.org", "wrong")
    for command in ("unlock", "disable", "enable"):
        result = run("user", command, "eve@example.org", "--database", url)
        assert (result.exit_code, result.stdout) == (0, "")
    with connected(url):
        eve = User.get(User.email == "eve@example.org")
        told = [entry.action for entry in AuditLog.for_instance(eve)][:5]
        assert told == [
            "user_activate",
            "update",
            "user_suspend",
            "update",
            "user_activate",
        ]
        assert accounts.authenticate("eve@example.org", PASSWORD)


@pytest.mark.parametrize("command", ["unlock", "enable", "disable-2fa", "disable"])
def test_what_is_so_already_is_said(run: Run, url: str, command: str) -> None:
    """With 0, and without an entry."""
    with connected(url):
        eve = User.get(User.email == "eve@example.org")
        if command == "disable":
            accounts.disable_user(eve)
        before = AuditLog.select().count()
    result = run("user", command, "eve@example.org", "--database", url)
    assert result.exit_code == 0
    assert "anyway; nothing was changed." in result.stderr
    with connected(url):
        assert AuditLog.select().count() == before


def test_the_last_admin_is_not_disabled(run: Run, url: str) -> None:
    """It is refused with 1, and says what to do first."""
    result = run("user", "disable", EMAIL, "--database", url)
    assert result.exit_code == 1
    assert "Make another admin first" in result.stderr


def test_a_second_factor_is_enrolled(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The QR code and the talk go to stderr, ten recovery codes to stdout."""
    seed = pyotp.random_base32()
    monkeypatch.setattr(codes, "new_seed", lambda: seed)
    enrol = ("enrol-2fa", EMAIL, "--issuer", "Example", "--password-stdin")
    result = typed(url, *enrol, lines=[PASSWORD, pyotp.TOTP(seed).now()])
    assert result.exit_code == 0
    assert "\u2588" in result.stderr
    recovery_codes = result.stdout.split()
    assert len(recovery_codes) == 10
    with connected(url):
        assert not accounts.authenticate(EMAIL, PASSWORD)
        assert accounts.authenticate(EMAIL, PASSWORD, recovery_codes[0])


def test_a_wrong_code_may_be_typed_again(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the same seed; the third one may be right."""
    seed = pyotp.random_base32()
    monkeypatch.setattr(codes, "new_seed", lambda: seed)
    lines = [PASSWORD, "wrong", "wrong", pyotp.TOTP(seed).now()]
    result = typed(url, "enrol-2fa", EMAIL, lines=lines)
    assert (result.exit_code, len(result.stdout.split())) == (0, 10)
    assert result.stderr.count("That is not the code") == 2
    assert result.stderr.count("Or type in") == 1


def test_three_wrong_codes_enrol_nothing(url: str) -> None:
    """The command ends with 1, each counts as a failure, and there is no factor."""
    result = typed(url, "enrol-2fa", EMAIL, lines=[PASSWORD, *["wrong"] * 4])
    assert result.exit_code == 1
    assert "Run the command again." in result.stderr
    assert PASSWORD not in result.output
    with connected(url):
        assert User.get(User.email == EMAIL).failed_login_attempts == 3
        assert accounts.authenticate(EMAIL, PASSWORD)


@pytest.mark.parametrize("lines", [[PASSWORD], []])
def test_the_end_of_input_is_no_failure(url: str, lines: list[str]) -> None:
    """Neither at the code nor at the password: nothing is counted, nothing told."""
    result = typed(url, "enrol-2fa", EMAIL, "--password-stdin", lines=lines)
    assert result.exit_code == (1 if lines else 2)
    with connected(url):
        ada = User.get(User.email == EMAIL)
        assert (ada.failed_login_attempts, ada.is_2fa_enabled) == (0, False)
        told = [entry.action for entry in AuditLog.for_instance(ada)]
        assert "login_failed" not in told


def test_a_lost_second_factor_is_switched_off(run: Run, url: str) -> None:
    """Nothing is asked."""
    with connected(url):
        ada = User.get(User.email == EMAIL)
        secret = accounts.begin_totp(ada, PASSWORD).secret
        accounts.confirm_totp(ada, pyotp.TOTP(secret).now())
    result = run("user", "disable-2fa", EMAIL, "--database", url)
    assert (result.exit_code, result.stdout) == (0, "")
    with connected(url):
        assert accounts.authenticate(EMAIL, PASSWORD)


def test_without_a_key_nobody_enrols(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a wrong configuration, as a bad key is, and says how to make one."""
    cmcore.configure(secret_key=None)
    for key in ("", "short"):
        monkeypatch.setenv("CMCORE_SECRET_KEY", key)
        result = typed(url, "enrol-2fa", EMAIL, "--password-stdin", lines=[PASSWORD])
        assert result.exit_code == 2
        assert "generate_key" in result.stderr


def test_an_unknown_user_is_named(run: Run, url: str) -> None:
    """With 1, as every row that is not there."""
    for command in ("show", "unlock", "disable", "enable", "disable-2fa"):
        result = run("user", command, "nobody@example.org", "--database", url)
        assert result.exit_code == 1
        assert "no user nobody@example.org" in result.stderr


def test_a_database_that_lacks_migrations_is_told(
    run: Run, engine: str, make_url: MakeUrl
) -> None:
    """With 5, before a password is asked for."""
    url = make_url(engine)
    with connected(url) as db:
        cmcore.migrate(db, target="006_add_check_constraints")
    for command in (["list"], ["show", EMAIL], ["create", EMAIL, "--name", "Ada"]):
        result = run("user", *command, "--database", url)
        assert result.exit_code == 5
        assert "007_add_account_security" in result.stderr
