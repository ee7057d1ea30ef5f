"""Versions of the libraries that a result depends on, without importing them."""

from __future__ import annotations

import platform
from importlib import metadata

LIBRARIES = ("metaray", "torch", "numpy", "mujoco", "gymnasium", "ale-py", "ray", "safetensors")


def library_versions() -> dict[str, str]:
    """Versions of Python and of the installed libraries, by name."""
    versions = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # ray and the simulators are extras
            continue
    return versions
