"""`cmcore.record`: entries for events that are not changes of a row."""

from decimal import Decimal
from typing import Any

import peewee
import pytest

import cmcore
from cmcore.models import AuditLog


def test_record_writes_an_event(database: peewee.Database) -> None:
    """`record` stores what it is given beside what the context has, and returns it."""
    with cmcore.acting_as(request_id="r1", ticket=1, reason="outer"):
        entry = cmcore.record(
            cmcore.AuditAction.LOGIN_FAILED,
            resource_type="users",
            resource_id=("a", 1),
            description="A login failed.",
            success=False,
            error_message="wrong password",
            ticket=2,
            odd=Decimal("1.0"),
        )
    assert entry == AuditLog.get_by_id(entry.id)
    assert (entry.action, entry.resource_id) == ("login_failed", '["a",1]')
    assert (entry.success, entry.error_message) == (False, "wrong password")
    assert entry.request_id == "r1"
    assert entry.extra_data == {
        "ticket": 2,
        "reason": "outer",
        "odd": {"$decimal": "1.0"},
    }
    assert entry.old_values is entry.new_values is None


def test_record_is_in_the_callers_transaction(database: peewee.Database) -> None:
    """An event of a transaction that is rolled back has not happened."""
    with database.atomic() as transaction:
        cmcore.record("x", resource_type="r", description="d")
        transaction.rollback()
    assert AuditLog.select().count() == 0


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"action": ""}, cmcore.InvalidValueError),
        ({"action": "a" * 51}, cmcore.TooLongError),
        ({"resource_type": " "}, cmcore.InvalidValueError),
        ({"resource_type": "r" * 101}, cmcore.TooLongError),
        ({"description": ""}, cmcore.InvalidValueError),
    ],
)
def test_record_refuses_what_the_table_would(
    database: peewee.Database, changed: dict[str, str], error: type[Exception]
) -> None:
    """Empty and too long texts raise typed errors, and nothing is written."""
    given: dict[str, Any] = {
        "action": "a",
        "resource_type": "r",
        "description": "d",
        **changed,
    }
    with pytest.raises(error) as caught:
        cmcore.record(given.pop("action"), **given)
    assert caught.value.column in changed  # type: ignore[attr-defined]
    assert AuditLog.select().count() == 0


@pytest.mark.parametrize(
    "name", ["description", "error_message", "resource_id", "extra"]
)
def test_odd_texts_in_a_record_are_written(
    database: peewee.Database, name: str
) -> None:
    """NUL and lone surrogates in an event, as an attacker may send, are recorded."""
    given: dict[str, Any] = {
        "resource_type": "r",
        "description": "d",
        name: "a\0b\udcffc",
    }
    cmcore.record("x", **given)
    assert AuditLog.select().count() == 1


def test_the_standard_events_are_named_after_their_values() -> None:
    """`AuditAction` has the sixteen events, each with its name in capitals."""
    assert len(cmcore.AuditAction) == 16
    for member in cmcore.AuditAction:
        assert member.name.lower().replace("two_factor", "2fa") == str(member)


def test_a_rule_of_others_on_the_trail_is_told_as_such(
    database: peewee.Database, engine: str
) -> None:
    """It is not taken for a user who is missing, whoever writes the entry."""
    if engine == "sqlite":
        database.execute_sql(
            "CREATE TRIGGER theirs BEFORE INSERT ON audit_logs BEGIN"
            " SELECT RAISE(ABORT, 'theirs: no more entries'); END"
        )
    else:
        database.execute_sql(
            "ALTER TABLE audit_logs ADD CONSTRAINT theirs CHECK (action = 'none')"
        )
    for write in (
        lambda: cmcore.record("x", resource_type="y", description="z"),
        lambda: cmcore.Customer.create(name="Ada", email="ada@example.com"),
    ):
        with pytest.raises(cmcore.InvalidValueError, match="theirs") as error:
            write()
        assert error.value.table == "audit_logs"
        assert error.value.column is None
