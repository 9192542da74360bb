"""Import customers from a CSV file, and read in the trail what happened to them.

    python examples/import_customers.py examples/customers.csv --database sqlite:///crm.db

A row that breaks a rule is refused by itself, with line, column, value and rule; all
others are kept. Works on SQLite and on PostgreSQL, and creates the tables it needs.
"""

import argparse
import csv
import sys
from pathlib import Path

from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

import cmcore
from cmcore.models import AuditLog, Customer, CustomerStatus, User, UserRole

COLUMNS = (
    *("name", "email", "phone", "customer_type", "company_name"),
    *("address", "city", "state", "country", "postal_code"),
)

STYLES = {"create": "green", "update": "yellow", "delete": "red"}

NO_LOGIN = "!no password fits this"

Row = tuple[int, dict[str, str | None]]


def main() -> int:
    """Import, change a few rows, and show the trail."""
    parser = argparse.ArgumentParser(description="Import customers from a CSV file.")
    parser.add_argument("csv", type=Path, help="a CSV file with a line of column names")
    parser.add_argument("--database", required=True, metavar="URL")
    arguments = parser.parse_args()
    try:
        rows = read(arguments.csv)
        db = cmcore.connect(arguments.database)
        cmcore.migrate(db)
    except (OSError, ValueError, cmcore.CmcoreError) as error:
        print(error, file=sys.stderr)
        return 2

    clerk = sign_in("clerk@example.org", "Carla Clerk")
    with cmcore.acting_as(clerk, ip_address="203.0.113.7"):
        created = import_rows(rows, arguments.csv.name)
        if created:
            look_after(created)
    known = [*Customer.select(), *created]
    show_trail({customer.id: customer.name for customer in known})
    if created:
        show_answer(created[0])
    db.close()
    return 0


def read(path: Path) -> list[Row]:
    """Read the file: each row with its line, and an empty value as None."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.DictReader(file)
        missing = set(COLUMNS) - set(lines.fieldnames or ())
        if missing:
            message = f"{path}, line 1: lacks the columns {', '.join(sorted(missing))}."
            raise ValueError(message)
        return [
            (lines.line_num, {name: line[name] or None for name in COLUMNS})
            for line in lines
        ]


def sign_in(email: str, full_name: str) -> User:
    """Return the user who works here today; a program of yours has real logins."""
    known: User | None = User.get_or_none(User.email == email)
    return known or User.create(
        email=email,
        full_name=full_name,
        role=UserRole.CORPORATE,
        password_hash=NO_LOGIN,
    )


def import_rows(rows: list[Row], source: str) -> list[Customer]:
    """Create a customer for each row, and say which rows were refused, and why."""
    terminal = Console(stderr=True)
    progress = track(
        rows,
        "Importing",
        console=terminal,
        transient=True,
        disable=not terminal.is_terminal,
    )
    created, refused = [], []
    for line, row in progress:
        try:
            with cmcore.acting_as(None, reason=f"{source}:{line}"):
                created.append(Customer.create(**row))
        except cmcore.ConstraintError as error:
            rule = f"breaks {error.constraint}" if error.constraint else error.problem
            refused.append(
                f"line {line}, column {error.column}: {error.value!r} {rule}"
            )
    print(f"{len(created)} customers created, {len(refused)} refused")
    for refusal in refused:
        print(f"  {refusal}")
    return created


def look_after(customers: list[Customer]) -> None:
    """Do an office's morning: a correction, an activation of many, a departure."""
    first, last = customers[0], customers[-1]
    with cmcore.acting_as(None, reason="moved house"):
        first.city = "Paris"
        first.postal_code = "75002"
        first.save()
    with cmcore.acting_as(None, reason="papers checked"):
        Customer.update(status=CustomerStatus.ACTIVE).where(
            Customer.id.in_([customer.id for customer in customers[:3]])
        ).execute()
    with cmcore.acting_as(None, reason="asked to be forgotten"):
        last.delete_instance()


def show_trail(names: dict[str, str], count: int = 10) -> None:
    """Print the newest entries about customers, each with what it changed and why."""
    entries = list(AuditLog.for_model(Customer).limit(count))
    total = AuditLog.for_model(Customer).count()
    table = Table(
        title=f"The trail of the customers: the last {len(entries)} of {total} entries",
        title_justify="left",
        box=box.SIMPLE_HEAD,
    )
    for heading in ("Time, UTC", "Who", "Action"):
        table.add_column(heading, no_wrap=True)
    for heading in ("Customer", "Why"):
        table.add_column(heading, overflow="fold")
    for entry in reversed(entries):
        name = names.get(entry.resource_id or "") or str(entry.resource_id)
        table.add_row(
            f"{entry.created_at:%H:%M:%S}",
            Text(entry.user_email or ""),
            Text(entry.action, STYLES.get(entry.action, "")),
            Text.assemble((name, "bold"), *(f"\n{line}" for line in changes(entry))),
            Text((entry.extra_data or {}).get("reason", "")),
        )
    console = Console(width=None if sys.stdout.isatty() else 100)
    console.print()
    console.print(table)


def show_answer(customer: Customer) -> None:
    """Answer: who changed this customer, when, from what to what?"""
    print(f"Who changed {customer.name}, when, from what to what?")
    for entry in customer.history().where(AuditLog.action == "update"):
        print(
            f"  {entry.user_email} from {entry.ip_address}, "
            f"{entry.created_at:%Y-%m-%d %H:%M:%S} UTC"
        )
        for change in changes(entry):
            print(f"    {change}")


def changes(entry: AuditLog) -> list[str]:
    """Return the lines `field: old → new` of an update, and none of other entries."""
    if entry.action != "update":
        return []
    old, new = entry.old_values or {}, entry.new_values or {}
    fields = (old.keys() & new.keys()) - {"updated_at", "updated_by"}
    return [f"{name}: {old[name]} → {new[name]}" for name in sorted(fields)]


if __name__ == "__main__":
    sys.exit(main())
