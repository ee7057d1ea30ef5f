"""The linear baseline against least squares with the penalties as rows."""

from __future__ import annotations

import numpy as np
import torch

from learners.ops.linear_baseline import features, linear_values
from tests.oracles.maml import phi

N, R, OBS = 3, 40, 2


def drawn(seed: int = 0) -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(seed)
    weight = (rng.random((N, R)) < 0.8).astype(np.float64)
    arrays = {"obs": rng.normal(scale=8, size=(N, R, OBS)), "target": rng.normal(scale=50, size=(N, R)), "weight": weight}
    return {name: torch.tensor(array) for name, array in arrays.items()} | {"time": torch.tensor(rng.integers(0, 200, (N, R)))}


def test_features_are_those_of_one_step_after_the_other() -> None:
    it = drawn()
    found = features(it["obs"], it["time"])
    want = [[phi(it["obs"][n, r].numpy(), int(it["time"][n, r])) for r in range(R)] for n in range(N)]
    np.testing.assert_allclose(found.numpy(), want, rtol=1e-12)
    assert found[..., :OBS].abs().max() == 10.0


def test_values_are_each_tasks_own_ridge_regression() -> None:
    it = drawn()
    found = linear_values(**it, ridge=0.5)
    for n in range(N):
        x, kept = features(it["obs"], it["time"])[n].numpy(), it["weight"][n].numpy() > 0
        rows = np.vstack([x[kept], np.sqrt(0.5) * np.eye(x.shape[1])])
        beta, *_ = np.linalg.lstsq(rows, np.concatenate([it["target"][n].numpy()[kept], np.zeros(x.shape[1])]), rcond=None)
        np.testing.assert_allclose(found[n].numpy(), x @ beta, rtol=1e-6, atol=1e-8)


def test_a_return_that_is_linear_in_time_is_found_and_constant_observations_do_no_harm() -> None:
    time = torch.arange(R).expand(N, R)
    found = linear_values(obs=torch.ones(N, R, OBS), time=time, target=(3.0 - 0.2 * time).float(), weight=torch.ones(N, R))
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), (3.0 - 0.2 * time).numpy(), atol=1e-2)


def test_steps_without_weight_and_other_tasks_are_not_fitted_to() -> None:
    it = drawn()
    before = linear_values(**it)
    spoiled = it["target"].clone()
    spoiled[it["weight"] == 0] = 1e6
    spoiled[0] += 7.0
    after = linear_values(**it | {"target": spoiled})
    torch.testing.assert_close(after[1:], before[1:])
    assert not torch.allclose(after[0], before[0])
