"""The text of SQL: quoting, and reading a CREATE TABLE without losing a byte of it."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from cmcore.errors import MigrationError
from cmcore.layout import quoted

_TOKEN = re.compile(
    r"""
    (?P<blank> \s+ | --[^\n]* | /\*.*?(?:\*/|\Z) )
  | (?P<text>  '(?:[^']|'')*' )
  | (?P<name>  "(?:[^"]|"")*" | `(?:[^`]|``)*` | \[[^\]]*\] | [\w$]+ )
  | (?P<mark>  . )
    """,
    re.VERBOSE | re.DOTALL,
)


def literal(text: str) -> str:
    """Return a text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


class Token(NamedTuple):
    """A piece of SQL: a blank (comments included), a text, a name, or a mark."""

    kind: str
    text: str

    @property
    def name(self) -> str:
        """Return the identifier without its quotes; other pieces as they stand."""
        quote = self.text[:1]
        if self.kind != "name" or quote not in {'"', "`", "["}:
            return self.text
        return self.text[1:-1].replace(quote * 2, quote)

    def is_word(self, word: str) -> bool:
        """Tell whether this is the given keyword, in whatever case."""
        return self.text.upper() == word


def tokens(sql: str) -> Iterator[Token]:
    """Yield every piece of the text; joined they are the text again."""
    for match in _TOKEN.finditer(sql):
        yield Token(str(match.lastgroup), match.group())


def words(sql: str) -> list[Token]:
    """Return the pieces that carry meaning: all but blanks and comments."""
    return [token for token in tokens(sql) if token.kind != "blank"]


def comment_of(sql: str) -> str | None:
    """Return the comment at the very start of a CREATE TABLE's list of columns."""
    pieces = tokens(sql)
    for token in pieces:
        if token.text == "(":
            break
    for token in pieces:
        if token.kind != "blank":
            return None
        if token.text.startswith("/*"):
            return token.text[2:].removesuffix("*/").strip()
    return None


class Item(NamedTuple):
    """A column or a table constraint, as it stands in the list of a CREATE TABLE."""

    text: str

    @property
    def constraint(self) -> str | None:
        """Return the name if this is a named constraint of the table."""
        first = words(self.text)[:2]
        if len(first) == 2 and first[0].is_word("CONSTRAINT"):  # noqa: PLR2004
            return first[1].name
        return None


class CreateTable(NamedTuple):
    """A CREATE TABLE in three pieces of raw text, around and between its items."""

    head: str
    items: tuple[Item, ...]
    tail: str

    @classmethod
    def read(cls, sql: str) -> "CreateTable":
        """Cut the text at the commas of the outermost list.

        Raises:
            MigrationError: The text has no such list (CREATE TABLE ... AS, a virtual
                table's module without arguments).
        """
        depth = 0
        head, tail, items = "", "", [""]
        for token in tokens(sql):
            if tail:
                tail += token.text
                continue
            depth -= token.text == ")"
            if depth == 0 and token.text == ")":
                tail = token.text
            elif depth == 0:
                head += token.text
            elif depth == 1 and token.text == ",":
                items.append("")
            else:
                items[-1] += token.text
            depth += token.text == "("
        if not tail:
            msg = f"Cannot read this table definition, so nothing was changed: {sql}"
            raise MigrationError(msg)
        return cls(head, tuple(Item(text) for text in items), tail)

    def __str__(self) -> str:
        """Return the statement."""
        return self.head + ",".join(item.text for item in self.items) + self.tail

    @property
    def has_rowid(self) -> bool:
        """Tell whether the table has rowids."""
        return not any(token.is_word("WITHOUT") for token in words(self.tail))

    def renamed(self, name: str) -> "CreateTable":
        """Return the same table under another name."""
        pieces = list(tokens(self.head))
        position = [i for i, token in enumerate(pieces) if token.kind == "name"][-1]
        pieces[position] = Token("name", quoted(name))
        return self._replace(head="".join(token.text for token in pieces))

    def adding(self, name: str, definition: str) -> "CreateTable":
        """Return the table with one more constraint, which must not be there yet."""
        if any(item.constraint == name for item in self.items):
            msg = f"The constraint {name} is there already; nothing was changed."
            raise MigrationError(msg)
        new = Item(f"\n  CONSTRAINT {quoted(name)} {definition}")
        return self._replace(items=(*self.items, new))

    def dropping(self, name: str) -> "CreateTable":
        """Return the table without a constraint, which must be there exactly once."""
        kept = tuple(item for item in self.items if item.constraint != name)
        if len(kept) != len(self.items) - 1:
            msg = f"The constraint {name} is not there; nothing was changed."
            raise MigrationError(msg)
        return self._replace(items=kept)
