"""Who acts: blocks, late users, threads, tasks and generators, seen in the trail."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import peewee
import pytest

import cmcore
from cmcore.models import AuditLog, User
from tests.conftest import connected

PEER = "203.0.113.7"


class Note(cmcore.Model):
    """Anything that can be written."""

    text = peewee.TextField()

    class Meta:
        table_name = "context_notes"


class Stamped(cmcore.AuditMixin, cmcore.Model):
    """Takes its stamps from the context, and leaves no trail."""

    text = peewee.TextField()

    class Meta:
        table_name = "context_stamped"
        audit = False


@pytest.fixture
def db(database: peewee.Database) -> peewee.Database:
    """The tables of this file, on each engine."""
    database.create_tables([Note, Stamped])
    return database


@pytest.fixture
def alice(db: peewee.Database) -> User:
    """An administrator."""
    return new_user("alice", "admin")


@pytest.fixture
def bob(db: peewee.Database) -> User:
    """A client."""
    return new_user("bob", "client")


def new_user(name: str, role: str) -> User:
    """Make a user who cannot log in."""
    mail, secret = f"{name}@example.com", "!unusable"
    return User.create(
        id=name, email=mail, full_name=name, password_hash=secret, role=role
    )


def written() -> AuditLog:
    """Write a row and return its entry."""
    return Note.create(text="x").history().get()


def who(entry: AuditLog) -> tuple[str | None, ...]:
    """Return what an entry says of its user."""
    return entry.user_id, entry.user_email, entry.user_role


def acting() -> str | None:
    """Return the id of who acts."""
    return cmcore.current_context().user_id


def in_thread(function: Callable[[], Any]) -> Any:
    """Call a function in a new thread, which starts without a context."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()


def disconnected(db: peewee.Database, function: Callable[[], Any]) -> Any:
    """Call a function with a connection of this thread, closed afterwards."""
    with db.connection_context():
        return function()


def test_an_entry_holds_everything_that_the_block_names(alice: User) -> None:
    """Every argument of `acting_as` arrives in its column, the others as extra."""
    with cmcore.acting_as(
        alice,
        reason="price review",
        ip_address=PEER,
        user_agent="curl/8",
        request_method="POST",
        request_path="/x?y=1",
        request_id="r-1",
        ticket=4711,
        self=1,
    ):
        entry = written()
    assert who(entry) == ("alice", "alice@example.com", "admin")
    assert entry.ip_address == PEER
    assert entry.user_agent == "curl/8"
    assert entry.request_method == "POST"
    assert entry.request_path == "/x?y=1"
    assert entry.request_id == "r-1"
    assert entry.extra_data == {"reason": "price review", "ticket": 4711, "self": 1}


def test_a_user_given_by_id_is_looked_up_at_the_first_write(alice: User) -> None:
    """For an id, the entry has the e-mail address and the role of that user."""
    with cmcore.acting_as("alice") as context:
        assert context.user_email is None
        entry = written()
    assert (entry.user_email, entry.user_role) == ("alice@example.com", "admin")


def test_without_a_block_the_system_acts(db: peewee.Database, alice: User) -> None:
    """Outside blocks `user_id` is "system", afterwards and in other threads."""
    with cmcore.acting_as(alice):
        assert written().user_id == "alice"
        assert in_thread(lambda: disconnected(db, written)).user_id == "system"
    assert written().user_id == "system"


def test_a_nested_block_inherits_what_it_does_not_name(alice: User, bob: User) -> None:
    """Arguments left out come from outside, and extra keywords add up."""
    with cmcore.acting_as(alice, ip_address=PEER, reason="outer", ticket=1):
        with cmcore.acting_as(reason="inner", step=2):
            entry = written()
        with cmcore.acting_as(bob):
            other = written()
    assert who(entry) == ("alice", "alice@example.com", "admin")
    assert entry.extra_data == {"reason": "inner", "ticket": 1, "step": 2}
    assert who(other) == ("bob", "bob@example.com", "client")
    assert entry.ip_address == other.ip_address == PEER


