"""A copy of the trail that is made beside it, follows it, and takes its place.

While the copy is made, a trigger notes the id of every entry that is written, changed
or removed. What is noted goes from the copy and is fetched again as it is in the trail
then, as often as need be; so whatever happens meanwhile is in the copy at last. Nobody
else knows the copy, so that nothing done to it keeps others waiting. It gets its
foreign keys when it becomes the trail, and they are checked afterwards: rows of it that
go to NULL with a user would make who removes that user wait.
"""

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import peewee

from cmcore.engines.catalog import Column, columns
from cmcore.engines.introspection import rows, run
from cmcore.engines.partitioning import pieces
from cmcore.errors import MigrationError
from cmcore.layout import quoted
from cmcore.partitions.conversion import constraints_of, lock_for_swap, make_beside
from cmcore.partitions.leftovers import CHANGES, COPY, NOTE, drop_copy
from cmcore.partitions.pieces import TRAIL, refusing
from cmcore.partitions.succession import succeed
from cmcore.schema.columns import names
from cmcore.schema.patience import BRIEFLY, PATIENTLY, attempt

_BATCH = 1000
_KEY = f"{COPY}_pkey"
# Autovacuum on the copy would be in the way of the swap.
_ASIDE = "autovacuum_enabled{0}, toast.autovacuum_enabled{0}"

# Notes for whoever writes, who needs no rights of his own for it.
_FUNCTION = f"""
CREATE FUNCTION {NOTE}() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO {{schema}}.{CHANGES} VALUES (OLD.id);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO {{schema}}.{CHANGES} VALUES (NEW.id);
    END IF;
    RETURN NULL;
END
$body$
"""
# Each partition: its name, the trigger on it, and the file that TRUNCATE would change.
_PIECES = f"""
    SELECT c.relname::text, t.oid::bigint, c.relfilenode::bigint
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    LEFT JOIN pg_trigger t
    ON t.tgrelid = c.oid AND t.tgname = '{NOTE}' AND t.tgenabled = 'A'
    WHERE i.inhparent = '{TRAIL}'::regclass
"""
# In one statement, which sees one state of the trail and of what is noted.
_COUNTS = ", ".join(
    f"(SELECT count(*) FROM {quoted(table)} e"
    f" WHERE NOT EXISTS (SELECT FROM {CHANGES} n WHERE n.id = e.id))"
    for table in (TRAIL, COPY)
)
_INDEXES = f"""
    SELECT c.relname::text, CASE WHEN u.oid IS NULL
        THEN pg_get_indexdef(c.oid) ELSE pg_get_constraintdef(u.oid) END,
        u.oid IS NOT NULL, i.indisunique
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid LEFT JOIN pg_constraint u
    ON u.conindid = c.oid AND u.conrelid = i.indrelid AND u.contype = 'u'
    WHERE i.indrelid = '{TRAIL}'::regclass AND NOT i.indisprimary ORDER BY c.oid
"""
# What a table is told beside its columns: how full its pages are, and the like.
_SETTINGS = """
    SELECT array_to_string(c.reloptions || (SELECT array_agg('toast.' || o)
        FROM unnest(t.reloptions) AS o), ', ')
    FROM pg_class c LEFT JOIN pg_class t ON t.oid = c.reltoastrelid
    WHERE c.oid = to_regclass(quote_ident(?))
"""


class _Index(NamedTuple):
    """An index of the trail, and how to make it: as a constraint, if it is one."""

    name: str
    definition: str
    is_constraint: bool
    is_unique: bool

    def sql(self, name: str) -> str:
        """Return what makes it on the copy, under a name for now."""
        if self.is_constraint:
            added = f"ADD CONSTRAINT {quoted(name)} {self.definition}"
            return f"ALTER TABLE {COPY} {added}"
        kind = "UNIQUE INDEX" if self.is_unique else "INDEX"
        _, covered = self.definition.split(" USING ", 1)
        return f"CREATE {kind} {quoted(name)} ON {COPY} USING {covered}"


