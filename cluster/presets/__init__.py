"""Settings that are known to work, by name, a file for each algorithm: each lists only what differs from the defaults of its config.

Plain data on purpose: `metaray presets` shows them without loading torch, and `overrides.apply` checks them like any other input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A named group of settings.

    Attributes:
        name: as a person types it.
        shows: what it shows, one line.
        time: typical time of training on a laptop with 2 cores.
        settings: values by dotted key; `family` is always among them.
    """

    name: str
    shows: str
    time: str
    settings: Mapping[str, Any]

    @property
    def family(self) -> str:
        """The task family that it trains on."""
        return str(self.settings["family"])


def by_name(*presets: Preset) -> dict[str, Preset]:
    """Presets by their names."""
    return {preset.name: preset for preset in presets}
