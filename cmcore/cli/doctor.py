"""`doctor`: what is wrong with a database, and what to do about it."""

import click
import peewee

from cmcore.checkup import Finding, examine
from cmcore.cli.connection import with_database
from cmcore.cli.output import note, show_json, show_table
from cmcore.cli.program import PENDING, PROBLEM
from cmcore.schema.prechecks import precheck as look_ahead


@click.command()
@click.option(
    "--precheck",
    is_flag=True,
    help="Only name the rows that scripts 004 and 006 would refuse.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@with_database()
def doctor(db: peewee.Database, *, precheck: bool, as_json: bool) -> int:
    """Look for what is wrong with the database; changes nothing.

    Exits with 0 if all is fine, with 5 if only migrations are pending, else with 1.
    """
    return _show_offences(db, as_json) if precheck else _show_findings(db, as_json)


def _show_findings(db: peewee.Database, as_json: bool) -> int:
    findings = examine(db)
    if as_json:
        show_json({"is_fine": not _code(findings), "findings": _documents(findings)})
    else:
        show_table(
            ("Check", "Verdict", "Finding"),
            [(f.check, "fine" if f.is_fine else "problem", f.text) for f in findings],
        )
    return _code(findings)


def _show_offences(db: peewee.Database, as_json: bool) -> int:
    offences = look_ahead(db)
    if as_json:
        documents = [offence._asdict() for offence in offences]
        show_json({"is_fine": not offences, "offences": documents})
    elif offences:
        show_table(
            ("Table", "Rows", "Constraint", "Rule", "First ids"),
            [
                (o.table, str(o.rows), o.constraint, o.rule, o.first_ids)
                for o in offences
            ],
        )
    else:
        note("No row stands in the way of the migrations.")
    return PROBLEM if offences else 0


def _documents(findings: list[Finding]) -> list[dict[str, object]]:
    return [finding._asdict() for finding in findings]


def _code(findings: list[Finding]) -> int:
    problems = {finding.check for finding in findings if not finding.is_fine}
    if problems == {"migrations"}:
        return PENDING
    return PROBLEM if problems else 0
