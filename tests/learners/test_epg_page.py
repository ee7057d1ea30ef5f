"""The loop on the page of Evolved Policy Gradients runs as printed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from learners.learned_loss.loss import FILE_NAME, LearnedLoss
from learners.learned_loss.network import LossConfig, LossShape, draw_phi
from learners.networks.spaces import SpaceSpec

PAGE = Path(__file__).resolve().parents[2] / "docs" / "epg.md"
PENDULUM = SpaceSpec((3,), "float32", action_size=1)


def page_code() -> str:
    code = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(code) == 1
    return str(code[0])


def names_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, updates: int, phi_seed: int) -> dict[str, Any]:
    """What the page's names hold after a short lifetime under a random loss."""
    shape = LossShape.of(LossConfig(), PENDULUM)
    LearnedLoss(shape, 2 * draw_phi(shape, np.random.default_rng(phi_seed))).save(tmp_path / FILE_NAME)
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    code, replaced = re.subn(r"UPDATES, M, N, B = 128, ", f"UPDATES, M, N, B = {updates}, ", page_code())
    assert replaced == 1
    names: dict[str, Any] = {}
    exec(compile(code, str(PAGE), "exec"), names)
    names["env"].close()
    return names


def test_the_loop_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = names_after(tmp_path, monkeypatch, updates=4, phi_seed=0)
    assert len(one["returns"]) == 1  # 256 steps are one episode of 200 and the beginning of the next
    assert -2000 < one["returns"][0] < 0
    assert one["history"].num_newest == 64
    assert one["log_std"].isfinite().all()
    assert not torch.equal(one["log_std"], torch.zeros(1))


def test_the_loss_is_what_moves_the_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, same, other = (names_after(tmp_path, monkeypatch, updates=2, phi_seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one["policy"][0].weight, same["policy"][0].weight)
    assert not torch.equal(one["policy"][0].weight, other["policy"][0].weight)


def test_the_page_is_as_short_as_it_says() -> None:
    code = [line for line in page_code().splitlines() if line.strip() and not line.startswith(("import", "from"))]
    assert len(code) <= 25
