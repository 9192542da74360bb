"""Every refusal of the database as one of cmcore's errors, the same on both engines."""

import copy
import pickle
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import peewee
import pytest

import cmcore
from cmcore import errors
from cmcore.models import AuditLog, Customer, User
from tests.conftest import MakeUrl, connected

HELD, OTHER = "held@example.com", "other@example.com"


class Shelf(cmcore.AuditMixin, cmcore.Model):
    """A row with rules of every kind."""

    hall = peewee.CharField(max_length=10)
    place = peewee.IntegerField(constraints=[peewee.Check("place > 0")])
    at = cmcore.fields.UTCDateTimeField(null=True)

    class Meta:
        table_name = "error_shelves"
        indexes = ((("hall", "place"), True),)


class Box(cmcore.Model):
    """Stands on a shelf, which cannot go as long as it does."""

    shelf = peewee.ForeignKeyField(Shelf, on_delete="RESTRICT", null=True)

    class Meta:
        table_name = "error_boxes"


class Unknown(cmcore.Model):
    """A model of an application."""

    n = peewee.IntegerField(default=0)

    class Meta:
        table_name = "error_unknown"


@pytest.fixture
def db(database: peewee.Database) -> peewee.Database:
    """A customer with the key "held", and a shelf with a box, on each engine."""
    database.create_tables([Shelf, Box, Unknown])
    Customer.create(**customer(id="held", email=HELD))
    Customer.create(**customer(id="other", email=OTHER))
    Box.create(shelf=Shelf.create(id=101, hall="a", place=1))
    Shelf.create(id=102, hall="b", place=2)
    return database


def customer(**changed: Any) -> dict[str, Any]:
    """Return what a customer needs."""
    given = {"email": "new@example.com", "name": "New", "created_by": "system"}
    return {**given, **changed}


def refusal(
    kind: type[errors.ConstraintError], table: str, column: str | None, **more: Any
) -> Any:
    """Return what is expected of an error."""
    return kind, {"table": table, "column": column, **more}


DUPLICATE = {"value": HELD, "fields": ("email",), "key": "held"}
SHELF = {"fields": ("hall", "place"), "key": 101, "value": None}
LONG = "x" * 101

REFUSED: dict[str, tuple[Callable[[], Any], tuple[Any, dict[str, Any]]]] = {
    "duplicate": (
        lambda: Customer.create(**customer(email=HELD)),
        refusal(cmcore.DuplicateError, "customers", "email", **DUPLICATE),
    ),
    "duplicate in many": (
        lambda: Customer.insert_many([customer(), customer(email=HELD)]).execute(),
        refusal(cmcore.DuplicateError, "customers", "email", **DUPLICATE),
    ),
    "duplicate in bulk": (
        lambda: Customer.bulk_create(
            [Customer(**customer()), Customer(**customer(email=HELD))], batch_size=1
        ),
        refusal(cmcore.DuplicateError, "customers", "email", **DUPLICATE),
    ),
    "duplicate update": (
        lambda: Customer.update(email=HELD).where(Customer.id == "other").execute(),
        refusal(cmcore.DuplicateError, "customers", "email", **DUPLICATE),
    ),
    "duplicate upsert": (
        lambda: (
            Customer.insert(customer(id="held"))
            .on_conflict(
                conflict_target=[Customer.id], update={"email": "other@example.com"}
            )
            .execute()
        ),
        refusal(
            cmcore.DuplicateError,
            "customers",
            "email",
            value=OTHER,
            key="other",
        ),
    ),
    "duplicate key": (
        lambda: Shelf.create(id=101, hall="z", place=9),
        refusal(cmcore.DuplicateError, "error_shelves", "id", fields=("id",), key=101),
    ),
    "duplicate pair": (
        lambda: Shelf.create(hall="a", place=1),
        refusal(cmcore.DuplicateError, "error_shelves", None, **SHELF),
    ),
    "rule": (
        lambda: Customer.create(**customer(email="nonsense")),
        refusal(
            cmcore.InvalidValueError,
            "customers",
            "email",
            constraint="ck_customers_email_format",
            value="nonsense",
        ),
    ),
    "rule on update": (
        lambda: Customer.update(phone="abc").execute(),
        refusal(cmcore.InvalidValueError, "customers", "phone", value="abc"),
    ),
    "rule of an application": (
        lambda: Shelf.insert_many(
            [("c", 1), ("c", -5)], fields=["hall", "place"]
        ).execute(),
        refusal(cmcore.InvalidValueError, "error_shelves", None),
    ),
    "null": (
        lambda: Customer.insert(customer(name=None)).execute(),
        refusal(cmcore.InvalidValueError, "customers", "name", value=None),
    ),
    "null update": (
        lambda: Shelf.update(hall=None).execute(),
        refusal(cmcore.InvalidValueError, "error_shelves", "hall", value=None),
    ),
    "too long": (
        lambda: Customer.create(**customer(city=LONG)),
        refusal(cmcore.TooLongError, "customers", "city", value=LONG),
    ),
    "too long update": (
        lambda: Customer.update(city=LONG).execute(),
        refusal(cmcore.TooLongError, "customers", "city", value=LONG),
    ),
    "enumeration": (
        lambda: Customer.create(**customer(status="dead")),
        refusal(cmcore.InvalidValueError, "customers", "status", value="dead"),
    ),
    "missing user": (
        lambda: Customer.create(**customer(created_by="nobody")),
        refusal(
            cmcore.MissingReferenceError, "customers", "created_by", value="nobody"
        ),
    ),
    "missing shelf": (
        lambda: Box.insert_many(
            [{"shelf": 101}, {"shelf": 77}, {"shelf": 102}]
        ).execute(),
        refusal(cmcore.MissingReferenceError, "error_boxes", "shelf_id", value=77),
    ),
    "missing on update": (
        lambda: Box.update(shelf=77).execute(),
        refusal(cmcore.MissingReferenceError, "error_boxes", "shelf_id", value=77),
    ),
    "still referenced": (
        lambda: Shelf.delete().where(Shelf.id == 101).execute(),
        refusal(cmcore.StillReferencedError, "error_shelves", None),
    ),
    "renamed while referenced": (
        lambda: Shelf.update(id=50).where(Shelf.id == 101).execute(),
        refusal(cmcore.StillReferencedError, "error_shelves", None),
    ),
}


