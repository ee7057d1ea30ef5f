"""Versions of everything that a result depends on, without importing any of it."""

from __future__ import annotations

import platform
from importlib import metadata

LIBRARIES = ("metaray", "torch", "numpy", "mujoco", "gymnasium", "ale-py", "ray", "safetensors")


def library_versions() -> dict[str, str]:
    """Version by name, for Python and for those libraries that are installed."""
    versions = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # ray and the simulators are extras
            continue
    return versions
