"""What plugins refuse or break is undone, also when the caller catches the error."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest

import cmcore
from tests import models
from tests.capture.bench import Bench, key_columns, rows_of
from tests.capture.witness import Witness

KIND = "composite"
Item = models.ITEMS[KIND]
Mirror = models.MIRRORS[KIND]


class BoomError(Exception):
    """What a broken hook raises."""


def _row(number: int, **more: Any) -> dict[str, Any]:
    return {"code": f"new{number}", **key_columns(KIND, 100 + number), **more}


def _saved() -> None:
    row = Item.get(Item.code == "a")
    row.n = 40
    row.save()


WRITES: dict[str, tuple[str, Callable[[], Any]]] = {
    "create": ("create", lambda: Item.create(**_row(1))),
    "insert_many": (
        "create",
        lambda: Item.insert_many([_row(1), _row(2)]).execute(),
    ),
    "bulk_create": (
        "create",
        lambda: Item.bulk_create([Item(**_row(i)) for i in range(4)], batch_size=2),
    ),
    "get_or_create": (
        "create",
        lambda: Item.get_or_create(code="new1", defaults=_row(1)),
    ),
    "save": ("update", _saved),
    "update": ("update", lambda: Item.update(n=9).execute()),
    "update_expression": ("update", lambda: Item.update(n=Item.n + 1).execute()),
    "upsert_create": (
        "create",
        lambda: (
            Item.insert(**_row(1))
            .on_conflict(conflict_target=[Item.code], preserve=[Item.n])
            .execute()
        ),
    ),
    "upsert_update": (
        "update",
        lambda: (
            Item.insert(**_row(1, code="a", n=7))
            .on_conflict(conflict_target=[Item.code], preserve=[Item.n])
            .execute()
        ),
    ),
    "delete": ("delete", lambda: Item.delete().where(Item.n > 1).execute()),
    "delete_instance": ("delete", lambda: Item.get().delete_instance()),
}


def refusing(hook: str, error: Exception) -> Any:
    """Make a plugin whose one hook raises; with `last` it raises after all others."""

    def raising(changes: Any) -> None:
        assert changes
        raise error

    def redacting(change: Any) -> None:
        assert change
        raise error

    class Refusing:
        """A plugin with one hook."""

    function = redacting if hook == "redact" else raising
    setattr(Refusing, f"cmcore_{hook}", staticmethod(cmcore.hookimpl(function)))
    return Refusing()


@pytest.mark.parametrize("stage", ["before", "after", "redact"])
@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("where", ["autocommit", "transaction", "savepoint"])
def test_a_refused_write_leaves_nothing(
    bench: Bench, plugin: Callable[..., Any], stage: str, write: str, where: str
) -> None:
    """Neither rows nor entries are kept, and what surrounds the write goes on."""
    bench.seed(KIND)
    verb, call = WRITES[write]
    error: Exception = (
        cmcore.Veto("not today") if stage == "before" else BoomError("broken")
    )
    plugin(refusing("redact" if stage == "redact" else f"{stage}_{verb}", error))
    before = rows_of(Mirror)
    plain = models.ITEMS["integer"]
    around = nullcontext() if where == "autocommit" else bench.db.atomic()
    with around:
        inner = bench.db.atomic() if where == "savepoint" else nullcontext()
        with pytest.raises(type(error), match=r"not today|broken"), inner:
            call()
        if where == "autocommit":
            assert not bench.db.in_transaction()
        cmcore.plugins.block("Refusing")
        plain.create(code="goes on")
    assert rows_of(Mirror) == before
    assert [entry.new and entry.new["code"] for entry in bench.entries()] == ["goes on"]


@pytest.mark.parametrize("stage", ["before", "after"])
def test_a_refusal_in_a_later_batch_undoes_the_call(
    bench: Bench, plugin: Callable[..., Any], stage: str
) -> None:
    """A hook that raises at the third batch takes the first two along."""
    calls = []

    class Late:
        """Refuses the third statement."""

    def hook(changes: Any) -> None:
        calls.append(len(changes))
        if len(calls) == 3:
            raise BoomError

    setattr(Late, f"cmcore_{stage}_create", staticmethod(cmcore.hookimpl(hook)))
    plugin(Late())
    with bench.db.atomic():
        with pytest.raises(BoomError):
            Item.bulk_create([Item(**_row(i)) for i in range(6)], batch_size=2)
        assert calls == [2, 2, 2]
    assert rows_of(Mirror) == []
    assert bench.entries() == []


def test_a_veto_says_why(bench: Bench, plugin: Callable[..., Any]) -> None:
    """The caller gets the plugin's own error with its text."""
    plugin(refusing("before_create", cmcore.Veto("the month is closed")))
    with pytest.raises(cmcore.Veto) as caught:
        Item.create(**_row(1))
    assert caught.value.reason == str(caught.value) == "the month is closed"


def test_an_update_that_changes_the_rows_it_was_shown(
    bench: Bench, plugin: Callable[..., Any]
) -> None:
    """A before-hook may write elsewhere, and that is undone with the statement."""

    class Busy:
        """Writes to another table, then refuses."""

        @staticmethod
        @cmcore.hookimpl
        def cmcore_before_update(changes: Any) -> None:
            """Leave a trace that must not stay."""
            if changes[0].model is Item:
                models.Stamped.create(name="trace")
                raise BoomError

    bench.seed(KIND)
    plugin(Busy())
    with bench.db.atomic(), pytest.raises(BoomError):
        Item.update(n=9).execute()
    assert models.Stamped.select().count() == 0
    assert bench.entries() == []


def test_audit_false_still_calls_hooks(
    bench: Bench, plugin: Callable[..., Any]
) -> None:
    """Meta.audit = False stops audit rows and nothing else."""
    witness = plugin(Witness())
    model = models.Unrecorded
    row = model.create(name="a")
    model.update(n=4).execute()
    model.insert(name="a", n=5).on_conflict(
        conflict_target=[model.name], preserve=[model.n]
    ).execute()
    row.delete_instance()
    stages = [
        f"{stage} {verb}"
        for verb in ("create", "update", "update", "delete")
        for stage in ("before", "after")
    ]
    assert witness.calls == stages
    assert [change.new and dict(change.new) for _, change in witness.after] == [
        {"id": row.id, "name": "a", "n": 0},
        {"n": 4},
        {"n": 5},
        None,
    ]
    assert bench.entries() == []


def test_a_blocked_audit_plugin_stops_audit_rows(
    bench: Bench, plugin: Callable[..., Any]
) -> None:
    """Blocking `audit` stops audit rows; hooks and stamps go on."""
    witness = plugin(Witness())
    cmcore.plugins.block("audit")
    try:
        row = models.Stamped.create(name="a")
    finally:
        cmcore.plugins.unblock("audit")
    assert bench.entries() == []
    assert witness.calls == ["before create", "after create"]
    assert models.Stamped.get_by_id(row.id).updated_at is not None
    row.delete_instance()
    assert [entry.action for entry in bench.entries()] == ["delete"]
