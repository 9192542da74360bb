"""Hooks and the trail are told of deletes, restores and purges, or kept out."""

from collections.abc import Callable
from typing import Any

import pytest

import cmcore
from cmcore import Action
from tests.capture.witness import Witness
from tests.soft_delete_writes.bench import FORMS, MARKS, Bench, acting, made
from tests.soft_delete_writes.models import (
    Item,
    Secretive,
    Unrecorded,
)


def test_hooks_tell_delete_restore_and_purge_apart(
    bench: Bench, plugin: Callable[..., Any]
) -> None:
    """The delete hooks see delete and purge, the restore hooks restore; once each."""

    class Watch(Witness):
        @cmcore.hookimpl
        def cmcore_before_restore(self, changes: Any) -> None:
            self._note("before", "restore", changes)

        @cmcore.hookimpl
        def cmcore_after_restore(self, changes: Any) -> None:
            self._note("after", "restore", changes)

    made(Item, 3)
    seen = plugin(Watch())
    Item.delete().where(Item.n > 0).execute()
    Item.restore().execute()
    Item.delete().where(Item.n == 2).execute()
    Item.purge().execute()
    verbs = ["delete", "restore", "delete", "delete"]
    assert seen.calls == [f"{s} {v}" for v in verbs for s in ("before", "after")]
    for told in (seen.before, seen.after):
        actions = [change.action for _, change in told]
        assert actions == [
            *[Action.DELETE] * 2,
            *[Action.RESTORE] * 2,
            Action.DELETE,
            Action.PURGE,
        ]
        assert [set(c.old) == set(MARKS) for _, c in told] == [True] * 5 + [False]
    pairs = [(dict(c.old), c.new and dict(c.new), c.key) for _, c in seen.before]
    assert pairs == [(dict(c.old), c.new and dict(c.new), c.key) for _, c in seen.after]
    assert seen.after[-1][1].new is None
    assert set(seen.after[-1][1].old) == set(Item._meta.fields)


@pytest.mark.parametrize("stage", ["before", "after"])
@pytest.mark.parametrize("form", FORMS)
def test_a_veto_keeps_the_row_as_it_is(
    bench: Bench, plugin: Callable[..., Any], stage: str, form: str
) -> None:
    """Delete, recursive delete, restore and purge are refused, whatever the caller."""

    class Refusal:
        pass

    def refuse(changes: Any) -> None:
        msg = "not today"
        raise cmcore.Veto(msg)

    for verb in ("delete", "restore"):
        setattr(
            Refusal, f"cmcore_{stage}_{verb}", staticmethod(cmcore.hookimpl(refuse))
        )
    live, gone = made(Item, 2)
    gone.delete_instance()
    before = bench.rows(Item)
    bench.forget()
    plugin(Refusal(), "refusal")
    calls = [
        live.delete_instance,
        lambda: live.delete_instance(recursive=True),
        Item.delete().execute,
        gone.restore_instance,
        lambda: gone.restore_instance(recursive=True),
        gone.purge_instance,
        Item.purge().execute,
    ]
    with bench.in_transaction(form):
        for call in calls:
            with pytest.raises(cmcore.Veto, match="not today"):
                call()
    assert bench.rows(Item) == before
    assert bench.entries(Item) == []
    assert not live.is_deleted


def test_without_a_trail_rows_are_marked_all_the_same(bench: Bench) -> None:
    """With the trail blocked, and with `Meta.audit = False`, nothing else changes."""
    row = Unrecorded.create(code="a")
    cmcore.plugins.block("audit")
    try:
        with acting("alice"):
            for model in (Unrecorded, Item):
                row = model.create(code="b")
                assert row.delete_instance() == 1
                assert bench.marks(model, "code")["b"] == (row.deleted_at, "alice")
                assert row.restore_instance() == 1
                assert row.delete_instance(recursive=True) == 1
                assert row.restore_instance(recursive=True) == 1
                assert row.delete_instance() == 1
                assert row.delete_instance() == 0
                assert row.purge_instance() == 1
                model.create(code="c")
                (gone,) = model.delete().where(model.code == "c").returning(model)
                assert gone.is_deleted
    finally:
        cmcore.plugins.unblock("audit")
    assert bench.actions(Item) == []


def test_a_model_without_audit_still_calls_hooks(
    bench: Bench, plugin: Callable[..., Any]
) -> None:
    """`Meta.audit = False` stops audit rows and nothing else."""
    row = Unrecorded.create(code="a")
    seen = plugin(Witness())
    row.delete_instance()
    assert seen.calls == ["before delete", "after delete"]
    assert bench.entries(Unrecorded) == []


def test_excluded_and_masked_marks_are_not_shown(
    bench: Bench, plugin: Callable[..., Any]
) -> None:
    """A delete is one even where the trail may not hold the two columns."""
    row = Secretive.create(code="a")
    seen = plugin(Witness())
    bench.forget()
    row.delete_instance()
    row.restore_instance()
    assert bench.live(Secretive, "code") == ["a"]
    assert [(e.action, e.old, e.new) for e in bench.entries(Secretive)] == [
        ("delete", {}, {}),
        ("restore", {}, {}),
    ]
    assert seen.calls == ["before delete", "after delete"]
