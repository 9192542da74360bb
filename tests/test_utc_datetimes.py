"""Moments: what `UTCDateTimeField` takes, stores and gives back, on both engines."""

import datetime as dt
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import peewee
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmcore.errors import InvalidValueError, NaiveDatetimeError
from cmcore.fields import UTCDateTimeField

BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2024, 2, 29, 12, 30, 15, 123456, tzinfo=UTC)


class Thing(peewee.Model):
    """Has a moment, or none."""

    at = UTCDateTimeField(null=True)


AT: Any = Thing.at


@pytest.fixture
def db(empty_database: peewee.Database) -> Iterator[peewee.Database]:
    """The table of things, on each engine."""
    with empty_database.bind_ctx([Thing]):
        empty_database.create_tables([Thing])
        yield empty_database


@pytest.fixture
def psycopg3(make_url: Any) -> Iterator[peewee.Database]:
    """The table of things on PostgreSQL by way of psycopg 3."""
    database = peewee.PostgresqlDatabase(make_url("postgresql"), prefer_psycopg3=True)
    with database, database.bind_ctx([Thing]):
        database.create_tables([Thing])
        yield database
    database.close()


def is_sqlite(db: peewee.Database) -> bool:
    """Tell the engine."""
    return isinstance(db, peewee.SqliteDatabase)


MOMENTS = [
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(1900, 2, 28, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(2000, 2, 29, tzinfo=UTC),
    datetime(2024, 2, 29, 23, 59, 59, 999999, tzinfo=timezone(timedelta(hours=-5))),
    datetime(2024, 3, 31, 1, 59, 59, 999999, tzinfo=BERLIN),
    datetime(2024, 3, 31, 3, 0, tzinfo=BERLIN),
    datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN),
    datetime(2024, 10, 27, 2, 30, 0, 1, tzinfo=BERLIN),
    datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN, fold=1),
    datetime(2024, 10, 27, 2, 30, 0, 999999, tzinfo=BERLIN, fold=1),
    datetime(2024, 12, 31, 23, 59, 60 - 1, tzinfo=timezone(timedelta(minutes=345))),
    datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
]


def check_moments() -> None:
    """Write all moments in another order, and read them back in theirs."""
    for moment in MOMENTS[1::2] + MOMENTS[::2]:
        Thing.create(at=moment)
    read = [thing.at for thing in Thing.select().order_by(Thing.at)]
    assert read == [moment.astimezone(UTC) for moment in MOMENTS]
    assert all(type(moment) is datetime and moment.tzinfo is UTC for moment in read)
    for moment in MOMENTS:
        assert Thing.select().where(Thing.at == moment).count() == 1
    assert Thing.select().where(Thing.at.between(MOMENTS[1], MOMENTS[-2])).count() == 11
    assert Thing.select().where(Thing.at.in_(MOMENTS[:3])).count() == 3


def test_moments_come_back_in_utc_and_sort(db: peewee.Database) -> None:
    """Years 1 to 9999, leap days, both sides of DST changes, 0 and 999999 us."""
    check_moments()
    assert Thing.select(peewee.fn.MIN(Thing.at)).scalar() == MOMENTS[0]
    if is_sqlite(db):
        texts = [row[0] for row in db.execute_sql("SELECT at FROM thing ORDER BY at")]
        assert texts == sorted(texts)
        assert {len(text) for text in texts} == {32}
        assert texts[0] == "0001-01-01 00:00:00.000000+00:00"


def test_moments_by_way_of_psycopg3(psycopg3: peewee.Database) -> None:
    """The other driver of PostgreSQL gives the same."""
    psycopg3.execute_sql("SET TIME ZONE 'UTC'")
    check_moments()


@given(first=st.datetimes(timezones=st.timezones()), second=st.datetimes())
def test_the_text_of_moments_sorts_as_they_do(
    first: datetime, second: datetime
) -> None:
    """Any two moments: their texts for SQLite compare like the moments."""
    moments = []
    for moment in (first, second.replace(tzinfo=UTC)):
        try:
            moments.append(moment.astimezone(UTC))
        except OverflowError:
            return
    connection = sqlite3.connect(":memory:")
    texts = [
        connection.execute("SELECT ?", (Thing.at.db_value(moment),)).fetchone()[0]
        for moment in moments
    ]
    connection.close()
    assert [Thing.at.python_value(text) for text in texts] == moments
    assert (texts[0] < texts[1]) == (moments[0] < moments[1])


@pytest.mark.parametrize(
    "naive",
    [datetime(2024, 1, 1), dt.date(2024, 1, 1), "2024-01-01 10:00"],  # noqa: DTZ001
)
def test_a_naive_datetime_raises_and_names_the_field(
    db: peewee.Database, naive: Any
) -> None:
    """In create, update and conditions; nothing is written."""
    thing = Thing.create(at=NOON)
    thing.at = naive
    for attempt in (
        lambda: Thing.create(at=naive),
        thing.save,
        Thing.update(at=naive).execute,
        Thing.select().where(Thing.at < naive).count,
        lambda: Thing.insert_many([{"at": naive}]).execute(),
    ):
        with pytest.raises(NaiveDatetimeError, match=r"^thing\.at: .*2024-01-01"):
            attempt()
    assert [row.at for row in Thing.select()] == [NOON]
    assert db.is_connection_usable()


