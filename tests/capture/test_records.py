"""What stands in an entry: keys, values, masks, and the rows that hang together."""

import json
import math
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import peewee
import pytest

import cmcore
from cmcore import AuditLog, ConfigurationError
from tests import models
from tests.capture.bench import Bench, rows_of
from tests.capture.replay import replay
from tests.capture.table import shown

Measurement = models.Measurement


def told(bench: Bench) -> list[tuple[str, Any, Any]]:
    """Return action, old and new of every entry."""
    return [(entry.action, entry.old, entry.new) for entry in bench.entries()]


@pytest.mark.parametrize(
    ("kind", "values", "key"),
    [
        ("integer", {"id": 7}, "7"),
        ("text", {"id": "a/b"}, "a/b"),
        ("uuid", {"id": uuid.UUID(int=255)}, str(uuid.UUID(int=255))),
        ("composite", {"region": "x,y", "number": 3}, '["x,y",3]'),
        ("none", {}, None),
    ],
)
def test_keys_as_text(bench: Bench, kind: str, values: Any, key: str | None) -> None:
    """Each kind of key is recorded as text, a composite one as a JSON array."""
    model = models.ITEMS[kind]
    model.insert(code="a", **values).execute()
    model.update(n=1).execute()
    model.delete().execute()
    assert [entry.key for entry in bench.entries()] == [key] * 3


def test_the_key_of_a_renamed_row(bench: Bench) -> None:
    """An update that changes the key is recorded under the key before it."""
    model = models.ITEMS["text"]
    model.insert(id="old", code="a").execute()
    model.update(id="new").execute()
    entry = bench.entries()[-1]
    assert entry.key == "old"
    assert (entry.old, entry.new) == ({"id": "old"}, {"id": "new"})


def test_keys_that_swap_places(bench: Bench) -> None:
    """One statement may move every key to where another row was."""
    bench.seed("composite")
    model, mirror = models.ITEMS["composite"], models.MIRRORS["composite"]
    before = rows_of(mirror)
    model.update(number=model.number * -1).execute()
    model.update(number=model.number + 5).execute()
    assert len(bench.entries()) == 8
    assert replay(model, before, bench.entries()) == rows_of(mirror)


def test_null_to_a_value_and_back(bench: Bench) -> None:
    """NULL is a value of its own on every path."""
    row = Measurement.create()
    row.price = Decimal("1.500")
    row.save()
    Measurement.update(price=None).execute()
    Measurement.update(price=None).execute()
    Measurement.update(data=b"").execute()
    row = Measurement.get()
    row.data = None
    row.save()
    assert told(bench)[1:] == [
        ("update", {"price": None}, {"price": Decimal("1.500")}),
        ("update", {"price": Decimal("1.500")}, {"price": None}),
        ("update", {"data": None}, {"data": b""}),
        ("update", {"data": b""}, {"data": None}),
    ]


def test_equal_values_in_another_form_are_no_change(bench: Bench) -> None:
    """1.0 and 1.00, or one moment in two zones, do not differ."""
    moment = datetime(2026, 3, 29, 1, 30, 0, 5, tzinfo=UTC)
    row = Measurement.create(price=Decimal("1.0"), taken=moment, value=2.0)
    row.price = Decimal("1.00")
    row.taken = moment.astimezone(timezone(timedelta(hours=9)))
    row.value = 2
    row.save()
    Measurement.update(price=Decimal("1.000"), value=2).execute()
    assert [action for action, _, _ in told(bench)] == ["create"]


def test_not_a_number(postgresql: Bench) -> None:
    """NaN and infinities are recorded; NaN that stays NaN is no change."""
    row = Measurement.create(value=math.nan)
    row.save()
    Measurement.update(value=math.nan).execute()
    Measurement.update(value=math.inf).execute()
    Measurement.update(value=-math.inf).execute()
    create, *updates = postgresql.entries()
    assert create.new is not None
    assert math.isnan(create.new["value"])
    assert [entry.new for entry in updates] == [
        {"value": math.inf},
        {"value": -math.inf},
    ]
    raw: Any = AuditLog.select().dicts()
    assert all(json.dumps(row["new_values"], allow_nan=False) for row in raw)


def test_not_a_number_on_sqlite(sqlite: Bench) -> None:
    """SQLite turns NaN into NULL, and so does the trail; infinities stay."""
    row = Measurement.create(value=math.nan)
    row.save()
    Measurement.update(value=math.inf).execute()
    create, update = sqlite.entries()
    assert create.new is not None
    assert create.new["value"] is None
    assert (update.old, update.new) == ({"value": None}, {"value": math.inf})


