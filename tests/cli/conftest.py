"""The command line as a process would run it, and a database with a little history."""

from collections.abc import Iterator
from typing import Protocol

import pytest
from click.testing import CliRunner, Result

import cmcore
from cmcore.cli import cli
from cmcore.models import Customer
from tests.conftest import MakeUrl, connected, unbind


class Run(Protocol):
    """What `run` is: a call for each command line."""

    def __call__(self, *arguments: str, env: dict[str, str] | None = None) -> Result:
        """Run the command line with these arguments."""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """A function that runs the command line as a process would."""
    for variable in ("CMCORE_DATABASE_URL", "DATABASE_URL"):
        monkeypatch.delenv(variable, raising=False)

    def invoke(*arguments: str, env: dict[str, str] | None = None) -> Result:
        result = CliRunner().invoke(cli, arguments, env=env)
        if not isinstance(result.exception, SystemExit | None):
            raise result.exception
        return result

    yield invoke
    unbind()


@pytest.fixture
def url(engine: str, make_url: MakeUrl) -> str:
    """The URL of a database with all migrations and a little history."""
    url = make_url(engine, migrated=True)
    with connected(url), cmcore.acting_as("system", ip_address="203.0.113.7"):
        ada = Customer.create(id="ada", name="Ada", email="ada@example.org")
        ada.city = "Paris"
        ada.save()
        Customer.create(id="bob", name="Bob \x1b[31m", email="bob@example.org")
        cmcore.record("data_export", resource_type="reports", description="Sales 2026")
    return url