@pytest.mark.parametrize("wrong", ["soon", "2024-13-01T00:00+00:00", 1704067200, 1.5])
@pytest.mark.usefixtures("db")
def test_what_is_no_moment_is_refused(wrong: Any) -> None:
    """Text that is not ISO 8601, and numbers, name the field and the value."""
    with pytest.raises(InvalidValueError) as caught:
        Thing.create(at=wrong)
    error = caught.value
    assert (error.table, error.column, error.value) == ("thing", "at", wrong)


@pytest.mark.parametrize(("year", "hours"), [(1, 1), (9999, -1)])
def test_a_moment_outside_the_years_in_utc_is_refused(year: int, hours: int) -> None:
    """The first hour of year 1 east of Greenwich has no place in UTC."""
    zone = timezone(timedelta(hours=hours))
    edge = datetime(year, 1, 1, tzinfo=zone)
    if hours < 0:
        edge = datetime(year, 12, 31, 23, 30, tzinfo=zone)
    with pytest.raises(InvalidValueError, match="1 to 9999"):
        Thing.at.db_value(edge)


@pytest.mark.usefixtures("db")
def test_iso_text_with_an_offset_is_taken() -> None:
    """In values and conditions."""
    Thing.create(at="2024-02-29T13:30:15.123456+01:00")
    assert Thing.get(Thing.at == "2024-02-29T12:30:15.123456Z").at == NOON


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-02-29T12:30:15.123456Z", NOON),
        ("2024-02-29 12:30:15.123456", NOON),
        ("2024-02-29 07:30:15.123456-05:00", NOON),
        ("2024-02-29", datetime(2024, 2, 29, tzinfo=UTC)),
        ("soon", "soon"),
    ],
)
def test_other_texts_in_the_database_are_read(text: str, expected: Any) -> None:
    """ISO 8601 of other programs, as UTC without an offset; the rest stays text."""
    database = peewee.SqliteDatabase(":memory:")
    with database, database.bind_ctx([Thing]):
        database.create_tables([Thing])
        database.execute_sql("INSERT INTO thing VALUES (1, ?)", [text])
        assert Thing.select(Thing.at).scalar() == expected
    database.close()


@pytest.mark.usefixtures("db")
def test_date_parts_and_truncate() -> None:
    """They are selected as numbers and as moments, and work in conditions."""
    Thing.create(at=NOON)
    Thing.create(at=None)
    parts = ("year", "month", "day", "hour", "minute", "second")
    selected = [getattr(Thing.at, part) for part in parts]
    rows = Thing.select(*selected, Thing.at.truncate("hour")).order_by(Thing.at.year)
    assert (
        2024,
        2,
        29,
        12,
        30,
        15,
        NOON.replace(minute=0, second=0, microsecond=0),
    ) in (list(rows.tuples()))
    assert (None,) * 7 in list(rows.tuples())
    assert (
        Thing.select().where((Thing.at.year == 2024) & (Thing.at.day == 29)).count()
        == 1
    )
    assert AT.to_timestamp() is not None
    stamp = Thing.select(AT.to_timestamp()).where(Thing.at.is_null(False)).scalar()
    assert int(stamp) == int(NOON.timestamp())


@pytest.mark.parametrize("driver", ["psycopg2", "psycopg3"])
def test_the_zone_of_the_session_does_not_matter(make_url: Any, driver: str) -> None:
    """Values, conditions, parts and truncate mean UTC under any TIME ZONE."""
    database = peewee.PostgresqlDatabase(
        make_url("postgresql"), prefer_psycopg3=driver == "psycopg3"
    )
    late = datetime(2024, 12, 31, 23, 30, tzinfo=UTC)
    with database, database.bind_ctx([Thing]):
        database.create_tables([Thing])
        database.execute_sql("SET TIME ZONE 'Asia/Tokyo'")
        Thing.create(at=late)
        thing = Thing.get(Thing.at == late)
        assert thing.at == late
        assert thing.at.tzinfo is UTC
        row = Thing.select(Thing.at.year, Thing.at.hour, Thing.at.truncate("day"))
        assert row.tuples().get() == (2024, 23, late.replace(hour=0, minute=0))
    database.close()


@pytest.mark.usefixtures("db")
def test_moments_in_bulk_updates_and_expressions() -> None:
    """CASE branches, upserts and copies from column to column keep the type."""
    things = [Thing.create(at=NOON), Thing.create(at=None)]
    for days, thing in enumerate(things, 1):
        thing.at = NOON + timedelta(days=days)
    model: Any = Thing
    model.bulk_update(things, [Thing.at])
    assert {row.at for row in Thing.select()} == {thing.at for thing in things}
    Thing.update(at=peewee.Case(None, [(Thing.at > NOON, NOON)], None)).execute()
    assert {row.at for row in Thing.select()} == {NOON}
    Thing.update(at=Thing.at).execute()
    assert {row.at for row in Thing.select()} == {NOON}
