"""`search-index create` and `search-index drop`."""

import pytest

from tests.cli.conftest import Run
from tests.conftest import MakeUrl

BUILD = (
    "Build idx_customers_search on customers (name, email, phone), beside writers.\n"
)
ADD = "Create the extension pg_trgm.\n"
DROP = "Drop idx_customers_search.\n"


@pytest.mark.postgresql
def test_it_is_made_and_dropped(run: Run, make_url: MakeUrl) -> None:
    """What is done goes to stdout; that nothing was to be done, to stderr."""
    url = make_url("postgresql", migrated=True)
    told = []
    for words in (
        ("create", "--dry-run"),
        ("create",),
        ("create",),
        ("drop", "--dry-run"),
        ("drop",),
        ("drop",),
    ):
        result = run("search-index", *words, "--database", url)
        told.append((result.exit_code, result.stdout, result.stderr))
    assert told == [
        (0, ADD + BUILD, ""),
        (0, ADD + BUILD, ""),
        (0, "", "idx_customers_search is there already.\n"),
        (0, DROP, ""),
        (0, DROP, ""),
        (0, "", "There is no idx_customers_search.\n"),
    ]


@pytest.mark.postgresql
def test_pending_migrations_come_first(run: Run, make_url: MakeUrl) -> None:
    """Without customers it exits with 5."""
    result = run("search-index", "create", "--database", make_url("postgresql"))
    assert (result.exit_code, result.stdout) == (5, "")
    assert "cmcore migrate" in result.stderr


def test_sqlite_has_none(run: Run, make_url: MakeUrl) -> None:
    """It is a matter of configuration, and said in a sentence."""
    url = make_url("sqlite", migrated=True)
    result = run("search-index", "create", "--database", url)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "SQLite has no index for parts of words" in result.stderr
