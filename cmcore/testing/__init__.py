"""What applications test with."""

from cmcore.testing.leaks import assert_no_leaks

__all__ = ["assert_no_leaks"]
