"""Each form of a write, on each kind of key, and under different circumstances."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import cmcore
from cmcore import Change
from tests import models
from tests.capture.bench import Bench
from tests.capture.forms import Form, check, parameters
from tests.capture.witness import Witness

SQLITE, POSTGRESQL = ("sqlite",), ("postgresql",)


@pytest.fixture
def older(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """The bench of PostgreSQL, taken for a server of version 15."""
    monkeypatch.setattr(bench.db, "server_version", 150_000)
    return bench


@pytest.mark.parametrize(("engine", "kind", "form"), parameters())
def test_form(bench: Bench, kind: str, form: Form) -> None:
    """A write returns what peewee returns, and its trail turns before into after."""
    check(bench, kind, form)


@pytest.mark.parametrize(("engine", "kind", "form"), parameters(kinds=("integer",)))
def test_form_in_a_transaction(bench: Bench, kind: str, form: Form) -> None:
    """Inside nested blocks of the caller a write does the same."""
    with bench.db.atomic(), bench.plain.atomic(), bench.db.atomic():
        entries = check(bench, kind, form)
    assert bench.entries() == entries
    assert len({entry.transaction for entry in entries}) <= 1


@pytest.mark.parametrize(("engine", "kind", "form"), parameters(SQLITE, ("text",)))
def test_form_with_returning_clause(
    bench: Bench, kind: str, form: Form, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With peewee's RETURNING switched on, SQLite gives what peewee then gives."""
    monkeypatch.setattr(bench.db, "returning_clause", True)
    monkeypatch.setattr(bench.plain, "returning_clause", True)
    check(bench, kind, form)


@pytest.mark.parametrize(
    ("engine", "kind", "form"), parameters(POSTGRESQL, ("composite", "none"))
)
def test_form_on_older_postgresql(older: Bench, kind: str, form: Form) -> None:
    """Without OLD and NEW in RETURNING, PostgreSQL gives the same results and trail."""
    check(older, kind, form)


@pytest.fixture
def psycopg3(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """The bench of PostgreSQL, reached through psycopg 3."""
    url = bench.url.replace("postgresql://", "postgresql+psycopg://")
    db: Any = cmcore.connect(url)
    try:
        assert type(db._adapter).__name__ == "Psycopg3Adapter"
        monkeypatch.setattr(bench, "db", db)
        bench.bind_mirrors()
        yield bench
    finally:
        db.close()


@pytest.mark.parametrize(("engine", "kind", "form"), parameters(POSTGRESQL, ("uuid",)))
def test_form_with_psycopg3(psycopg3: Bench, kind: str, form: Form) -> None:
    """With psycopg 3 the results and the trail are the same."""
    check(psycopg3, kind, form)


@pytest.mark.parametrize(
    ("engine", "kind", "form"), parameters(POSTGRESQL, ("composite",))
)
def test_form_with_hooks_and_psycopg3(
    psycopg3: Bench, kind: str, form: Form, plugin: Callable[..., Any]
) -> None:
    """With psycopg 3 hooks are told the same."""
    check_hooks(psycopg3, kind, form, plugin(Witness()))


@pytest.mark.parametrize(("engine", "kind", "form"), parameters())
def test_form_with_hooks(
    bench: Bench, kind: str, form: Form, plugin: Callable[..., Any]
) -> None:
    """Hooks are told of each row before and after, and the write stays the same."""
    witness = plugin(Witness())
    check_hooks(bench, kind, form, witness)


@pytest.mark.parametrize(
    ("engine", "kind", "form"), parameters(POSTGRESQL, ("composite",))
)
def test_form_with_hooks_on_older_postgresql(
    older: Bench, kind: str, form: Form, plugin: Callable[..., Any]
) -> None:
    """Hooks are told the same where RETURNING has no OLD and NEW."""
    check_hooks(older, kind, form, plugin(Witness()))


def check_hooks(bench: Bench, kind: str, form: Form, witness: Witness) -> None:
    """Compare what hooks were told before and after with the trail."""
    entries = check(bench, kind, form)
    model = models.ITEMS[kind]
    told = [
        (
            change.action.value,
            change.old and dict(change.old),
            change.new and dict(change.new),
        )
        for _, change in witness.after
    ]
    assert told == [(entry.action, entry.old, entry.new) for entry in entries]
    assert all(change.model is model for _, change in witness.before + witness.after)
    assert all(verb == change.action.value for verb, change in witness.before)
    announced = list(witness.before)
    for verb, change in witness.after:
        match = next((a for a in announced if _announces(*a, verb, change)), None)
        assert match, f"{verb} {change.key} was not announced by {witness.before}"
        announced.remove(match)
    assert {verb for verb, _ in announced} <= {"update"}


def _announces(announced: str, was: Change, verb: str, change: Change) -> bool:
    if announced != verb or was.key not in {change.key, None}:
        return False
    if verb == "delete":
        return was.old == change.old and was.new is None
    if verb == "create" and (was.old is not None or was.new is None):
        return False
    told, happened = dict(was.new or {}), dict(change.new or {})
    return told.items() <= happened.items()
