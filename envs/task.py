"""Tasks as values: hashable, printable, and enough to rebuild their environments exactly; and their parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Split = Literal["train", "test"]
"""`train`: tasks to learn from. `test`: tasks held out from training."""

Mode = Literal["train", "evaluate"]
"""`train`: episodes as in training. `evaluate`: whole episodes under the family's published evaluation protocol."""

Value = float | int | str


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One number (or name) in which the tasks of a family differ.

    Attributes:
        name: key in `Task.params`.
        doc: what it does, with its unit.
        low, high: the range it is drawn from, both None for a parameter with `choices`.
        choices: the allowed names, empty for a numeric parameter.
    """

    name: str
    doc: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()

    @property
    def allowed(self) -> str:
        """The range as text: `[0.5, 2]`, or the choices, or `any`."""
        if self.choices:
            return ", ".join(self.choices)
        return "any" if self.low is None or self.high is None else f"[{self.low:g}, {self.high:g}]"


@dataclass(frozen=True, kw_only=True)
class Task:
    """One task: the family it belongs to and the parameters that make it this one.

    Attributes:
        family: the registered name of its family.
        params: (name, value) pairs in the family's order.
    """

    family: str
    params: tuple[tuple[str, Value], ...] = ()

    def __getitem__(self, name: str) -> Value:
        """Return the parameter `name`; KeyError when the task has none of that name."""
        return dict(self.params)[name]

    def number(self, name: str) -> float:
        """Return the parameter `name` as a float."""
        return float(self[name])

    def __str__(self) -> str:
        inner = ", ".join(f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}" for name, value in self.params)
        return f"{self.family}({inner})"


Plain = tuple[str, tuple[tuple[str, Value], ...]]
"""A task as plain values, for a checkpoint: its family and its parameters."""


def plain_task(task: Task) -> Plain:
    """Return `task` as plain values."""
    return task.family, task.params


def task_from_plain(plain: Any) -> Task:
    """Return the task of `plain_task`, also after a format that turned tuples into lists, or by name as older versions wrote it."""
    family, params = plain.values() if isinstance(plain, dict) else plain
    return Task(family=family, params=tuple((str(name), value) for name, value in params))
