"""What accounts refuse: bad passwords, lost keys, the last administrator's end."""

from typing import Any, ClassVar

from cmcore.errors.tree import CmcoreError


class AuthenticationError(CmcoreError):
    """The base of what accounts refuse, which is never raised itself."""


class PasswordPolicyError(AuthenticationError):
    """A password breaks the rules for new ones; it is never shown.

    Attributes:
        codes: All the rules that it breaks: `too_short`, `too_long`, `is_email`,
            `is_name`, `not_text`, and what plugins say.
    """

    _SENTENCES: ClassVar[dict[str, str]] = {
        "too_short": "It has fewer than 12 characters.",
        "too_long": "It has more than 1024 bytes.",
        "is_email": "It is the e-mail address, or the part before the @.",
        "is_name": "It is the name.",
        "not_text": "It is no text that UTF-8 can hold.",
    }

    def __init__(self, codes: tuple[str, ...] = ()) -> None:
        """Take the codes of the rules."""
        super().__init__(codes)
        self.codes = codes

    def __str__(self) -> str:
        """Say which rules."""
        told = " ".join(self._SENTENCES.get(c, f"Refused: {c}.") for c in self.codes)
        return f"The password was not set. {told} Choose another one."


class InvalidCredentialsError(AuthenticationError):
    """A password or a code was wrong where the account's second factor is changed.

    Attributes:
        reason: Why, as `AuthResult.internal_reason` says it; not for the person who
            typed.
    """

    def __init__(self, reason: str = "wrong_password") -> None:
        """Take the reason."""
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        """Say what to do, and not which of them was wrong."""
        return (
            "The password or the code is not right, or not any more; nothing was "
            "changed. Ask for both again. After five failures the account is locked "
            "for a while, as at a login."
        )


class SecretKeyMissingError(AuthenticationError):
    """There is no key with which seeds of second factors are encrypted."""

    def __str__(self) -> str:
        """Say how to make one, and where it belongs."""
        return (
            "Second factors need a key, and there is none. Make one with "
            "cmcore.accounts.generate_key(), keep it outside the database, and set "
            "CMCORE_SECRET_KEY, or call cmcore.configure(secret_key=...)."
        )


class SecretDecryptionError(AuthenticationError):
    """The seed of a second factor cannot be read with the key that is set.

    Attributes:
        user_id: Whose seed it is.
    """

    def __init__(self, user_id: Any = None) -> None:
        """Take the user's id."""
        super().__init__(user_id)
        self.user_id = user_id

    def __str__(self) -> str:
        """Say what is wrong and what helps."""
        return (
            f"users {self.user_id!r}: the seed of the second factor cannot be "
            "decrypted. Set the key under which it was stored; if that is lost, let "
            "the user enrol again after `cmcore user disable-2fa`."
        )


class LastAdminError(AuthenticationError):
    """The last active administrator was to be disabled, demoted or deleted."""

    def __str__(self) -> str:
        """Say what to do first."""
        return (
            "users: nobody would be left who is an active admin; nothing was changed. "
            "Make another admin first: `cmcore user create ... --role admin`, or "
            "User.update(role=...)."
        )