class _Form(NamedTuple):
    """What the copy has to be like, which must not change while it is made."""

    columns: list[Column]
    constraints: dict[str, str]
    indexes: list[_Index]

    @classmethod
    def read(cls, db: peewee.Database) -> "_Form":
        indexes = [_Index(*row) for row in rows(db, _INDEXES)]
        return cls(columns(db, TRAIL), constraints_of(db), indexes)


class Shadow:
    """The copy, on its way to be the trail."""

    def __init__(
        self, db: peewee.Database, counts: Mapping[str, int], key: tuple[str, ...]
    ) -> None:
        """Take the number of entries of each partition; nothing happens yet."""
        self._db = db
        self._key = key
        self._largest = max(counts, key=lambda name: counts[name])
        self._form = attempt(db, BRIEFLY, self._read)
        self._own = names(c.name for c in self._form.columns if not c.is_generated)
        self._pieces: set[tuple[str, int, int]] = set()
        self._indexes = {
            f"{COPY}_{i}": index for i, index in enumerate(self._form.indexes)
        }
        self._references = {
            name: sql
            for name, sql in self._form.constraints.items()
            if sql.startswith("FOREIGN KEY")
        }
        self.told = [
            f"Copy {sum(counts.values())} entries of {len(counts)} partitions into a"
            f" table beside; build its key ({', '.join(key)}) and"
            f" {len(self._indexes)} indexes.",
            f"Make it the table {TRAIL}, with what came meanwhile; others wait for this"
            " moment only.",
        ]
        if self._references:
            text = f"Check its {len(self._references)} foreign keys, beside writers."
            self.told.append(text)

    def steps(self) -> list[Callable[[], object]]:
        """Begin to follow the trail; return what is to be done then, in its order."""
        drop_copy(self._db)
        attempt(self._db, BRIEFLY, self._begin)
        key = f"ALTER TABLE {COPY} ADD CONSTRAINT {_KEY} PRIMARY KEY"
        return [
            *[self._copying(piece.name) for piece in pieces(self._db, TRAIL)],
            self._making(f"{key} ({names(self._key)})"),
            *[self._making(index.sql(n)) for n, index in self._indexes.items()],
            # As a table that has been there: planned well, and read without its rows.
            lambda: run(self._db, f"VACUUM (ANALYZE) {COPY}"),
            self._take_over,
            lambda: check_references(self._db),
        ]

    def _read(self) -> _Form:
        """Read what the copy has to be like, in words that hold where it is made."""
        make_beside(self._db)
        return _Form.read(self._db)

    def _begin(self) -> None:
        """Make the copy, empty, and the trigger, both or none of them."""
        db, table = self._db, quoted(TRAIL)
        make_beside(db)
        [(schema,)] = rows(db, "SELECT quote_ident(current_schema())")
        run(
            db,
            f"CREATE TABLE {COPY} (LIKE {table} INCLUDING DEFAULTS"
            " INCLUDING GENERATED INCLUDING STORAGE INCLUDING COMPRESSION"
            " INCLUDING COMMENTS INCLUDING CONSTRAINTS)"
            f" WITH ({_ASIDE.format(' = false')})",
        )
        # Not logged: who crashes with it starts anew.
        ids = f"SELECT id FROM {table} WITH NO DATA"
        run(db, f"CREATE UNLOGGED TABLE {CHANGES} AS {ids}")
        run(db, _FUNCTION.replace("{schema}", schema))
        run(
            db,
            f"CREATE TRIGGER {NOTE} AFTER INSERT OR UPDATE OR DELETE ON {table}"
            f" FOR EACH ROW EXECUTE FUNCTION {NOTE}()",
        )
        run(db, f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {NOTE}")
        self._pieces = self._pieces_now()

    def _copying(self, piece: str) -> Callable[[], object]:
        """Return what copies a partition, without what is fetched again anyway.

        An entry that moved to another partition is not copied twice therefore.
        """
        return self._making(
            f"INSERT INTO {COPY} ({self._own})"
            f" SELECT {self._own} FROM {quoted(piece)} e"
            f" WHERE NOT EXISTS (SELECT FROM {CHANGES} n WHERE n.id = e.id)"
        )

    def _making(self, sql: str) -> Callable[[], object]:
        """Return what does something to the copy alone, which may take long."""

        def make() -> None:
            make_beside(self._db)
            run(self._db, sql)

        return lambda: attempt(self._db, PATIENTLY, make)

    def _catch_up(self) -> None:
        """Fetch what was noted until little is left."""
        while attempt(self._db, BRIEFLY, self._fetch) == _BATCH:
            pass

    def _fetch(self) -> int:
        """Fetch some of what was noted; return how many notes there were."""
        db, own = self._db, self._own
        found = rows(
            db,
            f"DELETE FROM {CHANGES} WHERE ctid = ANY(ARRAY("
            f"SELECT ctid FROM {CHANGES} LIMIT {_BATCH})) RETURNING id",
        )
        if found:
            ids = sorted({key for (key,) in found})
            run(db, f"DELETE FROM {COPY} WHERE id = ANY(?)", (ids,))
            sql = f"SELECT {own} FROM {quoted(TRAIL)} WHERE id = ANY(?)"
            run(db, f"INSERT INTO {COPY} ({own}) {sql}", (ids,))
        return len(found)

    def _take_over(self) -> None:
        """Make sure that the copy has all entries; then let it become the trail."""
        is_done = False
        while not is_done:
            self._catch_up()
            known = self._verified()
            is_done = attempt(
                self._db,
                BRIEFLY,
                functools.partial(self._swap, known),
                ahead=self._catch_up,
            )

    def _verified(self) -> set[tuple[str, int, int]]:
        """Return the partitions as they are while the copy has what they have."""
        known = self._pieces_now()
        gone = {each[:2] for each in self._pieces} - {each[:2] for each in known}
        if gone:
            lost = ", ".join(sorted(name for name, _ in gone))
            raise MigrationError(
                _CHANGED.format(f"{lost} was detached, or has no trigger")
            )
        counts = f"SELECT {_COUNTS}"
        [(there, here)] = attempt(self._db, PATIENTLY, lambda: rows(self._db, counts))
        if there != here:
            what = f"the copy has {here} entries, and the trail {there}"
            raise MigrationError(_CHANGED.format(what))
        return known

    def _swap(self, known: set[tuple[str, int, int]]) -> bool:
        """Let the copy become the trail, unless it has to be verified again."""
        db = self._db
        lock_for_swap(db)
        if self._pieces_now() != known:
            return False
        run(db, f"DROP TRIGGER {NOTE} ON {quoted(TRAIL)}")
        run(db, f"DROP FUNCTION {NOTE}()")
        while self._fetch():
            pass
        if _Form.read(db) != self._form:
            what = "its columns, constraints or indexes are others now"
            raise MigrationError(_CHANGED.format(what))
        run(db, f"ALTER TABLE {COPY} RESET ({_ASIDE.format('')})")
        [(settings,)] = rows(db, _SETTINGS, (self._largest,))
        if settings:
            run(db, f"ALTER TABLE {COPY} SET ({settings})")
        for name, sql in self._references.items():
            added = f"ADD CONSTRAINT {quoted(name)} {sql} NOT VALID"
            run(db, f"ALTER TABLE {COPY} {added}")
        indexes = {name: index.name for name, index in self._indexes.items()}
        succeed(db, COPY, _KEY, indexes)
        return True

    def _pieces_now(self) -> set[tuple[str, int, int]]:
        return {
            (name, trigger, file) for name, trigger, file in rows(self._db, _PIECES)
        }


_CHANGED = (
    f"{TRAIL} is partitioned as before: {{}}, since somebody changed it while it was "
    "copied. Run again."
)


def check_references(db: peewee.Database) -> None:
    """Check the foreign keys of a trail that was a copy, and end with it."""
    found = rows(
        db,
        "SELECT conname::text FROM pg_constraint WHERE contype = 'f'"
        f" AND NOT convalidated AND conrelid = '{TRAIL}'::regclass ORDER BY 1",
    )
    if found:
        checks = ", ".join(f"VALIDATE CONSTRAINT {quoted(name)}" for (name,) in found)
        sql = f"ALTER TABLE {quoted(TRAIL)} {checks}"
        with refusing(f"{TRAIL} is one table, and its foreign keys are not checked"):
            attempt(db, PATIENTLY, lambda: run(db, sql))
    run(db, f"DROP TABLE IF EXISTS {CHANGES}, {COPY}")
