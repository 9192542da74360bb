"""The rules of the CHECK constraints, each in SQL for both engines and in Python.

A rule gives the same verdict wherever it is asked: SQLite, PostgreSQL, `is_valid`. NULL
keeps every rule, as it does in SQL. The texts avoid LIKE, lower(), collations and
functions of a connection, whose verdict would depend on who writes. A rule that a
released migration uses is never changed.
"""

import ipaddress
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import peewee

from cmcore.engines.introspection import is_sqlite
from cmcore.layout import quoted

# What SQL trims; raw characters, so that both engines read the same literal.
WHITESPACE = " \t\n\v\f\r"

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_EMAIL_LENGTH = 254
_LOCAL_LENGTH = 64
_PHONE_LENGTH = 20
_EMAIL = re.compile(
    r"[A-Za-z0-9_%+'-]+(\.[A-Za-z0-9_%+'-]+)*"
    r"@([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z]{2,}"
)
_PHONE = re.compile(r"\+?[0-9(]([0-9 ().-]*[0-9)])?")
_PHONE_DIGITS = range(7, 16)


class Condition(NamedTuple):
    """One condition in the three languages.

    Attributes:
        sqlite: SQL with `{c}` for the column.
        postgresql: The same for PostgreSQL.
        holds: The same for a text in Python.
        sentence: What a valid value is, to follow "It must be".
    """

    sqlite: str
    postgresql: str
    holds: Callable[[str], bool]
    sentence: str


class Rule(NamedTuple):
    """A CHECK constraint: its name, its column, and its condition."""

    name: str
    table: str
    column: str
    condition: Condition

    @property
    def sentence(self) -> str:
        """Return what a valid value is, for people, without a full stop."""
        return self.condition.sentence

    def is_valid(self, value: Any) -> bool:
        """Give the verdict that the database would give; None is valid."""
        return value is None or (_is_text(value) and self.condition.holds(value))

    def sql(self, *, sqlite: bool) -> str:
        """Return the condition as SQL, with bare percent signs."""
        column = quoted(self.column)
        if sqlite:
            condition = self.condition.sqlite.replace("{c}", column)
            return f"{column} IS NULL OR ({_only_text(column)}{condition})"
        return self.condition.postgresql.replace("{c}", column)

    def sql_for(self, db: peewee.Database) -> str:
        """Return the condition as SQL for a database, with bare percent signs."""
        return self.sql(sqlite=is_sqlite(db))


def _only_text(column: str) -> str:
    """Keep out what GLOB and length() would misread: BLOBs, and text beyond a NUL."""
    return f"typeof({column}) = 'text' AND instr({column}, char(0)) = 0 AND "


def _is_text(value: Any) -> bool:
    """Tell whether a value is a text that a database can hold."""
    return isinstance(value, str) and re.search("[\0\ud800-\udfff]", value) is None


def _email() -> Condition:
    domain = "substr({c}, instr({c}, '@') + 1)"
    sqlite = f"""length({{c}}) <= {_EMAIL_LENGTH}
AND instr({{c}}, '@') BETWEEN 2 AND {_LOCAL_LENGTH + 1}
AND substr({{c}}, 1, instr({{c}}, '@') - 1) NOT GLOB '*[^A-Za-z0-9._%+''-]*'
AND {domain} NOT GLOB '*[^A-Za-z0-9.-]*'
AND {{c}} NOT GLOB '.*'
AND {{c}} NOT GLOB '*..*'
AND {{c}} NOT GLOB '*.@*'
AND {{c}} NOT GLOB '*@[.-]*'
AND {domain} NOT GLOB '*.-*'
AND {domain} NOT GLOB '*-.*'
AND rtrim({{c}}, '{_LETTERS}') GLOB '*.'
AND length({{c}}) - length(rtrim({{c}}, '{_LETTERS}')) >= 2"""
    pattern = _EMAIL.pattern.replace("'", "''")
    postgresql = f"""length({{c}}) <= {_EMAIL_LENGTH}
AND strpos({{c}}, '@') <= {_LOCAL_LENGTH + 1}
AND {{c}} ~ '^{pattern}$'"""
    sentence = "an e-mail address like name@example.com, without accents or spaces"
    return Condition(sqlite, postgresql, _is_email, sentence)


def _is_email(text: str) -> bool:
    return (
        len(text) <= _EMAIL_LENGTH
        and text.find("@") <= _LOCAL_LENGTH
        and _EMAIL.fullmatch(text) is not None
    )


def _phone() -> Condition:
    bare = "ltrim({c}, '+')"
    digits = bare
    for separator in " ().-":
        digits = f"replace({digits}, '{separator}', '')"
    sql = f"""length({{c}}) <= {_PHONE_LENGTH}
AND length({{c}}) - length({bare}) <= 1
AND ltrim({bare}, '0123456789 ().-') = ''
AND length({digits}) BETWEEN {_PHONE_DIGITS.start} AND {_PHONE_DIGITS.stop - 1}
AND rtrim(ltrim({bare}, ' ).-'), ' (.-') = {bare}"""
    sentence = (
        "a phone number like +49 30 123-4567: 7 to 15 digits, spaces, dots, dashes and "
        "parentheses between them, a plus only in front, at most 20 characters"
    )
    return Condition(sql, sql, _is_phone, sentence)


def _is_phone(text: str) -> bool:
    digits = sum(character in "0123456789" for character in text)
    return (
        len(text) <= _PHONE_LENGTH
        and digits in _PHONE_DIGITS
        and _PHONE.fullmatch(text) is not None
    )


