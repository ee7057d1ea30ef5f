"""Where a run takes place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Where:
    """Where a run takes place.

    Attributes:
        is_local: on this machine, without Ray.
        address: the Ray cluster to attach to; None starts one on this machine.
        is_insecure: without Ray's token authentication.
        run_name: prefix of the names of actors.
    """

    is_local: bool
    address: str | None = None
    is_insecure: bool = False
    run_name: str = "run"

    @property
    def in_words(self) -> str:
        """Where, in words."""
        if self.is_local:
            return "in this process"
        return f"on the Ray cluster at {self.address}" if self.address else "a Ray cluster on this machine"

    def with_actors(self, num_actors: int) -> str:
        """Where, for a run whose actors are processes if there is more than one."""
        return f"{num_actors} processes on this machine" if self.is_local and num_actors > 1 else self.in_words
