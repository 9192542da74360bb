"""What migrations and archives refuse, and a schema that is not the models' one."""

from cmcore.errors.tree import CmcoreError


class MigrationError(CmcoreError):
    """A migration or a rollback refuses to run; nothing was changed."""


class OrphanRowsError(MigrationError):
    """Rows refer to users that do not exist, so a foreign key cannot be added."""


class PendingMigrationsError(MigrationError):
    """The schema in the database is older than the models, or the trail alone."""

    def __init__(
        self, pending: tuple[str, ...] = (), what: str = "", *, is_trail: bool = False
    ) -> None:
        """Take the names of the scripts still to run, and what was wanted.

        Args:
            pending: The names.
            what: The table, or whatever needs it.
            is_trail: The database has the trail alone, and lacks more than scripts.
        """
        super().__init__(pending, what)
        self.pending = pending
        self.what = what
        self.is_trail = is_trail

    def __str__(self) -> str:
        """Name the scripts and the command."""
        wanted = f"{self.what}: " if self.what else ""
        if self.is_trail:
            return (
                f"{wanted}this database has the trail alone, and no users or customers "
                "of cmcore. Use the application's own, or another database."
            )
        scripts = f" ({', '.join(self.pending)})" if self.pending else ""
        return (
            f"{wanted}the database lacks migrations of cmcore{scripts}. Run "
            "`cmcore migrate`, or call cmcore.migrate(db), and try again."
        )


class DataLossRefusedError(MigrationError):
    """A rollback would lose rows."""


class ArchiveError(CmcoreError):
    """An archive of the trail is damaged, cannot be written, or is in use."""
