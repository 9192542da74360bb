"""The questions of the reference table, as cmcore or its users would ask them."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, NamedTuple

from peewee import SQL, fn
from reference_data import BUSY, COMPANIES, Business

from cmcore.models import AuditLog, Customer, User
from cmcore.partitions.months import Month
from cmcore.trail import Search, find_entries

LOGIN = "user login queries"
CUSTOMERS = "customer search"
DATES = "audit log by date range"
ARCHIVE = "archive old data"
FILTERS = "filtered queries"
TIMES = "time-based queries"

CLAIMS = {
    LOGIN: (10, 10),
    CUSTOMERS: (20, 20),
    DATES: (50, 50),
    ARCHIVE: (1000, 1000),
    FILTERS: (10, 50),
    TIMES: (10, 1000),
}
"""How many times faster, at least and at most, each is said to become."""

COUNT = fn.COUNT(SQL("1"))  # as count() of a query says it
PAGE = 50
NEWEST = 20
MONTHS_AGO = -6


class Case(NamedTuple):
    """One question.

    Attributes:
        claim: Which of the claims it is a case of.
        text: What is asked, in a few words.
        query: The query; None where something else is done.
        needs: What is made beforehand, an index or another help, and is not there for
            the other cases; None for nothing.
    """

    claim: str
    text: str
    query: Any
    needs: str | None = None

    @property
    def is_of_trail(self) -> bool:
        """Tell whether it is asked of the trail."""
        return self.query is not None and self.query.model is AuditLog


UNIQUE_BEFORE = "a unique e-mail before as well"
SUBSTRINGS = "the search index"


def claimed(claim: str) -> str:
    """Return the ratios that are claimed, in words."""
    least, most = CLAIMS[claim]
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def cases(business: Business) -> Iterator[Case]:
    """Yield the questions, in the order of the claims."""
    found = [
        *_login(business),
        *_customer_search(business),
        *_customer_lists(business),
        *_entries_by_time(business),
        *_entries_by_other(business),
    ]
    for claim in CLAIMS:
        yield from (case for case in found if case.claim == claim)


def _login(business: Business) -> Iterator[Case]:
    # As accounts.authenticate() looks for somebody: deleted users too, live ones first.
    email = business.email(business.sizes.users // 2)
    held = User.with_deleted().where(User.email == email)
    login = held.order_by(User.deleted_at.is_null(False), User.deleted_at.desc())
    yield Case(LOGIN, "login by e-mail", login.limit(1))
    yield Case(
        LOGIN, f"login by e-mail, {UNIQUE_BEFORE}", login.limit(1), UNIQUE_BEFORE
    )
    admins = User.select(COUNT)
    yield Case(
        LOGIN, "count active admins", admins.where(User.role == "admin", User.is_active)
    )


def _customer_search(business: Business) -> Iterator[Case]:
    number = business.sizes.customers * 2 // 3 // COMPANIES * COMPANIES
    live = Customer.select()
    phone, tax_id = business.phone(number), business.tax_id(number)
    yield Case(CUSTOMERS, "by telephone number", live.where(Customer.phone == phone))
    yield Case(CUSTOMERS, "by tax id", live.where(Customer.tax_id == tax_id))
    start = " ".join(business.name(number))[:-2]
    part = business.email(number).partition(".")[2].partition("@")[0]
    sought = {
        f"name begins with {start!r}": Customer.name.startswith(start),
        f"{part!r} in the e-mail": Customer.email.contains(part),
        f"{part!r} in name, e-mail or phone": Customer.name.contains(part)
        | Customer.email.contains(part)
        | Customer.phone.contains(part),
    }
    for text, condition in sought.items():
        query = live.where(condition).limit(NEWEST)
        yield Case(CUSTOMERS, text, query)
        yield Case(CUSTOMERS, f"{text}, with the search index", query, SUBSTRINGS)


def _customer_lists(business: Business) -> Iterator[Case]:
    live, count = Customer.select(), Customer.select(COUNT)
    newest = live.order_by(Customer.created_at.desc()).limit(NEWEST)
    is_active = Customer.status == "active"
    yield Case(
        FILTERS,
        "count suspended companies",
        count.where(
            Customer.status == "suspended", Customer.customer_type == "corporate"
        ),
    )
    yield Case(
        FILTERS,
        "count customers by status and type",
        Customer.select(Customer.status, Customer.customer_type, COUNT).group_by(
            Customer.status, Customer.customer_type
        ),
    )
    yield Case(FILTERS, "customers of a small city", live.where(Customer.city == "Ulm"))
    yield Case(TIMES, f"newest {NEWEST} active customers", newest.where(is_active))
    yield Case(
        TIMES,
        "active customers of the last week",
        live.where(is_active, Customer.created_at >= business.end - timedelta(days=7)),
    )


def _entries_by_time(business: Business) -> Iterator[Case]:
    month = Month.of(business.end).shifted(MONTHS_AGO)
    whole = AuditLog.select(COUNT).where(
        AuditLog.created_at >= month.start, AuditLog.created_at < month.end
    )
    day = month.start + timedelta(days=12)
    by_action = AuditLog.select(AuditLog.action, COUNT).where(
        AuditLog.created_at >= month.start, AuditLog.created_at < month.end
    )
    yield Case(DATES, "entries of a day", AuditLog.between(day, day + timedelta(1)))
    yield Case(
        DATES,
        f"newest {PAGE} entries of a month",
        AuditLog.between(month.start, month.end).limit(PAGE),
    )
    yield Case(DATES, "count the entries of a month", whole)
    yield Case(
        DATES,
        "count the entries of a month by action",
        by_action.group_by(AuditLog.action),
    )
    yield Case(TIMES, f"newest {PAGE} entries", AuditLog.trail().limit(PAGE))


def _entries_by_other(business: Business) -> Iterator[Case]:
    sizes = business.sizes
    user = User(id=business.users[sizes.users // 3])
    customer = Customer(id=business.customers[sizes.customers // 8])
    month = Month.of(business.end).shifted(MONTHS_AGO)
    yield Case(
        FILTERS,
        f"newest {PAGE} entries of a user",
        AuditLog.by_user(user).limit(PAGE),
    )
    email = business.email(sizes.users // 3)
    yield Case(
        FILTERS,
        f"newest {PAGE} entries of a user, by e-mail",
        find_entries(Search(user=email, limit=PAGE)),
    )
    yield Case(
        FILTERS,
        "deletes by a user",
        AuditLog.by_user(user).where(AuditLog.action == "delete"),
    )
    yield Case(
        TIMES,
        "entries of a user in a month",
        AuditLog.by_user(user).between(month.start, month.end),
    )
    yield Case(
        FILTERS,
        "history of a customer",
        AuditLog.for_instance(customer).limit(NEWEST),
    )
    yield Case(
        FILTERS,
        f"newest {NEWEST} entries of a row that has a tenth of all",
        find_entries(Search(resource=f"settings/{BUSY}", limit=NEWEST)),
    )
    yield Case(
        FILTERS,
        "entries of a request",
        AuditLog.trail().where(AuditLog.request_id == f"r{sizes.entries // 2}"),
    )
