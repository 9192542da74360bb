"""`partition retain`, `restore` and `report`: old months, in files and back."""

import json
from pathlib import Path
from typing import Any

import pytest

from cmcore import partitions
from cmcore.keys import now
from cmcore.models import AuditLog
from cmcore.partitions import holds
from cmcore.partitions.months import Month
from tests.cli.conftest import Run
from tests.conftest import MakeUrl, connected
from tests.partitions import tables

THIS = Month.of(now())
OLD = [THIS.shifted(-14), THIS.shifted(-13)]
FILES = [f"audit_logs_{month}.jsonl.gz" for month in OLD]


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("postgresql", marks=pytest.mark.postgresql),
        pytest.param("partitioned", marks=pytest.mark.postgresql),
    ]
)
def url(request: pytest.FixtureRequest, make_url: MakeUrl) -> str:
    """The URL of a trail with two months that are due and one that is not.

    It is plain on both engines, and partitioned on the one that can.
    """
    engine = "sqlite" if request.param == "sqlite" else "postgresql"
    url = make_url(engine, migrated=True)
    with connected(url) as db:
        if request.param == "partitioned":
            partitions.convert(db)
        tables.add(db, [m.start for m in (*OLD, OLD[1], THIS.shifted(-12))])
    return url


def months_of(url: str) -> list[str]:
    """Return the months that have entries in the trail, sorted."""
    with connected(url):
        return sorted({str(Month.of(entry.created_at)) for entry in AuditLog.select()})


def test_retain_archives_the_months_that_are_due(
    run: Run, url: str, tmp_path: Path
) -> None:
    """Months, numbers and files go to stdout; the dry run says the same."""
    archive = tmp_path / "archive"
    asked = ("partition", "retain", "--archive", str(archive), "--database", url)
    rehearsed = run(*asked, "--dry-run")
    assert (rehearsed.exit_code, archive.exists()) == (0, False)
    assert rehearsed.stderr == "3 entries would be archived.\n"
    result = run(*asked)
    assert (result.exit_code, result.stdout) == (0, rehearsed.stdout)
    assert result.stderr == "3 entries archived.\n"
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["Month", "Entries", "Newest", "file"],
        [str(OLD[0]), "1", str(archive / FILES[0])],
        [str(OLD[1]), "2", str(archive / FILES[1])],
    ]
    assert months_of(url) == [str(THIS.shifted(-12))]
    again = run(*asked)
    assert (again.exit_code, again.stdout) == (0, "")
    assert again.stderr == "0 entries archived.\n"


def test_retain_keeps_as_many_months_as_it_is_told(
    run: Run, url: str, tmp_path: Path
) -> None:
    """With --months 14 one of the two stays; --json is one document."""
    asked = ("partition", "retain", "--months", "14", "--archive", str(tmp_path))
    result = run(*asked, "--json", "--database", url)
    assert result.exit_code == 0
    file = str(tmp_path / FILES[0])
    assert json.loads(result.stdout) == {
        "dry_run": False,
        "months": [{"month": str(OLD[0]), "rows": 1, "file": file}],
        "rows": 1,
        "held": [],
    }
    assert months_of(url) == [str(OLD[1]), str(THIS.shifted(-12))]


