"""How a model class of cmcore comes to be: mixin fields, Meta options, its database."""

import copy
import functools
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import peewee

from cmcore.engines.internals import internal
from cmcore.fields import Secret
from cmcore.models.metadata import Metadata, SoftDeletedMetadata, mixed_metadata
from cmcore.models.unbound import SchemaManager

_OPTIONS = ("audit_exclude", "audit_mask")


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
        meta.set_database(self.database)

    def follows(self, model: type[peewee.Model]) -> bool:
        """Tell whether the model has no database of its own."""
        return model in self._followers

    def bind(self, database: peewee.Database | None) -> None:
        """Bind every follower which was not bound elsewhere in the meantime."""
        previous, self.database = self.database, database
        for model in list(self._followers):
            if model._meta.database in {None, previous}:
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
            options["model_metadata_class"] = mixed_metadata(
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
        given = own.get(option, ())
        is_text = isinstance(given, str)  # refused when the model is first used
        own[option] = given if is_text else tuple(dict.fromkeys([*inherited, *given]))
    own.setdefault("audit", all(getattr(p._meta, "audit", True) for p in parents))
    for name, default in _CLASSES.items():
        own.setdefault(name, _inherited(name, parents, default))
    metadata = own["model_metadata_class"]
    own["model_metadata_class"] = mixed_metadata(Metadata, metadata)
    return own


def _inherited(option: str, parents: list[Any], default: Any) -> Any:
    """Return what the first parent says which says something of its own."""
    said = (getattr(parent._meta, option, default) for parent in parents)
    return next((value for value in said if value is not default), default)


_CLASSES = {"model_metadata_class": Metadata, "schema_manager_class": SchemaManager}


def _has_no_own_database(options: dict[str, Any], parents: list[Any]) -> bool:
    if "database" in options:
        return options["database"] is None
    if not parents:
        return True
    first = parents[0]
    return binding.follows(first) or (
        first._meta.database is None and not isinstance(first, ModelMeta)
    )
