"""`metaray version`: what is installed, for a bug report."""

from __future__ import annotations

from dataclasses import dataclass

from cluster.store.versions import library_versions


@dataclass(frozen=True, kw_only=True)
class Version:
    """Print the versions of metaray and of everything that its results depend on."""

    def run(self, command: str) -> int:
        """Print one version a line."""
        for name, version in library_versions().items():
            print(f"{name:12} {version}")
        return 0
