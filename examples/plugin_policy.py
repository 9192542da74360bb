"""A plugin in one file: it refuses some changes, and keeps card numbers off the trail.

As an installed plugin it needs no more than this file and an entry point.
"""

import re
import sys
from collections.abc import Iterator, Sequence

import peewee

import cmcore

CARD_NUMBER = re.compile(r"\b(?:\d[ -]?){13,19}\b")


@cmcore.hookimpl
def cmcore_after_update(changes: Sequence[cmcore.Change]) -> None:
    """Refuse to make an invoice cheaper; whatever made it so is undone.

    A before-hook would not see a total that the database computes.
    """
    for change in changes:
        old, new = change.old or {}, change.new or {}
        if change.model is Invoice and new.get("total", 0) < old.get("total", 0):
            msg = f"Invoice {change.key} was sent: write a credit note instead."
            raise cmcore.Veto(msg)


@cmcore.hookimpl
def cmcore_redact(change: cmcore.Change) -> Iterator[str]:
    """Mask every text that looks as if somebody wrote a card number into it."""
    for values in (change.old or {}, change.new or {}):
        for name, value in values.items():
            if isinstance(value, str) and CARD_NUMBER.search(value):
                yield name


class Invoice(cmcore.Model):
    """What a customer owes."""

    total = peewee.IntegerField()
    remark = peewee.TextField(default="")


def main() -> None:
    """Register this file as a plugin, and write."""
    db = cmcore.connect(":memory:")
    cmcore.migrate(db)
    db.create_tables([Invoice])
    cmcore.plugins.register(sys.modules[__name__], name="policy")

    invoice = Invoice.create(total=100, remark="paid with 4111 1111 1111 1111")
    Invoice.update(total=Invoice.total + 20).execute()
    try:
        Invoice.update(total=Invoice.total - 10).execute()
    except cmcore.Veto as veto:
        print("refused:", veto)
    print("total:", Invoice.get().total)
    for entry in reversed(invoice.history()):
        print(entry.action, entry.new_values)
    cmcore.plugins.unregister("policy")
    db.close()


if __name__ == "__main__":
    main()
