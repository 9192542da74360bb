"""What applications test with."""

from cmcore.testing.leaks import assert_no_leaks
from cmcore.testing.passwords import cheap_passwords

__all__ = ["assert_no_leaks", "cheap_passwords"]
