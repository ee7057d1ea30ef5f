"""Which registered environment `gym:<id>` means, and where it means none the nearest ones that can run here."""

from __future__ import annotations

import difflib
import re
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec, load_env_creator

from envs.errors import InvalidInputError, described
from envs.user import import_module

MAX_SUGGESTED = 3
_VERSION = re.compile(r"-v\d+$")


def registered_id(env_id: str) -> str:
    """Return the id under which `env_id` is registered: itself, without the module that it names and that is imported for it.

    Raises:
        InvalidInputError: the module cannot be imported, or nothing of that id is registered; the line names the nearest ids.
    """
    module, _, name = env_id.rpartition(":")
    if module:
        import_module(f"gym:{env_id}", module)
    if name not in gymnasium.registry:
        _register_atari()
    if name in gymnasium.registry:
        return name
    hint = suggestion(name, prefix=f"gym:{module}:" if module else "gym:")
    raise InvalidInputError(f"unknown Gymnasium environment {name!r}{hint} ({len(gymnasium.registry)} are registered)")


def _register_atari() -> None:
    """Register the games of `ale_py`: `ALE/Pong-v5`, `PongNoFrameskip-v4`."""
    import ale_py

    gymnasium.register_envs(ale_py)
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)  # no banner of the emulator between our lines


def suggestion(name: str, prefix: str) -> str:
    """Say which environments may have been meant by `name`, of those that can run here: the newest version of each.

    Args:
        name: a registered id that cannot be made, or one that is not registered.
        prefix: what users type in front of an id.

    Returns:
        `; did you mean gym:CartPole-v1?`, or what the one that was meant lacks here, or nothing.
    """
    groups = _nearest(name)
    found = [spec.id for spec in (_newest_that_loads(group, name) for group in groups) if spec is not None]
    if found:
        return f"; did you mean {' or '.join(prefix + one for one in found[:MAX_SUGGESTED])}?"
    if groups and name not in gymnasium.registry:
        newest = groups[0][0]
        return f"; the nearest one is {prefix}{newest.id}, which cannot be made here: {_what_it_lacks(newest)}"
    return ""


def _key(env_id: str) -> tuple[str, str]:
    """The namespace of an id and its name without the version, in lower case."""
    namespace, _, name = _VERSION.sub("", env_id).lower().rpartition("/")
    return namespace, name


def _nearest(name: str) -> list[list[EnvSpec]]:
    """The registered environments of the same name or else of similar ones, best first, each as all its versions, newest first."""
    groups: dict[tuple[str, str], list[EnvSpec]] = {}
    for spec in gymnasium.registry.values():
        groups.setdefault(_key(spec.id), []).append(spec)
    namespace, wanted = _key(name)

    def by_namespace(key: tuple[str, str]) -> tuple[bool, str]:
        return key[0] != namespace, key[0]

    near = sorted((key for key in groups if key[1] == wanted), key=by_namespace)
    if not near:
        # many of them, since the nearest ones may not run here
        close = difflib.get_close_matches(wanted, {key[1] for key in groups}, n=4 * MAX_SUGGESTED, cutoff=0.6)
        near = [key for candidate in close for key in sorted(groups, key=by_namespace) if key[1] == candidate]
    return [sorted(groups[key], key=lambda spec: -(spec.version or 0)) for key in near]


def _newest_that_loads(specs: list[EnvSpec], name: str) -> EnvSpec | None:
    return next((spec for spec in specs if spec.id != name and not _what_it_lacks(spec)), None)


def _what_it_lacks(spec: EnvSpec) -> str:
    """Why the class of an environment cannot be had; nothing where it can be."""
    entry: Any = spec.entry_point
    # gymnasium keeps ids that it gave up registered, with a function that does nothing but raise
    if entry is None or (getattr(entry, "__module__", "").startswith("gymnasium.") and entry.__name__.startswith("_raise")):
        return "it was given up"
    if isinstance(entry, str):
        try:
            load_env_creator(entry)
        except (Exception, SystemExit) as error:
            return described(error)
    return ""
