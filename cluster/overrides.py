"""From text of the command line, or a file, to a checked config: `--set learner.gamma=0.95`.

The keys, types, ranges and docs all come from the config's own dataclasses (`cluster.config`), so nothing is declared twice.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from envs.errors import InvalidInputError, out_of_range

Config = TypeVar("Config")

_WORDS = {"yes": "true", "on": "true", "no": "false", "off": "false"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Key:
    """One setting: its dotted name, what it may be, and one line of doc."""

    name: str
    hint: Any
    doc: str

    @property
    def allowed(self) -> str:
        """What it may be, in words: `a number in [0, 1]`."""
        return _in_words(self.hint)

    def hint_is(self, plain: type) -> bool:
        """Whether it is of this type, or null."""
        return plain in _members(self.hint)

    def of(self, config: Any) -> Any:
        """Its value in a config."""
        return functools.reduce(getattr, self.name.split("."), config)


@functools.cache
def keys(config_type: type) -> dict[str, Key]:
    """Every setting of a config and its parts, by dotted name, in the order of declaration."""
    return {key.name: key for key in _walk(config_type, "")}


def _walk(config_type: type, prefix: str) -> Iterator[Key]:
    hints = get_type_hints(config_type, include_extras=True)
    for field in dataclasses.fields(config_type):
        hint, name = hints[field.name], prefix + field.name
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            yield from _walk(hint, name + ".")
        else:
            docs = [meta.description for meta in _metas(hint) if meta.description]
            yield Key(name=name, hint=hint, doc=docs[0] if docs else "")


def parse_assignments(assignments: Iterable[str]) -> dict[str, str]:
    """Split `key=value` texts; the last one wins where a key is given twice.

    Raises:
        InvalidInputError: a text without `=` or with nothing before it.
    """
    parsed: dict[str, str] = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise InvalidInputError(f"--set {text}: expected key=value, such as learner.gamma=0.95")
        parsed[name.strip()] = value.strip()
    return parsed


def apply(config: Config, changes: Mapping[str, Any]) -> Config:
    """Return `config` with the settings in `changes` (by dotted name) changed, each checked against its type and range.

    Values may be texts, as on a command line, or of the right type already, as in a file. Checks that span several fields are the
    caller's (`cluster.algorithms.Row.check`).

    Raises:
        InvalidInputError: an unknown key, with the nearest ones, or a value of the wrong type or out of range, with what is allowed.
    """
    config_type = type(config)
    values = {name: convert(find(config_type, name), value) for name, value in changes.items()}
    return _replace(config, values, "")


def from_tree(config_type: type[Config], tree: Any, source: str) -> Config:
    """Return the config that nested dicts (of a file called `source`) spell out; what they leave out keeps its default."""
    if not isinstance(tree, dict):
        raise InvalidInputError(f"{source}: expected an object of settings, found {type(tree).__name__}")
    try:
        _check_groups(tree, config_type)
        return apply(config_type(), dict(flattened(tree)))
    except InvalidInputError as error:
        raise InvalidInputError(f"{source}: {error}") from None


def to_tree(config: Any) -> dict[str, Any]:
    """Return `config` as nested dicts of JSON-able values: what `from_tree` reads."""
    tree = msgspec.to_builtins(config)
    assert isinstance(tree, dict)
    return tree


def flattened(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The settings of nested dicts, by dotted name."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from flattened(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def convert(key: Key, value: Any) -> Any:
    """Return `value` as the type of `key`.

    Raises:
        InvalidInputError: names the key, the value and what is allowed.
    """
    prepared = _prepare(key.hint, value) if isinstance(value, str) else value
    try:
        converted = msgspec.convert(prepared, key.hint, strict=not isinstance(value, str))
    except msgspec.ValidationError:
        _refuse(key, value, prepared)
    if isinstance(converted, float) and not math.isfinite(converted):
        raise out_of_range(key.name, value, key.allowed)
    return converted


def _refuse(key: Key, value: Any, prepared: Any) -> NoReturn:
    """Raise the error for `value`: out of range if it is a number of the right type, else of the wrong type."""
    shown = repr(value) if isinstance(value, str) else msgspec.json.encode(value).decode()
    try:
        plain = msgspec.convert(prepared, _without_ranges(key.hint), strict=not isinstance(value, str))
    except msgspec.ValidationError:
        plain = None
    if isinstance(plain, int | float):
        raise out_of_range(key.name, value, key.allowed)
    raise InvalidInputError(f"{key.name} = {shown}: expected {key.allowed}")


def find(config_type: type, name: str) -> Key:
    """Return the key called `name`, or raise with the nearest names."""
    known = keys(config_type)
    if name in known:
        return known[name]
    inside = [candidate for candidate in known if candidate.startswith(name + ".")]
    if inside:
        raise InvalidInputError(f"{name} is a group of settings: name one of {', '.join(inside)}")
    # the group may be missing, so the last part counts as much as the whole
    scores = {
        candidate: max(_likeness(name, candidate), _likeness(_last_part(name), _last_part(candidate))) for candidate in known
    }
    best = max(scores.values())
    near = sorted((one for one in known if scores[one] >= max(0.7, best - 0.05)), key=lambda one: -scores[one])[:3]
    hint = f"did you mean {' or '.join(near)}?" if near else "`metaray presets NAME` lists all keys"
    raise InvalidInputError(f"unknown key {name!r}; {hint}")


def _last_part(name: str) -> str:
    return name.rpartition(".")[2].rstrip("_")


def _likeness(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other).ratio()


def _check_groups(tree: Mapping[str, Any], config_type: type) -> None:
    """Make sure that a group of settings is given as a group; InvalidInputError when not."""
    groups = {name.rpartition(".")[0] for name in keys(config_type)}
    groups |= {group.partition(".")[0] for group in groups}
    for name, value in flattened(tree):
        if name in groups:
            raise InvalidInputError(f"{name} = {value!r}: expected a group of settings")


def _replace(config: Config, values: Mapping[str, Any], prefix: str) -> Config:
    """Build each dataclass once, with all its changes, so that its own checks never see half of them."""
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(config):  # type: ignore[arg-type]
        name, current = prefix + field.name, getattr(config, field.name)
        if name in values:
            changes[field.name] = values[name]
        elif dataclasses.is_dataclass(current) and any(key.startswith(name + ".") for key in values):
            changes[field.name] = _replace(current, values, name + ".")
    return dataclasses.replace(config, **changes) if changes else config  # type: ignore[type-var]


def _prepare(hint: Any, text: str) -> Any:
    """Bring a typed text nearer to its type: lists split at commas, `1_000` to `1000`, `none` to null, `yes` to true."""
    members = _members(hint)
    if type(None) in members and text.lower() in ("none", "null", ""):
        return None
    if any(get_origin(member) in (tuple, list) for member in members):
        inner = text.strip("[]() ")
        return [part.strip() for part in inner.split(",") if part.strip()]
    if bool in members:
        return _WORDS.get(text.lower(), text)
    if int in members or float in members:
        return text.replace("_", "")
    return text


def _metas(hint: Any) -> list[msgspec.Meta]:
    """The annotations of a type and of the members of its union, outermost first."""
    if get_origin(hint) is Annotated:
        inner, *extras = get_args(hint)
        return [extra for extra in extras if isinstance(extra, msgspec.Meta)] + _metas(inner)
    if get_origin(hint) in (Union, types.UnionType):
        return [meta for member in get_args(hint) for meta in _metas(member)]
    return []


def _members(hint: Any) -> list[Any]:
    """The plain types that a hint allows."""
    if get_origin(hint) is Annotated:
        return _members(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType):
        return [plain for member in get_args(hint) for plain in _members(member)]
    return [hint]


def _without_ranges(hint: Any) -> Any:
    return functools.reduce(lambda left, right: left | right, _members(hint))


def _in_words(hint: Any) -> str:
    limits = " ".join(filter(None, map(_range, _metas(hint))))
    words: list[str] = []
    for member in _members(hint):
        if member is type(None):
            words.append("null")
        elif get_origin(member) is Literal:
            words.append(" or ".join(map(str, get_args(member))))
        elif get_origin(member) in (tuple, list):
            item = get_args(member)[0]
            of = " ".join(filter(None, (_PLURAL.get(_members(item)[0], "values"), *map(_range, _metas(item)))))
            words.append(f"a list of {of}, such as 64,64")
        else:
            words.append(_SINGULAR.get(member, getattr(member, "__name__", str(member))) + (f" {limits}" if limits else ""))
    return " or ".join(words)


_SINGULAR = {int: "an integer", float: "a number", bool: "true or false", str: "text"}
_PLURAL = {int: "integers", float: "numbers", bool: "true or false", str: "texts"}


def _range(meta: msgspec.Meta) -> str:
    """The limits of `meta` in words, empty where it has none: `in [0, 1]`, `>= 1`, `of at least 1 character`."""
    low = meta.ge if meta.ge is not None else meta.gt
    high = meta.le if meta.le is not None else meta.lt
    if low is not None and high is not None:
        return f"in {'[' if meta.ge is not None else '('}{_number(low)}, {_number(high)}{']' if meta.le is not None else ')'}"
    if low is not None:
        return f"{'>=' if meta.ge is not None else '>'} {_number(low)}"
    if high is not None:
        return f"{'<=' if meta.le is not None else '<'} {_number(high)}"
    return "of at least 1 character" if meta.min_length == 1 else ""


def _number(limit: float) -> str:
    return f"{limit:,}" if isinstance(limit, int) and limit < 10**16 else f"{limit:g}"