def test_a_nested_id_does_not_keep_the_outer_address(alice: User, bob: User) -> None:
    """A user named by id inside another's block never gets the other's e-mail."""
    with cmcore.acting_as(alice), cmcore.acting_as("bob"):
        entry = written()
    assert who(entry) == ("bob", "bob@example.com", "client")


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt, GeneratorExit])
def test_the_outer_block_is_restored_exactly(error: type[BaseException] | None) -> None:
    """After an inner block, left by an exception or not, all is as it was before."""
    with cmcore.acting_as("a", ip_address=PEER, ticket=1):
        before = cmcore.current_context()
        expected = pytest.raises(error) if error else contextlib.nullcontext()
        with expected, cmcore.acting_as("b", ip_address="::1", ticket=2):
            assert acting() == "b"
            if error:
                raise error
        assert cmcore.current_context() == before
    assert acting() is None


def test_a_refused_block_leaves_no_trace() -> None:
    """A block that cannot be entered does not change who acts."""
    with cmcore.acting_as("a"):
        with pytest.raises(cmcore.InvalidValueError), cmcore.acting_as(ip_address="no"):
            pass
        assert acting() == "a"


def test_one_block_object_can_be_entered_again() -> None:
    """The same `acting_as` object works twice, and inside itself."""
    block = cmcore.acting_as("a")
    for _ in range(2):
        with block, block:
            assert acting() == "a"
        assert acting() is None


@cmcore.acting_as("worker")
def decorated(depth: int) -> list[str | None]:
    """Tell who acts at each depth of a recursion."""
    return [acting(), *(decorated(depth - 1) if depth else [])]


def test_a_decorated_function_is_one_block_a_call() -> None:
    """Each call of a decorated function, recursion included, is inside its block."""
    assert decorated(2) == ["worker"] * 3
    assert (acting(), decorated.__name__) == (None, "decorated")


def test_a_decorated_coroutine_function_may_overlap_itself() -> None:
    """Calls of one decorated coroutine function that run at once do not disturb."""

    @cmcore.acting_as("worker", reason="job")
    async def job() -> str | None:
        await asyncio.sleep(0)
        return acting()

    async def main() -> list[str | None]:
        found = await asyncio.gather(*(job() for _ in range(20)))
        return [*found, acting()]

    assert asyncio.run(main()) == ["worker"] * 20 + [None]


@cmcore.acting_as("producer")
def produced() -> Iterator[str | None]:
    """Tell who acts, receive a value, and survive an exception."""
    sent = yield acting()
    try:
        yield f"{sent} {acting()}"
    except KeyError:
        yield f"caught {acting()}"


def test_a_decorated_generator_keeps_its_consumer_outside() -> None:
    """A decorated generator acts as its own user, and its consumer as the other."""
    generator: Any = produced()
    with cmcore.acting_as("consumer"):
        assert next(generator) == "producer"
        assert acting() == "consumer"
        assert generator.send("hello") == "hello producer"
        assert generator.throw(KeyError()) == "caught producer"
        assert acting() == "consumer"
        with pytest.raises(StopIteration):
            next(generator)
    assert acting() is None


def test_a_decorated_generator_returns_its_value_and_cleans_up_inside() -> None:
    """`yield from` gets the return value; `close()` runs the cleanup in the block."""
    cleaned: list[str | None] = []

    @cmcore.acting_as("producer")
    def steps() -> Any:
        try:
            yield 1
        finally:
            cleaned.append(acting())
        return "done"

    def whole() -> Any:
        return (yield from steps())

    generator = whole()
    next(generator)
    with pytest.raises(StopIteration) as stop:
        next(generator)
    assert stop.value.value == "done"
    closed = steps()
    next(closed)
    closed.close()
    assert cleaned == ["producer", "producer"]


def test_a_decorated_async_generator_is_stepped_in_its_block() -> None:
    """A decorated async generator acts as its user, takes values and exceptions."""

    @cmcore.acting_as("producer")
    async def stream() -> AsyncIterator[Any]:
        sent = yield acting()
        try:
            yield sent, acting()
        except KeyError:
            yield "caught", acting()

    async def main() -> list[Any]:
        generator: Any = stream()
        found = [await anext(generator), acting(), await generator.asend("hello")]
        found.append(await generator.athrow(KeyError()))
        await generator.aclose()
        return found

    assert asyncio.run(main()) == [
        "producer",
        None,
        ("hello", "producer"),
        ("caught", "producer"),
    ]