def _text(
    *, least: int = 0, most: int | None = None, trimmed: bool = False
) -> Condition:
    column = f"trim({{c}}, '{WHITESPACE}')" if trimmed else "{c}"
    parts, words = [], []
    if least:
        parts.append(f"length({column}) >= {least}")
        words.append(f"at least {least}")
    if most:
        parts.append(f"length({{c}}) <= {most}")
        words.append(f"at most {most}")

    def holds(text: str) -> bool:
        size = len(text.strip(WHITESPACE) if trimmed else text)
        return size >= least and (most is None or len(text) <= most)

    sql = " AND ".join(parts)
    plural = "" if least == 1 and most is None else "s"
    spaces = ", spaces around it not counted" if trimmed else ""
    sentence = f"a text of {' and '.join(words)} character{plural}{spaces}"
    return Condition(sql, sql, holds, sentence)


_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = rf"({_OCTET}\.){{3}}{_OCTET}"
_GROUP = "[0-9A-Fa-f]{1,4}"
_GROUPS = f"{_GROUP}(:{_GROUP}){{0,6}}"
# Eight groups, or fewer around one gap.
_IPV6 = (
    f"^({_GROUP}(:{_GROUP}){{7}}"
    f"|(?!(:{{0,2}}{_GROUP}(?![0-9A-Fa-f])){{8}})({_GROUPS})?::({_GROUPS})?)$"
)


def _four_octets(text: str) -> str:
    """Return SQLite's condition for an IPv4 address of the characters 0-9 and dot."""
    dotted = f"'.' || {text} || '.'"
    too_big = ("[0-9][0-9][0-9][0-9]*", "[3-9][0-9][0-9].*", "2[6-9][0-9].*")
    return f"""{text} NOT GLOB '*[^0-9.]*'
  AND length({text}) - length(replace({text}, '.', '')) = 3
  AND {dotted} NOT GLOB '*..*'
  AND {dotted} NOT GLOB '*.0[0-9]*'
""" + "\n".join(
        f"  AND {dotted} NOT GLOB '*.{glob}'" for glob in (*too_big, "25[6-9].*")
    )


def _groups_sqlite(text: str) -> str:
    """Return SQLite's condition for the hexadecimal groups of an IPv6 address."""
    digit = "[0-9a-fA-F]"
    colons = f"length({text}) - length(replace({text}, ':', ''))"
    at_edge = f"{text} GLOB '::*' OR {text} GLOB '*::'"
    few_enough = f"""CASE
   WHEN {text} GLOB '*::*' THEN {colons} <= CASE WHEN {at_edge} THEN 8 ELSE 7 END
   ELSE {colons} = 7 END"""
    globs = ("[^0-9a-fA-F:]*", f"{digit * 5}*", ":::*", "::*::*")
    lines = [f"{text} NOT GLOB '*{glob}'" for glob in globs]
    lines += [f"{text} NOT GLOB ':[^:]*'", f"{text} NOT GLOB '*[^:]:'", few_enough]
    return "\n  AND ".join(lines)


def _ip_address() -> Condition:
    # An IPv4 tail counts as two groups; what is in front of it ends with a colon.
    front = "rtrim({c}, '0123456789.')"
    groups = f"({front} || '0:0')"
    tail = f"substr({{c}}, length({front}) + 1)"
    sqlite = f"""length({{c}}) <= 45
AND CASE
 WHEN {{c}} NOT GLOB '*:*' THEN {_four_octets("{c}")}
 WHEN {{c}} GLOB '*.*' THEN {front} GLOB '*:'
  AND {_groups_sqlite(groups)}
  AND {_four_octets(tail)}
 ELSE {_groups_sqlite("{c}")} END"""
    # Short, since PostgreSQL reads the whole expression again for every INSERT.
    postgresql = f"""length({{c}}) <= 45
AND ({{c}} ~ '^{_IPV4}$' OR regexp_replace({{c}}, ':{_IPV4}$', ':0:0') ~ '{_IPV6}')"""
    sentence = "an IPv4 or IPv6 address, without port, zone or network length"
    return Condition(sqlite, postgresql, is_valid_ip, sentence)


def is_valid_ip(text: str) -> bool:
    """Tell whether a text is an IPv4 or IPv6 address without a zone."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text


_NOT_EMPTY = _text(least=1, trimmed=True)
_NAME = _text(least=2, most=255, trimmed=True)

RULES: dict[str, Rule] = {
    rule.name: rule
    for rule in (
        Rule("ck_users_email_format", "users", "email", _email()),
        Rule("ck_users_password_hash_length", "users", "password_hash", _text(least=8)),
        Rule("ck_users_full_name_length", "users", "full_name", _NAME),
        Rule("ck_customers_email_format", "customers", "email", _email()),
        Rule("ck_customers_phone_format", "customers", "phone", _phone()),
        Rule("ck_customers_name_length", "customers", "name", _NAME),
        Rule(
            "ck_customers_postal_code_length",
            "customers",
            "postal_code",
            _text(most=20),
        ),
        Rule("ck_audit_logs_action_not_empty", "audit_logs", "action", _NOT_EMPTY),
        Rule(
            "ck_audit_logs_resource_type_not_empty",
            "audit_logs",
            "resource_type",
            _NOT_EMPTY,
        ),
        Rule(
            "ck_audit_logs_description_not_empty",
            "audit_logs",
            "description",
            _NOT_EMPTY,
        ),
        Rule(
            "ck_audit_logs_ip_address_format",
            "audit_logs",
            "ip_address",
            _ip_address(),
        ),
    )
}


def rule(name: str) -> Rule | None:
    """Return the rule behind the name of a constraint, None for other names."""
    return RULES.get(name)


def rules_of(table: str) -> tuple[Rule, ...]:
    """Return the rules of a table, in the order in which they are declared."""
    return tuple(rule for rule in RULES.values() if rule.table == table)
