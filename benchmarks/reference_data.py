"""A business to ask questions about: users, customers, and two years of its trail.

The same rows come again with the same sizes. They look real: keys are UUIDs in the
order of time, a few users and customers have most of the entries, newer months have
more of them, one row of settings has a tenth of all, some customers are deleted.
"""

import json
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any, NamedTuple

DAYS = 730
FIRST_NAMES = (
    *("Ada", "Ahmed", "Anna", "Ben", "Carla", "Chen", "David", "Elena", "Emil", "Eva"),
    *(
        "Felix",
        "Hanna",
        "Ida",
        "Ivan",
        "Jonas",
        "Julia",
        "Karim",
        "Lara",
        "Leon",
        "Luca",
    ),
    *("Marie", "Max", "Mila", "Nina", "Noah", "Olga", "Paul", "Rosa", "Yusuf", "Zoe"),
)
LAST_NAMES = (
    *(
        "Adler",
        "Bauer",
        "Becker",
        "Berg",
        "Brandt",
        "Costa",
        "Engel",
        "Fischer",
        "Graf",
    ),
    *("Haas", "Hansen", "Huber", "Ivanov", "Keller", "Koch", "Kowalski", "Lorenz"),
    *(
        "Marino",
        "Meyer",
        "Moser",
        "Novak",
        "Peters",
        "Pohl",
        "Richter",
        "Rossi",
        "Roth",
    ),
    *("Schmidt", "Seidel", "Silva", "Simon", "Sommer", "Stein", "Vogel", "Wagner"),
    *("Weber", "Winkler", "Yilmaz"),
)
CITIES = {
    "Berlin": 30,
    "Hamburg": 16,
    "Wien": 16,
    "Zürich": 8,
    "Leipzig": 6,
    "Graz": 3,
    "Ulm": 1,
}
STATUSES = {"active": 80, "inactive": 12, "pending": 6, "suspended": 2}
ROLES = {"client": 90, "corporate": 9, "admin": 1}
ACTIONS = {"update": 80, "create": 17, "delete": 3}
RESOURCES = {"customers": 70, "orders": 20, "settings": 10}
BUSY = "prices"
DELETED_SHARE = 0.03
REQUEST_SHARE = 0.7
COMPANIES = 5
CHUNK = 20_000


class Sizes(NamedTuple):
    """How many rows the tables have."""

    customers: int
    users: int
    entries: int


class Rows(NamedTuple):
    """The name of a table, some of its columns, and rows of them."""

    table: str
    columns: tuple[str, ...]
    values: Iterator[tuple[Any, ...]]


