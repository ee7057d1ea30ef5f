"""What the arguments of several commands have in common."""

from __future__ import annotations

from typing import Annotated, Any

from tyro.conf import Positional, arg

from envs.errors import InvalidInputError, out_of_range


def option(text: str, metavar: str | None = None) -> Any:
    """Return an argument of a command whose help is this text alone, without tyro's hint at the default."""
    return arg(metavar=metavar, help=text, help_behavior_hint="")


RunArgument = Annotated[Positional[str], option("run directory", "RUN")]
RunArguments = Annotated[Positional[tuple[str, ...]], option("run directories", "RUN [RUN ...]")]


def check_range(name: str, value: int | None, low: int, high: int, why: str = "") -> None:
    """Make sure that a number that was given is in [low, high]; InvalidInputError when not."""
    if value is not None and not low <= value <= high:
        raise out_of_range(name, value, f"[{low:,}, {'2^53' if high == 2**53 else f'{high:,}'}]{why}")


def check_seed(seed: int) -> None:
    """Make sure that a seed is one; InvalidInputError when not."""
    if not 0 <= seed < 2**53:
        raise out_of_range("--seed", seed, "[0, 2^53)")


def check_any(runs: tuple[str, ...], command: str) -> None:
    """Make sure that there is a run directory among the arguments; InvalidInputError when not."""
    if not runs:
        raise InvalidInputError(f"give at least one run directory: {command} RUN...")
