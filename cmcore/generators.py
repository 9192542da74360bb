"""Generators whose body runs in a block that its consumer does not see."""

from collections.abc import AsyncIterator, Generator
from contextlib import AbstractContextManager
from typing import Any


def stepwise(
    block: AbstractContextManager[Any], generator: Any
) -> Generator[Any, Any, Any]:
    """Run each step of a generator inside the block, and its consumer outside."""
    step, argument = generator.send, None
    try:
        while True:
            try:
                with block:
                    produced = step(argument)
            except StopIteration as stop:
                return stop.value
            try:
                step, argument = generator.send, (yield produced)
            except GeneratorExit:
                raise
            except BaseException as error:  # noqa: BLE001 - handed to the generator
                step, argument = generator.throw, error
    finally:
        with block:
            generator.close()


async def async_stepwise(
    block: AbstractContextManager[Any], generator: Any
) -> AsyncIterator[Any]:
    """Run each step of an async generator inside the block."""
    step, argument = generator.asend, None
    try:
        while True:
            try:
                with block:
                    produced = await step(argument)
            except StopAsyncIteration:
                return
            try:
                step, argument = generator.asend, (yield produced)
            except GeneratorExit:
                raise
            except BaseException as error:  # noqa: BLE001 - handed to the generator
                step, argument = generator.athrow, error
    finally:
        with block:
            await generator.aclose()
