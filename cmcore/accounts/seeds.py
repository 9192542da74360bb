"""Seeds of second factors: encrypted at rest, bound to their user, shown as QR codes.

This is the one file that needs the extra `cmcore[accounts]`.
"""

import base64
import binascii
import io
import secrets
from typing import Any

from cmcore.accounts.settings import KEY_VARIABLE, settings
from cmcore.errors import (
    ConfigurationError,
    SecretDecryptionError,
    SecretKeyMissingError,
)

_VERSION = "v1:"
_KEY_BYTES = 32
_NONCE_BYTES = 12


def generate_key() -> str:
    """Return a new key for `CMCORE_SECRET_KEY`: 256 random bits as text."""
    return base64.urlsafe_b64encode(secrets.token_bytes(_KEY_BYTES)).decode()


def require() -> None:
    """Raise unless seeds can be encrypted and shown.

    Raises:
        ConfigurationError: The extra is not installed, or the key is none.
        SecretKeyMissingError: There is no key.
    """
    _qr_library()
    _cipher(None)


def require_key(key: Any, name: str) -> None:
    """Raise `ConfigurationError`, which names the argument, for what is no key."""
    _key_bytes(key, name)


def encrypted(seed: str, user_id: str, key: str | None = None) -> str:
    """Return a seed as it is stored: AES-256-GCM, bound to the user."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    sealed = _cipher(key).encrypt(nonce, seed.encode(), user_id.encode())
    return _VERSION + base64.urlsafe_b64encode(nonce + sealed).decode()


def decrypted(stored: Any, user_id: str, key: str | None = None) -> str:
    """Return the seed again.

    Raises:
        SecretDecryptionError: Another key, another user, or no ciphertext at all.
        SecretKeyMissingError: There is no key.
    """
    cipher = _cipher(key)
    text = str(stored or "")
    try:
        data = base64.urlsafe_b64decode(text.removeprefix(_VERSION))
        nonce, sealed = data[:_NONCE_BYTES], data[_NONCE_BYTES:]
        seed: bytes = cipher.decrypt(nonce, sealed, user_id.encode())
    except (cipher.invalid, ValueError) as error:
        raise SecretDecryptionError(user_id) from error
    if not text.startswith(_VERSION):
        raise SecretDecryptionError(user_id)
    return seed.decode()


def qr_text(uri: str) -> str:
    """Return a QR code as text for a dark terminal."""
    drawn = io.StringIO()
    _qr_library().make(uri, error="m", micro=False).terminal(out=drawn, compact=True)
    return drawn.getvalue()


class _Cipher:
    """AES-256-GCM under one key."""

    def __init__(self, key: str) -> None:
        try:
            from cryptography.exceptions import InvalidTag
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError as error:
            raise _missing_extra() from error
        aead = AESGCM(_key_bytes(key))
        self.invalid = InvalidTag
        self.encrypt = aead.encrypt
        self.decrypt = aead.decrypt


def _cipher(key: str | None) -> _Cipher:
    if key is None:
        key = settings.key()
    if key is None:
        raise SecretKeyMissingError
    return _Cipher(key)


def _key_bytes(key: Any, name: str = f"{KEY_VARIABLE}, or secret_key=...,") -> bytes:
    try:
        data = base64.b64decode(key.encode(), b"-_", validate=True)
    except (AttributeError, binascii.Error, ValueError):
        data = b""
    if len(data) != _KEY_BYTES:
        msg = (
            f"{name} is no key: it must be 32 bytes in URL-safe base64, as "
            "cmcore.accounts.generate_key() returns them."
        )
        raise ConfigurationError(msg)
    return data


def _qr_library() -> Any:
    try:
        import segno
    except ImportError as error:
        raise _missing_extra() from error
    return segno


def _missing_extra() -> ConfigurationError:
    msg = 'Second factors need an extra: pip install "cmcore[accounts]".'
    return ConfigurationError(msg)
