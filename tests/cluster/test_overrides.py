"""From typed text and files to a checked config."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import pytest
from msgspec import Meta

from cluster import overrides
from envs.errors import InvalidInputError


@dataclass(frozen=True, kw_only=True)
class Inner:
    gamma: Annotated[float, Meta(ge=0, le=1, description="discount per step")] = 0.99
    lambda_: Annotated[float, Meta(gt=0, lt=2)] = 1.0
    kind: Annotated[Literal["adam", "rmsprop"], Meta(description="update rule")] = "adam"


@dataclass(frozen=True, kw_only=True)
class Middle:
    inner: Inner = field(default_factory=Inner)
    sizes: tuple[Annotated[int, Meta(ge=1, le=4096)], ...] = (64, 64)


@dataclass(frozen=True, kw_only=True)
class Outer:
    seed: Annotated[int, Meta(ge=0, le=2**53)] = 0
    limit: Annotated[Annotated[float, Meta(gt=0)] | None, Meta(description="seconds; null: never")] = None
    is_fast: bool = False
    name: Annotated[str, Meta(min_length=1)] = "x"
    middle: Middle = field(default_factory=Middle)


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("seed=2e6", "seed", 2_000_000),
        ("seed=1_000", "seed", 1000),
        ("limit=2.5", "limit", 2.5),
        ("limit=none", "limit", None),
        ("limit = null", "limit", None),
        ("is_fast=yes", "is_fast", True),
        ("is_fast=false", "is_fast", False),
        ("name=gym:A=B", "name", "gym:A=B"),
        ("name=none", "name", "none"),
        ("middle.inner.gamma=1", "middle.inner.gamma", 1.0),
        ("middle.inner.kind=rmsprop", "middle.inner.kind", "rmsprop"),
        ("middle.sizes=256,128", "middle.sizes", (256, 128)),
        ("middle.sizes=[32]", "middle.sizes", (32,)),
        ("middle.sizes=", "middle.sizes", ()),
    ],
)
def test_a_typed_value_becomes_one_of_its_type(text: str, key: str, value: object) -> None:
    changed: object = overrides.apply(Outer(), overrides.parse_assignments([text]))
    for part in key.split("."):
        changed = getattr(changed, part)
    assert changed == value
    assert type(changed) is type(value)


def test_only_the_named_settings_change() -> None:
    changed = overrides.apply(Outer(seed=3), {"middle.inner.gamma": "0.5", "name": "y"})
    assert changed == Outer(seed=3, name="y", middle=Middle(inner=Inner(gamma=0.5)))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("middle.inner.gamma=1.5", "middle.inner.gamma = 1.5 is out of range: allowed is a number in [0, 1]"),
        ("middle.inner.lambda_=0", "middle.inner.lambda_ = 0 is out of range: allowed is a number in (0, 2)"),
        ("seed=-1", "seed = -1 is out of range: allowed is an integer in [0, 9,007,199,254,740,992]"),
        ("limit=0", "limit = 0 is out of range: allowed is a number > 0 or null"),
        ("limit=inf", "limit = inf is out of range: allowed is a number > 0 or null"),
        ("middle.inner.gamma=nan", "middle.inner.gamma = nan is out of range: allowed is a number in [0, 1]"),
        ("seed=1.5", "seed = '1.5': expected an integer in [0, 9,007,199,254,740,992]"),
        ("is_fast=maybe", "is_fast = 'maybe': expected true or false"),
        ("middle.inner.kind=adm", "middle.inner.kind = 'adm': expected adam or rmsprop"),
        ("middle.sizes=a,b", "middle.sizes = 'a,b': expected a list of integers in [1, 4,096], such as 64,64"),
        ("middle.sizes=0", "middle.sizes = '0': expected a list of integers in [1, 4,096], such as 64,64"),
        ("name=", "name = '': expected text of at least 1 character"),
        ("middle.inner.gama=1", "unknown key 'middle.inner.gama'; did you mean middle.inner.gamma?"),
        ("gamma=1", "unknown key 'gamma'; did you mean middle.inner.gamma?"),
        ("lambda=1", "unknown key 'lambda'; did you mean middle.inner.lambda_?"),
        ("zzz=1", "unknown key 'zzz'; `metaray presets NAME` lists all keys"),
        (
            "middle.inner=1",
            "middle.inner is a group of settings: name one of middle.inner.gamma, middle.inner.lambda_, middle.inner.kind",
        ),
        ("seed", "--set seed: expected key=value, such as learner.gamma=0.95"),
        ("=3", "--set =3: expected key=value, such as learner.gamma=0.95"),
    ],
)
def test_wrong_input_gets_one_line_with_what_is_allowed(text: str, line: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        overrides.apply(Outer(), overrides.parse_assignments([text]))
    assert str(caught.value) == line


def test_a_config_survives_the_way_through_a_file() -> None:
    config = Outer(seed=2**53, limit=0.5, middle=Middle(sizes=(1, 2, 3), inner=Inner(gamma=0.0)))
    assert overrides.from_tree(Outer, overrides.to_tree(config), "config.json") == config


@pytest.mark.parametrize(
    ("tree", "line"),
    [
        ({"sead": 1}, "config.json: unknown key 'sead'; did you mean seed?"),
        (
            {"middle": {"inner": {"gamma": 2}}},
            "config.json: middle.inner.gamma = 2 is out of range: allowed is a number in [0, 1]",
        ),
        ({"middle": {"inner": {"gamma": "high"}}}, "config.json: middle.inner.gamma = 'high': expected a number in [0, 1]"),
        ({"middle": {"inner": 3}}, "config.json: middle.inner = 3: expected a group of settings"),
        ({"middle": 3}, "config.json: middle = 3: expected a group of settings"),
        ({"seed": {"a": 1}}, "config.json: unknown key 'seed.a'; did you mean seed?"),
        ({"seed": True}, "config.json: seed = true: expected an integer in [0, 9,007,199,254,740,992]"),
        ([1], "config.json: expected an object of settings, found list"),
    ],
)
def test_a_file_is_checked_like_the_command_line(tree: object, line: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        overrides.from_tree(Outer, tree, "config.json")
    assert str(caught.value) == line
