"""What peewee keeps about a model, and what cmcore adds to it."""

import re
from typing import Any

import peewee

from cmcore.engines.internals import internal
from cmcore.errors import ConfigurationError
from cmcore.layout import Layout
from cmcore.models.live import LiveTable, adopt
from cmcore.models.references import following

_UNIQUE = re.compile(r"\bUNIQUE\b", re.IGNORECASE)
_TEXT = re.compile(r"'[^']*'")


class Metadata(peewee.Metadata):
    """What peewee keeps about a model, with the layout that capture works from."""

    audit: bool = True
    audit_exclude: tuple[str, ...] = ()
    audit_mask: tuple[str, ...] = ()
    guard: Any = None
    owned: bool = False
    follows_default: bool = False
    is_soft_deleted: bool = False
    shows_deleted: bool = False
    _layout: Layout | None = None

    @property
    def layout(self) -> Layout:
        """Return the model's layout, computed anew after a field was added.

        Raises:
            ConfigurationError: A name in `audit_exclude` or `audit_mask` is no field.
        """
        layout = self._layout
        if layout is None or layout.table is not self.table:
            layout = self._layout = Layout(self.model)
        return layout

    @property
    def hides_deleted(self) -> bool:
        """Whether reads leave rows out that are marked as deleted."""
        return self.is_soft_deleted and not self.shows_deleted

    def add_field(self, field_name: str, field: Any, set_attribute: bool = True) -> Any:
        """Let the field find deleted rows from an object.

        Raises:
            ConfigurationError: It refers to a unique value of soft-deleted rows, which
                several rows may have.
        """
        following(field)
        if isinstance(field, peewee.ForeignKeyField):
            self._refuse_shared_target(field_name, field)
        super().add_field(field_name, field, set_attribute)

    def _refuse_shared_target(self, name: str, field: Any) -> None:
        model = self.model if field.rel_model == "self" else field.rel_model
        target = field.rel_field
        if target is None or not getattr(model._meta, "is_soft_deleted", False):
            return
        target = getattr(model, target) if isinstance(target, str) else target
        if not target.primary_key:
            msg = (
                f"{self.model.__name__}.{name} refers to {model.__name__}."
                f"{target.name}, which deleted rows may share with a live one. Let it "
                "refer to the primary key."
            )
            raise ConfigurationError(msg)

    def add_ref(self, field: Any) -> None:
        """Keep references to the acting user out of what deletion follows."""
        super().add_ref(field)
        if hasattr(field, "named_index"):
            field.rel_model._meta.backrefs.pop(field, None)

    def remove_ref(self, field: Any) -> None:
        """Undo `add_ref`."""
        field.rel_model._meta.backrefs[field] = self.model
        super().remove_ref(field)

    def fields_to_index(self) -> list[Any]:
        """Add the indexes that fields of the mixins ask for by name."""
        indexes: list[Any] = super().fields_to_index()
        for field in self.sorted_fields:
            partial = getattr(field, "named_index", None)
            if partial is not None:
                index = peewee.ModelIndex(
                    self.model,
                    (field,),
                    name=f"idx_{self.table_name}_{field.column_name}",
                )
                indexes.append(index.where(field.is_null(False)) if partial else index)
        return indexes


class SoftDeletedMetadata(Metadata):
    """What peewee keeps about a model whose rows are marked as deleted."""

    is_soft_deleted = True

    @property
    def table(self) -> Any:
        """The table, which shows live rows to queries that do not know of it."""
        table: Any = super().table
        if not isinstance(table, LiveTable) and self.hides_deleted:
            adopt(table)
        return table

    @table.deleter
    def table(self) -> None:
        inherited: Any = super(SoftDeletedMetadata, type(self)).table
        inherited.__delete__(self)
        self._table = None  # which peewee's metadata for threads forgets

    def fields_to_index(self) -> list[Any]:
        """Let unique indexes hold among live rows.

        Raises:
            ConfigurationError: A rule in SQL text is unique among all rows.
        """
        live = self.fields["deleted_at"].is_null()
        self._refuse_unique_text()
        return [
            index.where(live)
            if isinstance(index, internal.Index) and index._unique
            else index
            for index in super().fields_to_index()
        ]

    def _refuse_unique_text(self) -> None:
        own = [c for field in self.sorted_fields for c in field.constraints or ()]
        for rule in (*self.indexes, *(self.constraints or ()), *own):
            text = getattr(rule, "sql", "")
            if isinstance(rule, peewee.SQL) and _UNIQUE.search(_TEXT.sub("", text)):
                msg = (
                    f"{self.model.__name__} has a rule in SQL that holds among deleted "
                    f"rows too: {text}. Use unique=True or Meta.indexes, which hold "
                    "among live rows."
                )
                raise ConfigurationError(msg)


def mixed_metadata(kind: type, metadata: type) -> type:
    """Return a metadata class that is of our kind as well."""
    if issubclass(metadata, kind):
        return metadata
    if issubclass(kind, metadata):
        return kind
    return type(metadata.__name__, (kind, metadata), {})