class Business:
    """Makes the rows; ends at a given moment."""

    def __init__(self, sizes: Sizes, end: datetime) -> None:
        """Give everybody a key and a moment."""
        self.sizes = sizes
        self.end = end
        self.start = end - timedelta(days=DAYS)
        self._random = random.Random(1)  # noqa: S311 - of nobody's secrets
        self.users = self._keys(sizes.users)
        self.customers = self._keys(sizes.customers)

    def tables(self) -> Iterator[Rows]:
        """Yield the tables, referred ones first; the same each time."""
        self._random.seed(2)
        yield Rows("users", USER_COLUMNS, self._users())
        yield Rows("customers", CUSTOMER_COLUMNS, self._customers())
        yield Rows("audit_logs", ENTRY_COLUMNS, self._entries())

    def name(self, i: int) -> tuple[str, str]:
        """Return the first and last name of the person with a number."""
        return (
            FIRST_NAMES[i * 7 % len(FIRST_NAMES)],
            LAST_NAMES[i * 11 // 3 % len(LAST_NAMES)],
        )

    def email(self, i: int) -> str:
        """Return the address of the person with a number."""
        return ".".join(self.name(i)).lower() + f"{i}@example.org"

    def phone(self, i: int) -> str:
        """Return the telephone number of the customer with a number."""
        return f"+49 30 {1_000_000 + i * 7919 % 9_000_000}"

    def tax_id(self, i: int) -> str | None:
        """Return the tax id of the customer with a number, if it is a company."""
        return None if i % COMPANIES else f"DE{100_000_000 + i}"

    def moment(self, i: int, count: int) -> datetime:
        """Return when one of so many things happened; more of them did lately."""
        share: float = ((i + 0.5) / count) ** 0.8
        return self.start + (self.end - self.start) * share

    def _keys(self, count: int) -> list[str]:
        return [self._key(self.moment(i, count)) for i in range(count)]

    def _key(self, moment: datetime) -> str:
        """Return a UUIDv7 of a moment."""
        time = f"{int(moment.timestamp() * 1000):012x}"
        rest = f"{self._random.getrandbits(74):019x}"
        return f"{time[:8]}-{time[8:]}-7{rest[:3]}-8{rest[4:7]}-{rest[7:]}"

    def _picks(self, weights: dict[str, int]) -> Iterator[str]:
        """Yield words for ever, each as often as its weight says."""
        words, sums = tuple(weights), tuple(accumulate(weights.values()))
        while True:
            yield from self._random.choices(words, cum_weights=sums, k=CHUNK)

    def _users(self) -> Iterator[tuple[Any, ...]]:
        roles = self._picks(ROLES)
        for i, key in enumerate(self.users):
            at = _text(self.moment(i, self.sizes.users))
            name = " ".join(self.name(i))
            is_active = i % 20 > 0
            stored = "$argon2id$v=19$" + "x" * 82
            yield key, self.email(i), stored, name, next(roles), is_active, at, at

    def _customers(self) -> Iterator[tuple[Any, ...]]:
        cities, statuses = self._picks(CITIES), self._picks(STATUSES)
        for i, key in enumerate(self.customers):
            at = _text(self.moment(i, self.sizes.customers))
            name = " ".join(self.name(i))
            is_company = i % COMPANIES == 0
            is_deleted = self._random.random() < DELETED_SHARE
            yield (
                key,
                name,
                self.email(i),
                self.phone(i),
                "corporate" if is_company else "individual",
                next(statuses),
                f"{name} GmbH" if is_company else None,
                self.tax_id(i),
                next(cities),
                "Germany",
                f"{10_000 + i % 90_000}",
                at,
                at,
                self._someone(self.users, 2),
                _text(self.end) if is_deleted else None,
                "system" if is_deleted else None,
            )

    def _entries(self) -> Iterator[tuple[Any, ...]]:
        actions, resources = self._picks(ACTIONS), self._picks(RESOURCES)
        cities = self._picks(CITIES)
        for i in range(self.sizes.entries):
            moment = self.moment(i, self.sizes.entries)
            at = _text(moment)
            resource = next(resources)
            key = self._resource_key(resource)
            action = "update" if key == BUSY else next(actions)
            number = int(self.sizes.users * self._random.random() ** 2)
            email = self.email(number)
            old = {"city": next(cities), "updated_at": at}
            new = {"city": next(cities), "updated_at": at}
            has_request = self._random.random() < REQUEST_SHARE
            yield (
                self._key(moment),
                action,
                resource,
                key,
                f"{email} {action}d {resource} {key} (city)",
                self.users[number],
                email,
                f"203.0.113.{i % 250}",
                f"r{i}" if has_request else None,
                self._key(moment),
                json.dumps(old) if action in {"update", "delete"} else None,
                json.dumps(new) if action in {"update", "create"} else None,
                at,
                at,
            )

    def _resource_key(self, resource: str) -> str:
        if resource == "settings":
            return BUSY
        if resource == "orders":
            return str(int(self.sizes.entries * self._random.random()))
        return self._someone(self.customers, 3)

    def _someone(self, keys: list[str], skew: int) -> str:
        """Return one of the keys, the first ones more often."""
        return keys[int(len(keys) * self._random.random() ** skew)]


USER_COLUMNS = (
    "id",
    "email",
    "password_hash",
    "full_name",
    "role",
    "is_active",
    "created_at",
    "updated_at",
)
CUSTOMER_COLUMNS = (
    "id",
    "name",
    "email",
    "phone",
    "customer_type",
    "status",
    "company_name",
    "tax_id",
    "city",
    "country",
    "postal_code",
    "created_at",
    "updated_at",
    "created_by",
    "deleted_at",
    "deleted_by",
)
ENTRY_COLUMNS = (
    "id",
    "action",
    "resource_type",
    "resource_id",
    "description",
    "user_id",
    "user_email",
    "ip_address",
    "request_id",
    "transaction_id",
    "old_values",
    "new_values",
    "created_at",
    "updated_at",
)


def _text(moment: datetime) -> str:
    return moment.isoformat(" ", "microseconds")
