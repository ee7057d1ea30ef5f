"""Settings that are known to work, by name, in a TOML file for each algorithm: each lists only what differs from the config's defaults.

    [hopper]                      name of the preset; a name that begins with _ is of settings that presets share
    shows, time                   what it shows, one line; typical time of training on a laptop with 2 cores
    like = "_locomotion"          the table whose settings it takes over
    learner.gamma = 0.98          every other key is a setting, as after `--set`; `family` is always among them

Read without loading torch; `overrides.apply` checks the settings like any other input.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.overrides import flattened


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A named group of settings; see the module for its attributes.

    Attributes:
        settings: values by dotted key.
    """

    name: str
    shows: str
    time: str
    settings: Mapping[str, Any]

    @property
    def family(self) -> str:
        """The task family that it trains on."""
        return str(self.settings["family"])


def presets_of(algorithm: str) -> dict[str, Preset]:
    """The presets of an algorithm, by name."""
    tables = tomllib.loads(Path(__file__).with_name(f"{algorithm}.toml").read_text(encoding="utf-8"))
    return {
        name: Preset(name=name, shows=table["shows"], time=table["time"], settings=_settings(tables, table))
        for name, table in tables.items()
        if not name.startswith("_")
    }


def _settings(tables: Mapping[str, Any], table: Mapping[str, Any]) -> dict[str, Any]:
    shared = _settings(tables, tables[table["like"]]) if "like" in table else {}
    own = {name: value for name, value in table.items() if name not in ("shows", "time", "like")}
    return shared | dict(flattened(own))