def snapshot() -> list[Any]:
    """Return all rows of the tables that the refusals are about, and of the trail."""
    models = (Customer, Shelf, Box, User, AuditLog)
    return [sorted(m.select().tuples(), key=repr) for m in models]


def refused(write: Callable[[], Any]) -> Any:
    """Return the error that a write is refused with."""
    with pytest.raises(cmcore.CmcoreError) as caught:
        write()
    return caught.value


def test_a_refusal_is_typed_and_says_where(db: peewee.Database) -> None:
    """Type, table, column, value, fields and holder are known; nothing is written."""
    before = snapshot()
    for name, (write, (kind, expected)) in REFUSED.items():
        error = refused(write)
        found = {attribute: getattr(error, attribute) for attribute in expected}
        assert (name, type(error), found) == (name, kind, expected)
        where = f"{error.table}.{error.column}" if error.column else error.table
        assert str(error).startswith(where)
        assert str(error).endswith(".")
        assert not error.constraint or error.constraint in str(error)
        twin = pickle.loads(pickle.dumps(error))  # noqa: S301
        assert (str(twin), twin.value) == (str(error), error.value)
        assert isinstance(error, peewee.IntegrityError)
        assert snapshot() == before


def test_the_outer_transaction_stays_usable(db: peewee.Database) -> None:
    """A refusal in an `atomic()` of its own leaves the transaction around it usable."""

    def unit(write: Callable[[], Any]) -> None:
        with db.atomic():
            Unknown.create(n=-1)
            write()

    for write, (kind, _) in REFUSED.values():
        with db.atomic():
            Unknown.create(n=1)
            assert type(refused(lambda write=write: unit(write))) is kind  # type: ignore[misc]
            Unknown.create(n=2)
    assert {u.n for u in Unknown.select()} == {1, 2}
    assert AuditLog.for_model(Unknown).count() == 2 * len(REFUSED)


def test_a_refusal_is_the_same_inside_the_callers_transaction(
    db: peewee.Database,
) -> None:
    """Without a savepoint of the caller the error is typed as well."""
    before = snapshot()
    for write, (kind, expected) in REFUSED.values():
        with db.atomic() as transaction:
            Unknown.create(n=1)
            error = refused(write)
            transaction.rollback()
        assert type(error) is kind
        assert error.table == expected["table"]
        assert error.value in {expected.get("value", error.value), None}
    assert snapshot() == before


def test_the_value_named_is_the_one_that_was_refused(db: peewee.Database) -> None:
    """Among many rows an error names the culprit, or none; never an innocent value."""
    rows = [customer(email=HELD), customer(), customer(email="last@example.com")]
    with db.atomic() as transaction:
        error = refused(lambda: Customer.insert_many(rows).execute())
        transaction.rollback()
    assert error.value in {HELD, None}
    generated = (row for row in rows)
    assert refused(lambda: Customer.insert_many(generated).execute()).value == HELD
    boxes = [{"shelf": key} for key in (101, 77, 102)]
    with db.atomic() as transaction:
        error = refused(lambda: Box.insert_many(boxes).execute())
        transaction.rollback()
    assert error.value in {77, None}