def test_history_of_a_reused_id(sqlite: Bench) -> None:
    """A row with the id of a dead one has its own history only."""
    model = models.ITEMS["integer"]
    dead = model.create(code="dead")
    dead.delete_instance()
    row = model.create(code="alive")
    assert row.id == dead.id
    row.n = 5
    row.save()
    assert [entry.action for entry in row.history()] == ["update", "create"]
    entries: Any = list(row.history())
    assert entries[-1].new_values["code"] == "alive"
    assert AuditLog.for_instance(row).count() == len(sqlite.entries()) == 4


def test_history_narrows(bench: Bench) -> None:
    """history() is a select of entries, newest first, also after the row is gone."""
    model = models.ITEMS["uuid"]
    other, row = model.create(code="other"), model.create(code="a")
    model.update(n=3).execute()
    row.delete_instance()
    assert [e.action for e in row.history()] == ["delete", "update", "create"]
    assert row.history().where(AuditLog.action == "update").count() == 1
    assert [e.action for e in other.history()] == ["update", "create"]
    assert (
        other.history()
        .between(
            datetime.now(UTC) - timedelta(hours=1),
            datetime.now(UTC) + timedelta(hours=1),
        )
        .count()
        == 2
    )


def test_replace_shows_the_delete_first(sqlite: Bench) -> None:
    """A row that REPLACE pushes out goes before the new one comes."""
    model = models.ITEMS["integer"]
    model.insert(id=1, code="a", n=1).execute()
    model.insert(id=2, code="b", n=2).execute()
    model.replace(id=1, code="b", n=3).execute()
    entries = sqlite.entries()[2:]
    assert [(entry.action, entry.key) for entry in entries] == [
        ("delete", "1"),
        ("delete", "2"),
        ("create", "1"),
    ]
    query = AuditLog.select().order_by(AuditLog.created_at, AuditLog.id)
    assert [entry.action for entry in query][2:] == ["delete", "delete", "create"]


def test_last_insert_rowid_is_the_callers(sqlite: Bench) -> None:
    """The audit rows do not move what SQLite calls the last inserted row."""
    model, plain = models.ITEMS["integer"], models.PLAIN["integer"]
    results = []
    for db, m in ((sqlite.db, model), (sqlite.plain, plain)):
        m.insert(id=41, code="a").execute()
        ignored = m.insert(code="a").on_conflict_ignore().execute()
        m.update(n=3).execute()
        upserted = (
            m.insert(code="a")
            .on_conflict(conflict_target=[m.code], update={m.n: 4})
            .execute()
        )
        m.delete().execute()
        rowid = db.execute_sql("SELECT last_insert_rowid()").fetchone()[0]
        results.append((ignored, upserted, rowid))
    assert results[0] == results[1]
    assert results[0][2] == 41


# -- rows that hang together ---------------------------------------------------------


def grown(tree: Any) -> None:
    """Make a root with a child and leaves, and labels."""
    node, leaf, label, _ = tree
    root = node.create(name="root")
    node.create(name="child", parent=root)
    leaf.create(name="leaf of the root", node=root)
    outside = node.create(name="outside")
    leaf.create(name="spare", node=outside, spare=root)
    for name in ("red", "blue", "green"):
        label.create(name=name)


def compared(bench: Bench, call: Callable[[Any], Any]) -> list[Any]:
    """Run a call on both trees; compare results, tables and trail; return entries."""
    grown(models.PLAIN_TREE)
    grown(models.TREE)
    AuditLog._meta.database.execute_sql("DELETE FROM audit_logs")
    before = [rows_of(model) for model in models.MIRROR_TREE]
    expected = shown(call(models.PLAIN_TREE))
    assert shown(call(models.TREE)) == expected
    for model, mirror, plain, rows in zip(
        models.TREE, models.MIRROR_TREE, models.PLAIN_TREE, before, strict=True
    ):
        assert rows_of(mirror) == rows_of(plain)
        assert replay(model, rows, bench.entries(model)) == rows_of(mirror)
    return bench.entries()


@pytest.mark.parametrize("nullable", [False, True])
def test_recursive_delete(bench: Bench, nullable: bool) -> None:
    """delete_instance(recursive=True) records every row that it takes or unlinks."""

    def call(tree: Any) -> Any:
        root = tree[0].get(tree[0].name == "root")
        return root.delete_instance(recursive=True, delete_nullable=nullable)

    entries = compared(bench, call)
    assert len({entry.transaction for entry in entries}) == 1
    kinds = {entry.action for entry in entries}
    assert kinds == ({"delete"} if nullable else {"delete", "update"})


def test_a_self_reference_is_recorded_as_a_key(bench: Bench) -> None:
    """Foreign keys appear as raw keys under the field's name."""
    node = models.TREE[0]
    root = node.create(name="root")
    child = node.create(name="child", parent=root)
    child.parent = None
    child.save()
    node.update(parent=root).where(node.name == "child").execute()
    assert [entry.new and entry.new.get("parent") for entry in bench.entries()] == [
        None,
        root.id,
        None,
        root.id,
    ]


