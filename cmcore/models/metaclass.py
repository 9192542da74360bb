"""How a model class of cmcore comes to be: mixin fields, Meta options, its database."""

import copy
import functools
import re
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import peewee

from cmcore.engines.internals import internal
from cmcore.errors import ConfigurationError, UnboundModelError
from cmcore.fields import Secret
from cmcore.layout import Layout
from cmcore.models.live import LiveTable, adopt
from cmcore.models.references import following

_OPTIONS = ("audit_exclude", "audit_mask")
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
        if self.hides_deleted and not isinstance(table, LiveTable):
            adopt(table)
        return table

    @table.deleter
    def table(self) -> None:
        self._table = None

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


class UnboundDatabase(peewee.DatabaseProxy):
    """Stands where a model's database will be; any use of it says how to bind."""

    __slots__ = ("_Model", "_callbacks", "_model_name", "obj")

    def __init__(self, model_name: str) -> None:
        """Take the name for the error's text."""
        self._model_name = model_name
        super().__init__()

    def __getattr__(self, attr: str) -> Any:
        """Raise, since nothing is here."""
        raise UnboundModelError(self._model_name)

    def __enter__(self) -> Any:
        """Raise, since nothing is here."""
        raise UnboundModelError(self._model_name)


class Binding:
    """The database of all models that have none of their own."""

    def __init__(self) -> None:
        """Begin unbound."""
        self.database: peewee.Database | None = None
        self._followers: weakref.WeakSet[type[peewee.Model]] = weakref.WeakSet()

    def follow(self, model: type[peewee.Model]) -> None:
        """Bind the model now, if there is a database, and with every later one."""
        self._followers.add(model)
        meta: Any = model._meta
        meta.follows_default = True
        meta.set_database(self.database or UnboundDatabase(model.__name__))

    def follows(self, model: type[peewee.Model]) -> bool:
        """Tell whether the model has no database of its own."""
        return model in self._followers

    def bind(self, database: peewee.Database | None) -> None:
        """Bind every follower which was not bound elsewhere in the meantime."""
        previous, self.database = self.database, database
        for model in list(self._followers):
            current = model._meta.database
            if current is previous or isinstance(current, UnboundDatabase):
                self.follow(model)


binding = Binding()


class ModelMeta(peewee.ModelBase):
    """Makes model classes; `abstract=True` keeps one unprocessed, as peewee.Model is.

    An abstract class has no `_meta`, so peewee inherits nothing from it: mixins may
    stand anywhere among the bases without taking a database or a key away.
    """

    def __new__(
        cls,
        name: str,
        bases: tuple[type, ...],
        attrs: dict[str, Any],
        *,
        abstract: bool = False,
    ) -> Any:
        """Collect mixin fields and Meta options, then let peewee do its work."""
        bases = _in_order(bases)
        if abstract:
            return type.__new__(cls, name, bases, attrs)
        parents = [base for base in bases if hasattr(base, "_meta")]
        for field_name, field in _mixin_fields(bases):
            attrs.setdefault(field_name, field)
        options = _meta_options(attrs.get("Meta"), parents)
        if any(getattr(base, "marks_deleted", False) for base in bases):
            options["model_metadata_class"] = _with(
                SoftDeletedMetadata, options["model_metadata_class"]
            )
        follows = _has_no_own_database(options, parents)
        if follows:
            options["database"] = None
        attrs["Meta"] = type("Meta", (), options)
        make: Any = super().__new__
        model = make(cls, name, bases, attrs)
        for name_of_field in (*options["audit_exclude"], *options["audit_mask"]):
            field = model._meta.fields.get(name_of_field)
            if field is not None:
                field.db_value = functools.partial(_hidden, field.db_value)
        if follows:
            binding.follow(model)
        return model

    def __init__(
        cls,  # noqa: N805 - of a metaclass
        name: str,
        bases: tuple[type, ...],
        attrs: dict[str, Any],
        *,
        abstract: bool = False,
    ) -> None:
        """Swallow the class keyword."""
        super().__init__(name, bases, attrs)


def _hidden(db_value: Callable[[Any], Any], value: Any) -> Any:
    """Return what goes to the driver, as a text that no log of parameters shows."""
    stored = db_value(value)
    return Secret(stored) if type(stored) is str else stored


def _in_order(bases: tuple[type, ...]) -> tuple[type, ...]:
    """Leave out a base from which a later one derives: mixins may stand last."""
    return tuple(
        base
        for i, base in enumerate(bases)
        if not any(issubclass(later, base) for later in bases[i + 1 :])
    )


def _mixin_fields(bases: Iterable[Any]) -> Iterable[tuple[str, peewee.Field]]:
    """Yield copies of the fields of abstract bases, to stand behind the model's own.

    So are inherited ones for which another one is chosen beside these bases.
    """
    for base in bases:
        inherits = hasattr(base, "_meta")
        for name, field in base._meta.fields.items() if inherits else _declared(base):
            chosen = getattr(field, "chosen_for", lambda _, own=field: own)(bases)
            if inherits and chosen is field:
                continue
            twin: Any = copy.deepcopy(chosen)
            internal.Field._field_counter += 1
            twin._order = internal.Field._field_counter
            twin._sort_key = (2, twin._order)
            yield name, twin


def _declared(mixin: type) -> Iterator[tuple[str, peewee.Field]]:
    for part in reversed(mixin.__mro__):
        for name, field in vars(part).items():
            if isinstance(field, peewee.Field):
                yield name, field


def _meta_options(meta: type | None, parents: list[Any]) -> dict[str, Any]:
    own = {k: v for k, v in vars(meta).items() if k[:1] != "_"} if meta else {}
    for option in _OPTIONS:
        inherited = [n for parent in parents for n in getattr(parent._meta, option, ())]
        own[option] = tuple(dict.fromkeys([*inherited, *own.get(option, ())]))
    own.setdefault("audit", all(getattr(p._meta, "audit", True) for p in parents))
    metadata = own.get("model_metadata_class") or next(
        (p._meta.model_metadata_class for p in parents if _names_metadata(p)), Metadata
    )
    own["model_metadata_class"] = _with(Metadata, metadata)
    return own


def _with(kind: type, metadata: type) -> type:
    """Return a metadata class that is of our kind as well."""
    if issubclass(metadata, kind):
        return metadata
    if issubclass(kind, metadata):
        return kind
    return type(metadata.__name__, (kind, metadata), {})


def _names_metadata(parent: Any) -> bool:
    return hasattr(parent._meta, "model_metadata_class")


def _has_no_own_database(options: dict[str, Any], parents: list[Any]) -> bool:
    if "database" in options:
        return options["database"] is None
    if not parents:
        return True
    first = parents[0]
    return binding.follows(first) or (
        first._meta.database is None and not isinstance(first, ModelMeta)
    )
