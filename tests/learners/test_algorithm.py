"""Every algorithm's module has the functions of the protocol, with its argument names."""

from __future__ import annotations

import importlib
import inspect
from dataclasses import is_dataclass

import pytest

from learners.algorithm import Algorithm

OPTIONAL = {
    "adapt": ["agent", "config", "weights", "trajectories"],
    "keep_best": ["config", "state", "score"],
    "prepare": ["agent", "config", "state"],
}


def required() -> dict[str, list[str]]:
    functions = inspect.getmembers(Algorithm, inspect.isfunction)
    return {name: list(inspect.signature(one).parameters)[1:] for name, one in functions if not name.startswith("_")}


@pytest.mark.parametrize("name", ["epg", "impala", "maml", "ppo"])
def test_a_module_fulfils_the_protocol(name: str) -> None:
    module = importlib.import_module(f"learners.{name}")
    assert is_dataclass(module.Config)
    module.check(module.Config())
    for function, arguments in required().items():
        assert list(inspect.signature(getattr(module, function)).parameters) == arguments
    for function, arguments in OPTIONAL.items():
        if hasattr(module, function):
            assert list(inspect.signature(getattr(module, function)).parameters) == arguments
