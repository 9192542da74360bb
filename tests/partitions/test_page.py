"""The queries of docs/partitioning.md run, and find what they say."""

import re
from pathlib import Path
from typing import Any

import peewee
import pytest

from cmcore.keys import now
from cmcore.partitions.months import Month
from tests.partitions import tables

PAGE = Path(__file__).parents[2] / "docs" / "partitioning.md"
THIS = Month.of(now())


def answers(db: peewee.Database) -> list[list[Any]]:
    """Return the rows that each query of the page finds."""
    text = PAGE.read_text(encoding="utf-8")
    queries = re.findall(r"<!-- postgresql -->\n```sql\n(.*?)```", text, re.DOTALL)
    cursor = db.cursor()
    found = []
    for query in queries:
        cursor.execute(query)
        found.append(cursor.fetchall())
    return found


@pytest.mark.postgresql
@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"])
def test_the_queries_for_a_monitor_find_what_is_wrong(
    converted: peewee.Database, zone: str
) -> None:
    """Pieces are listed; entries without a month, and a month too few, are alarms."""
    converted.execute_sql(f"SET TimeZone = '{zone}'")
    pieces, default, lacking = answers(converted)
    assert {f"audit_logs_{THIS.shifted(3)}", "audit_logs_default"} <= {
        name for name, *_ in pieces
    }
    assert (default, lacking) == ([(0,)], [(False,)])
    tables.run_out(converted)
    converted.execute_sql(
        "CREATE TABLE audit_logs_far PARTITION OF audit_logs"
        " FOR VALUES FROM ('2200-01-01') TO ('2200-02-01')"
    )
    tables.add(converted, [THIS.shifted(1).start])
    _, default, lacking = answers(converted)
    assert (default, lacking) == ([(1,)], [(True,)])