@pytest.mark.parametrize(
    "error",
    [
        cmcore.UnboundModelError("Thing"),
        cmcore.UnreachableDatabaseError("gone"),
        cmcore.DatabaseLockedError("t"),
        cmcore.Veto("no"),
        cmcore.NaiveDatetimeError("at", datetime(2024, 1, 1), "t"),  # noqa: DTZ001
        cmcore.InvalidValueError(table="t", column="c", constraint="k", value=1),
        cmcore.TooLongError(
            table="t", column="c", value="x" * 200, detail="At most 3."
        ),
        cmcore.DuplicateError(
            table="t", column="c", value=1, fields=("c",), key=("a", 2)
        ),
        cmcore.MissingReferenceError(table="t", column="c", value=3),
        cmcore.StillReferencedError(table="t", constraint="k"),
        cmcore.AppendOnlyError("update"),
        cmcore.ProtectedRowError("users", "system"),
        cmcore.PendingMigrationsError(("001", "002"), "users"),
        cmcore.DataLossRefusedError("3 rows"),
        cmcore.OrphanRowsError("3 rows"),
        cmcore.PluginError("bad"),
        cmcore.PasswordPolicyError(("too_short", "is_email")),
        cmcore.InvalidCredentialsError("wrong_code"),
        cmcore.SecretKeyMissingError(),
        cmcore.SecretDecryptionError("u1"),
        cmcore.LastAdminError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_pickle_and_copy(error: Exception) -> None:
    """A copy is of the same class, with the same attributes and the same text."""
    pickled = pickle.loads(pickle.dumps(error))  # noqa: S301
    for twin in (copy.copy(error), copy.deepcopy(error), pickled):
        assert type(twin) is type(error)
        assert {"orig": None, **vars(twin)} == {"orig": None, **vars(error)}
        assert str(twin) == str(error)
        assert len(str(twin)) < 500


@pytest.mark.postgresql
def test_a_nul_within_json_names_its_column(make_url: MakeUrl) -> None:
    """It takes U+0000 as little as text does."""
    fields = {"about": cmcore.fields.JSONField(), "code": peewee.BlobField()}
    model: Any = type("Paper", (cmcore.Model,), fields)
    with connected(make_url("postgresql", migrated=True)) as db:
        db.create_tables([model])
        with pytest.raises(cmcore.InvalidValueError, match=r"U\+0000") as refused:
            model.create(code=b"\0", about={"name": ["a\0"]})
    assert refused.value.column == "about"


def test_an_error_has_its_text_where_others_have_theirs() -> None:
    """`args` and `repr()` say what a log needs, as with peewee's own errors."""
    error = cmcore.DuplicateError(table="t", column="c", value=1, fields=("c",))
    assert error.args == (str(error),)
    assert repr(error) == f"DuplicateError({str(error)!r})"
    assert "t.c" in repr(error)


def test_there_is_one_tree() -> None:
    """All errors descend from `CmcoreError`, are re-exported, and mix with peewee's."""
    found = {c for c in vars(errors).values() if isinstance(c, type)}
    ours = {c for c in found if c.__module__ == "cmcore.errors"}
    assert all(issubclass(c, cmcore.CmcoreError) for c in ours)
    assert {getattr(cmcore, c.__name__) for c in ours} == ours
    assert issubclass(cmcore.TooLongError, peewee.DataError)
    assert issubclass(cmcore.NaiveDatetimeError, ValueError)
    assert issubclass(cmcore.UnboundModelError, cmcore.ConfigurationError)
    assert issubclass(cmcore.PendingMigrationsError, cmcore.MigrationError)


def test_a_naive_datetime_names_its_field(db: peewee.Database) -> None:
    """A datetime without a zone raises before anything is sent."""
    for write in (
        lambda at: Shelf.create(hall="c", place=3, at=at),
        lambda at: Shelf.update(at=at).execute(),
        lambda at: Shelf.insert_many([{"hall": "c", "place": 4, "at": at}]).execute(),
        lambda at: list(Shelf.select().where(Shelf.at < at)),
    ):
        with pytest.raises(cmcore.NaiveDatetimeError, match=r"error_shelves\.at") as e:
            write(datetime.now(UTC).replace(tzinfo=None))
        assert e.value.field == "at"


def test_errors_are_told_by_the_name_that_is_imported() -> None:
    """A traceback names `cmcore.errors`, from which programs import them."""
    assert cmcore.DuplicateError.__module__ == "cmcore.errors"
    assert {c.__module__ for c in map(errors.__dict__.get, errors.__all__)} == {
        "cmcore.errors"
    }


@pytest.mark.parametrize(
    ("value", "told"), [("x" * 300, 300), ("é\n" * 100, 200), (10**99, 100)]
)
def test_a_shortened_value_tells_its_own_length(value: Any, told: int) -> None:
    """Quotes and escapes, which only the text of the error adds, are not counted."""
    text = str(cmcore.DuplicateError(table="t", column="c", value=value))
    assert f"… ({told} characters)" in text
