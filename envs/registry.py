"""Looks up task families by name.

    hopper-dynamics     a registered name
    atari:pong          one Atari game; atari:pong-sticky with sticky actions
    gym:CartPole-v1     any registered Gymnasium environment
    module:object       the user's own family: a `TaskFamily`, or a class or callable without arguments that gives one

Engines are imported when a name of theirs is looked up, so that training on CartPole needs neither MuJoCo nor an Atari emulator in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from envs.atari.games import GAMES, SUFFIX_STICKY
from envs.errors import InvalidInputError, unknown
from envs.family import TaskFamily

Factories = Mapping[str, Callable[[], TaskFamily]]


def _engines(with_mujoco: bool = True) -> Iterator[Factories]:
    """The registered families, engine by engine, the cheapest to import first."""
    from envs.classic.families import CLASSIC_FAMILIES

    yield CLASSIC_FAMILIES
    from envs.atari.families import ATARI_FAMILIES

    yield ATARI_FAMILIES
    from envs.fetch import FETCH_FAMILIES

    yield FETCH_FAMILIES
    if not with_mujoco:
        return
    from envs.mujoco.families import MUJOCO_FAMILIES

    yield MUJOCO_FAMILIES


def family_names() -> list[str]:
    """The registered names, sorted; each Atari game's among them."""
    return sorted(name for factories in _engines() for name in factories)


def listed_families() -> list[TaskFamily]:
    """The families to list, sorted by name: the Atari games stand together as `atari57`, whose `doc` says how to name one."""
    shown = {name: make for factories in _engines() for name, make in factories.items() if ":" not in name}
    return [shown[name]() for name in sorted(shown)]


def module_of(name: str) -> str:
    """The user's module in a family's name: of `module:object` and `gym:module:Id-v0`; empty for other names."""
    scheme, _, rest = name.partition(":")
    if scheme == "gym":
        return rest.rpartition(":")[0]
    return scheme if rest and scheme != "atari" else ""


def resolve(name: str) -> TaskFamily:
    """Return the family called `name`.

    Raises:
        InvalidInputError: no such family, environment, module or object; the line names the nearest ones.
    """
    scheme, colon, rest = name.partition(":")
    if colon and scheme == "gym":
        from envs.gymnasium_env import GymnasiumFamily

        return GymnasiumFamily(rest)
    if colon and scheme != "atari":
        from envs.user import load_family

        return load_family(name)
    for factories in _engines(with_mujoco=not colon):
        if name in factories:
            return factories[name]()
    raise _unknown_game(rest) if colon else _unknown_family(name)


def _unknown_game(name: str) -> InvalidInputError:
    """The error for what follows `atari:`."""
    return unknown("Atari game", name.removesuffix(SUFFIX_STICKY), GAMES)


def _unknown_family(name: str) -> InvalidInputError:
    """The error for a name without a colon; a game's bare name is answered with its full one."""
    game = name.removeprefix("atari-").replace("-", "_")
    names = [registered for registered in family_names() if ":" not in registered]
    if game in GAMES:
        return InvalidInputError(f"unknown task family {name!r}; did you mean atari:{game}? (one of: {', '.join(names)})")
    return unknown("task family", name, [*names, "atari:<game>", "gym:<id>", "module:object"])
