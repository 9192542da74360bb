"""All forms of a write, and the check that each has to pass."""

from collections.abc import Sequence
from typing import Any

import pytest

from tests import models
from tests.capture import forms_insert, forms_update, forms_upsert
from tests.capture.bench import Bench, Entry, rows_of
from tests.capture.replay import replay
from tests.capture.table import ENGINES, FORMS, Form, shown

__all__ = ["Form", "check", "forms_insert", "forms_update", "forms_upsert"]


def parameters(
    engines: Sequence[str] = ENGINES, kinds: Sequence[str] = models.KEYS
) -> list[Any]:
    """Return the forms for `pytest.mark.parametrize("engine, kind, form", …)`."""
    return [
        pytest.param(
            engine,
            kind,
            each,
            id=f"{engine}-{kind}-{each.name}",
            marks=[pytest.mark.postgresql] if engine == "postgresql" else [],
        )
        for engine in engines
        for each in FORMS
        for kind in kinds
        if engine in each.engines and kind in each.kinds
    ]


def check(bench: Bench, kind: str, form: Form) -> list[Entry]:
    """Run a form on both tables, compare all that can be seen; return the trail."""
    bench.seed(kind)
    before = rows_of(models.MIRRORS[kind])
    expected = shown(form.run(models.PLAIN[kind], kind))
    result = shown(form.run(models.ITEMS[kind], kind))
    assert result == expected
    after = rows_of(models.MIRRORS[kind])
    assert after == rows_of(models.PLAIN[kind])
    entries = bench.entries()
    assert "".join(sorted(entry.action[0] for entry in entries)) == form.actions
    assert replay(models.ITEMS[kind], before, entries) == after
    return entries