def test_a_month_that_is_needed_is_named(
    run: Run, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stays and the exit code is 1; the other one goes."""

    def hold(_: Any, month: Month) -> str | None:
        return "Somebody reads it." if month == OLD[1] else None

    monkeypatch.setattr(holds, "HOLDS", (hold,))
    asked = ("partition", "retain", "--archive", str(tmp_path), "--database", url)
    result = run(*asked)
    assert result.exit_code == 1
    assert result.stderr == (f"{OLD[1]} stays. Somebody reads it.\n1 entry archived.\n")
    held = [{"month": str(OLD[1]), "reason": "Somebody reads it."}]
    assert json.loads(run(*asked, "--json").stdout)["held"] == held


def test_restore_brings_a_month_back(run: Run, url: str, tmp_path: Path) -> None:
    """It prints how many entries; a second time none is missing."""
    run("partition", "retain", "--archive", str(tmp_path), "--database", url)
    file = str(tmp_path / FILES[1])
    result = run("partition", "restore", file, "--database", url)
    assert (result.exit_code, result.stderr) == (0, "")
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["File", "Entries"],
        [file, "2"],
    ]
    assert months_of(url) == [str(OLD[1]), str(THIS.shifted(-12))]
    again = run("partition", "restore", file, "--json", "--database", url)
    assert json.loads(again.stdout) == {
        "files": [{"file": file, "rows": 0}],
        "rows": 0,
    }


def test_restore_refuses_what_is_not_whole(run: Run, url: str, tmp_path: Path) -> None:
    """A file that was tampered with ends with 1, one that is not there with 2."""
    run("partition", "retain", "--archive", str(tmp_path), "--database", url)
    (tmp_path / FILES[0]).write_bytes((tmp_path / FILES[1]).read_bytes())
    for name, code in ((FILES[0], 1), ("missing.jsonl.gz", 2)):
        asked = ("partition", "restore", str(tmp_path / name), "--database", url)
        result = run(*asked)
        assert (result.exit_code, result.stdout) == (code, "")
        assert name in result.stderr
    assert months_of(url) == [str(THIS.shifted(-12))]


def test_report_shows_sizes_and_growth(
    run: Run, url: str, request: pytest.FixtureRequest
) -> None:
    """Each piece has its entries and its size, each month its entries."""
    result = run("partition", "report", "--database", url)
    assert (result.exit_code, result.stderr) == (0, "")
    pieces, growth = result.stdout.split("\n\n")
    lines = [line.split() for line in pieces.splitlines()]
    assert lines[0] == ["Partition", "From", "To", "Entries", "Size"]
    assert {line[-1] for line in lines[1:]} == {"MB"}
    assert sum(int(line[-3]) for line in lines[1:]) == 4
    assert [line.split() for line in growth.splitlines()] == [
        ["Month", "Entries"],
        [str(OLD[0]), "1"],
        [str(OLD[1]), "2"],
        [str(THIS.shifted(-12)), "1"],
    ]
    document = json.loads(
        run("partition", "report", "--json", "--database", url).stdout
    )
    assert (document["is_fine"], document["problems"]) == (True, [])
    found = document["partitions"]
    is_partitioned = "partitioned" in request.node.callspec.id
    assert (len(found) > 1) == is_partitioned
    assert sum(piece["rows"] for piece in found) == 4
    assert document["total_bytes"] == sum(piece["bytes"] for piece in found) > 0
    assert {"month": str(OLD[1]), "rows": 2} in document["growth"]


@pytest.mark.postgresql
def test_report_warns_of_what_has_no_partition(run: Run, make_url: MakeUrl) -> None:
    """Entries in the default partition, or no next month: said on stderr, and 1."""
    url = make_url("postgresql", migrated=True)
    with connected(url) as db:
        partitions.convert(db)
        tables.run_out(db)
        tables.add(db, [THIS.shifted(1).start])
    for options in ((), ("--json",)):
        result = run("partition", "report", *options, "--database", url)
        assert result.exit_code == 1
        assert "audit_logs_default has 1 row" in result.stderr
        assert f"there is no partition for {THIS.shifted(1)}" in result.stderr
        assert "cmcore partition ensure" in result.stderr
    document = json.loads(result.stdout)
    assert (document["is_fine"], document["default_rows"]) == (False, 1)
    assert document["problems"] == [result.stderr.strip()]
    run("partition", "ensure", "--database", url)
    assert run("partition", "report", "--database", url).exit_code == 0


@pytest.mark.parametrize(
    "command", [("retain", "--archive", "a"), ("restore", "FILE"), ("report",)]
)
def test_a_database_without_a_trail_is_pending(
    run: Run, engine: str, make_url: MakeUrl, tmp_path: Path, command: tuple[str, ...]
) -> None:
    """Without the migrations each of them ends with 5."""
    url = make_url(engine)
    with connected(url):
        pass
    file = tmp_path / "audit_logs_2024_03.jsonl.gz"
    file.touch()
    asked = [str(file) if word == "FILE" else word for word in command]
    result = run("partition", *asked, "--database", url)
    assert (result.exit_code, result.stdout) == (5, "")
    assert "cmcore migrate" in result.stderr


def test_wrong_options_are_usage(run: Run, url: str) -> None:
    """No folder, and no month at all, end with 2."""
    for options in ((), ("--archive", "a", "--months", "0")):
        result = run("partition", "retain", *options, "--database", url)
        assert (result.exit_code, result.stdout) == (2, "")


def test_restore_takes_several_files(run: Run, url: str, tmp_path: Path) -> None:
    """As a shell expands a pattern; a second time all entries are there."""
    run("partition", "retain", "--archive", str(tmp_path), "--database", url)
    files = [str(tmp_path / name) for name in FILES]
    result = run("partition", "restore", *files, "--json", "--database", url)
    assert json.loads(result.stdout)["rows"] == 3
    again = run("partition", "restore", *files, "--json", "--database", url)
    assert json.loads(again.stdout)["rows"] == 0


def test_an_empty_name_of_a_folder_is_refused(
    run: Run, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable that is not set must not archive into the current folder."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    result = run("partition", "retain", "--archive", "", "--database", url)
    assert result.exit_code == 2
    assert "archive is missing" in result.stderr
    assert list(here.iterdir()) == []