def test_a_block_in_a_suspended_generator_cannot_leak_out_of_the_outer_block() -> None:
    """Leaving the outer block ends an inner one that a generator still holds."""

    def suspended() -> Iterator[None]:
        with cmcore.acting_as("inner"):
            yield

    with cmcore.acting_as("outer"):
        generator = suspended()
        next(generator)
    assert acting() is None
    generator.close()  # type: ignore[attr-defined]
    assert acting() is None


def test_set_user_needs_a_block() -> None:
    """Outside every block `set_user` refuses, and says what to do."""
    with pytest.raises(cmcore.ConfigurationError, match="acting_as"):
        cmcore.set_user("alice")


def test_an_unknown_user_makes_the_write_fail(db: peewee.Database) -> None:
    """An id that is no user raises `MissingReferenceError` at the write, as nothing."""
    with cmcore.acting_as("nobody"):
        for write in (
            lambda: Note.create(text="x"),
            lambda: Stamped.create(text="x"),
            lambda: cmcore.record("export", resource_type="r", description="d"),
        ):
            with pytest.raises(cmcore.MissingReferenceError, match="nobody") as caught:
                write()
            assert caught.value.value == "nobody"
            assert caught.value.table == "audit_logs"
    assert (Note.select().count(), Stamped.select().count()) == (0, 0)
    assert AuditLog.select().count() == 0


def test_a_user_who_vanishes_in_mid_block_makes_the_write_fail(
    db: peewee.Database, alice: User
) -> None:
    """A user deleted after the first write is a missing reference, not a raw error."""
    with cmcore.acting_as("alice"):
        written()
        db.execute_sql("UPDATE users SET created_by = NULL")
        db.execute_sql("DELETE FROM users WHERE id = 'alice'")
        with pytest.raises(cmcore.MissingReferenceError, match="alice"):
            Note.create(text="y")
    assert Note.select().count() == 1


BAD = [
    "",
    " ",
    "localhost",
    "256.1.1.1",
    "1.2.3",
    "::1%eth0",
    "10.0.0.1:80",
    "01.2.3.4",
]
GOOD = [PEER, "0.0.0.0", "::1", "2001:DB8::1", "::ffff:192.0.2.1"]  # noqa: S104


@pytest.mark.parametrize("address", BAD)
def test_a_bad_address_is_refused_on_entry(address: str) -> None:
    """What is no IPv4 or IPv6 address never enters a block."""
    with pytest.raises(cmcore.InvalidValueError) as caught:
        cmcore.acting_as(ip_address=address).__enter__()
    assert (caught.value.table, caught.value.column) == ("audit_logs", "ip_address")
    assert acting() is None


def test_good_addresses_are_stored(db: peewee.Database) -> None:
    """Every address that a block accepts, the CHECK of the table accepts as well."""
    for address in GOOD:
        with cmcore.acting_as(ip_address=address):
            assert written().ip_address == address


@pytest.mark.parametrize(
    ("column", "limit"), [("user_id", 36), ("request_method", 10), ("request_id", 128)]
)
def test_a_value_longer_than_its_column_is_refused_on_entry(
    column: str, limit: int
) -> None:
    """The limit itself fits, and one character more raises `TooLongError`."""
    name = "user" if column == "user_id" else column
    with cmcore.acting_as(**{name: "x" * limit}) as context:
        assert getattr(context, column) == "x" * limit
    with pytest.raises(cmcore.TooLongError, match=str(limit)) as caught:
        cmcore.acting_as(**{name: "x" * (limit + 1)}).__enter__()
    assert caught.value.column == column


def test_odd_values_of_a_block_never_make_a_write_fail(alice: User) -> None:
    """NUL, lone surrogates, NaN and objects in the context are recorded safely."""
    odd: dict[str, Any] = {
        "nan": float("nan"),
        "nul": "a\0b",
        "object": object(),
        "k\0": 1,
    }
    with cmcore.acting_as(alice, user_agent="a\0b", request_path="/\udcff", **odd):
        entry = written()
    assert entry.user_agent == "ab"
    assert set(entry.extra_data) >= {"nan", "nul", "object"}
    assert "\0" not in str(entry.extra_data)


def test_each_database_looks_its_own_users_up(
    alice: User, engine: str, make_url: Any
) -> None:
    """In one block over two databases, a user of one is unknown in the other."""
    with connected(make_url(engine, migrated=True)) as other:
        other.create_tables([Note])
        with cmcore.acting_as("alice"), pytest.raises(cmcore.MissingReferenceError):
            Note.create(text="x")
