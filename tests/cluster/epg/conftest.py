"""The phi of these tests belongs to no loss, so none is kept of it."""

from __future__ import annotations

import pytest

from tests.cluster.epg.evolving import first_phi


@pytest.fixture(autouse=True)
def _small_phi(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("cluster.epg.replay", "cluster.epg.training"):
        monkeypatch.setattr(f"{module}.first_phi", first_phi)
    monkeypatch.setattr("cluster.epg.training.LossFiles", lambda config, directory: lambda state: None)
