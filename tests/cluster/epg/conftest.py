"""The phi of these tests belongs to no loss, so no loss file is written."""

from __future__ import annotations

import pytest

from tests.cluster.epg.evolving import small_init


@pytest.fixture(autouse=True)
def _small_phi(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("learners.epg.init", small_init)
    monkeypatch.setattr("cluster.run.lifetimes.LossFiles", lambda config, directory: lambda state: None)