def _set_labels(root: Any) -> Any:
    root.labels = [3]
    return root.labels


MANY_TO_MANY: dict[str, tuple[int, int, Callable[[Any, Any], Any]]] = {
    "add_objects": (
        2,
        0,
        lambda root, label: root.labels.add(list(label.select().limit(2))),
    ),
    "add_one": (1, 0, lambda root, label: root.labels.add(label.get())),
    "add_ids": (2, 0, lambda root, label: root.labels.add([1, 2])),
    "add_query": (
        2,
        0,
        lambda root, label: root.labels.add(label.select().where(label.name != "red")),
    ),
    "add_clearing": (
        2,
        2,
        lambda root, label: (
            root.labels.add([1, 2]),
            root.labels.add([2], clear_existing=True),
        ),
    ),
    "remove": (
        3,
        1,
        lambda root, label: (root.labels.add([1, 2, 3]), root.labels.remove([2])),
    ),
    "remove_query": (
        3,
        2,
        lambda root, label: (
            root.labels.add([1, 2, 3]),
            root.labels.remove(label.select().where(label.name != "red")),
        ),
    ),
    "clear": (2, 2, lambda root, label: (root.labels.add([1, 2]), root.labels.clear())),
    "set": (
        3,
        2,
        lambda root, label: (root.labels.add([1, 2]), _set_labels(root)),
    ),
    "other_side": (1, 0, lambda root, label: label.get().nodes.add(root)),
}


@pytest.mark.parametrize("form", MANY_TO_MANY)
def test_many_to_many(bench: Bench, form: str) -> None:
    """Rows of an automatic through table are recorded, whichever side writes."""
    added, removed, call = MANY_TO_MANY[form]

    def write(tree: Any) -> Any:
        result = call(tree[0].get(tree[0].name == "root"), tree[2])
        return result if not isinstance(result, tuple) else None

    entries = compared(bench, write)
    actions = sorted(entry.action for entry in entries)
    creates = added if form not in {"add_clearing", "set"} else 3
    assert actions.count("create") == creates
    assert actions.count("delete") == removed
    assert len(actions) == creates + removed


# -- what is not to be seen ----------------------------------------------------------


def test_masks_and_exclusions_add_up(bench: Bench, plugin: Callable[..., Any]) -> None:
    """A subclass adds to the masks of its base; hooks get what the trail gets."""
    seen: list[Any] = []

    class Looking:
        """Keeps what it is shown."""

        @staticmethod
        @cmcore.hookimpl
        def cmcore_after_update(changes: Any) -> None:
            """Keep the changes."""
            seen.extend(changes)

    plugin(Looking())
    account = models.Account
    row = account.create(name="a", iban="DE-IBAN", pin="PIN-1", secret="SECRET-1")
    row.pin = "PIN-2"
    row.save()
    account.update(iban=None, secret="SECRET-2").execute()
    account.update(secret="SECRET-3").execute()
    row.delete_instance()
    entries = AuditLog.select().order_by(AuditLog.created_at)
    [create, pin, iban, delete] = list(entries)
    assert create.new_values["iban"] == create.new_values["pin"] == "***"
    assert "secret" not in create.new_values
    assert (pin.old_values["pin"], pin.new_values["pin"]) == ("***", "***")
    assert (iban.old_values["iban"], iban.new_values["iban"]) == ("***", None)
    assert delete.old_values["iban"] is None
    assert delete.old_values["pin"] == "***"
    dump = json.dumps([[e.old_values, e.new_values, e.description] for e in entries])
    for text in (dump, repr(seen), repr([vars(change) for change in seen])):
        assert not any(word in text for word in ("IBAN", "PIN-", "SECRET-"))
    assert [dict(change.new)["pin"] for change in seen if "pin" in change.new] == [
        "***"
    ]


@pytest.mark.parametrize("option", ["audit_mask", "audit_exclude"])
@pytest.mark.parametrize("names", [("nmae",), "name", ("name", "missing")])
def test_unknown_names_raise_at_first_use(
    bench: Bench, option: str, names: Any
) -> None:
    """A name that is no field, or a bare text, raises when the class is first used."""
    meta = type("Meta", (), {option: names, "table_name": "misnamed"})
    body = {"name": peewee.CharField(), "Meta": meta}
    metaclass: Any = type(cmcore.Model)
    model = metaclass("Misnamed", (cmcore.Model,), body)
    bench.db.create_tables([model])
    try:
        for query in (model.insert(name="a"), model.update(name="a"), model.delete()):
            with pytest.raises(ConfigurationError, match=f"Misnamed.Meta.{option}"):
                query.execute()
    finally:
        bench.db.drop_tables([model])
