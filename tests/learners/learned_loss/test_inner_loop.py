"""Initial weights of a lifetime: the released code's, and the same with every output of unit norm."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from oracles.first_weights import released_layer

from learners.learned_loss.inner_loop import LifetimeConfig, draw_start
from learners.networks.spaces import SpaceSpec

HOPPER, CARTPOLE = SpaceSpec((11,), "float32", action_size=3), SpaceSpec((4,), "float32", num_actions=2)
CONFIG = LifetimeConfig(hidden_sizes=(64, 48))


def drawn_again(config: LifetimeConfig, spec: SpaceSpec, seed: int) -> dict[str, np.ndarray]:
    """The normal numbers behind each weight, in the order of the draws, as the released code lays them out: [outputs, inputs]."""
    rng, num_outputs = np.random.default_rng(seed), spec.num_actions or spec.action_size
    layers = list(enumerate(pairwise((spec.obs_shape[0], *config.hidden_sizes, num_outputs))))
    normal = {f"policy.{index}.weight": rng.standard_normal(shape).T for index, shape in layers}
    normal["memory.weight"] = rng.standard_normal((32, 64))
    values = list(enumerate(pairwise((spec.obs_shape[0], *config.hidden_sizes, 1))))
    return normal | {f"value.{index}.weight": rng.standard_normal(shape).T for index, shape in values}


@pytest.mark.parametrize("spec", [HOPPER, CARTPOLE], ids=["continuous", "discrete"])
def test_first_weights_are_those_of_the_released_code(spec: SpaceSpec) -> None:
    start = draw_start(CONFIG, spec, np.random.default_rng(3))
    for name, normal in drawn_again(CONFIG, spec, 3).items():
        weight = start[name] if name == "memory.weight" else start[name].T
        expected = released_layer(normal, is_last=name in ("policy.2.weight", "value.2.weight", "memory.weight"))
        np.testing.assert_allclose(weight, expected, rtol=1e-12, err_msg=name)
    assert all(not array.any() for name, array in start.items() if not name.endswith("weight"))
    assert start["memory.weight"].shape == (32, 64)
    np.testing.assert_allclose(np.linalg.norm(start["memory.weight"], axis=0), 0.01)


def test_unit_norm_per_output_changes_the_networks_and_not_the_memory() -> None:
    per_output = replace(CONFIG, unit_norm_per="output")
    start, released = (draw_start(config, HOPPER, np.random.default_rng(3)) for config in (per_output, CONFIG))
    for name, normal in drawn_again(CONFIG, HOPPER, 3).items():
        if name == "memory.weight":
            np.testing.assert_array_equal(start[name], released[name])
            continue
        # what enters an output is a row of [outputs, inputs]: the column of the transpose
        expected = released_layer(normal.T, is_last=name.endswith("2.weight"))
        np.testing.assert_allclose(start[name], expected, rtol=1e-12, err_msg=name)
        assert not np.allclose(start[name], released[name])


def test_observations_reach_the_first_tanh_as_small_as_in_the_released_code() -> None:
    """Eleven unit vectors of 64 numbers: a standard deviation of sqrt(11 / 64), where unit norm per output gives 1."""
    obs = np.random.default_rng(0).standard_normal((2000, 11))
    released, per_output = (
        (obs @ draw_start(config, HOPPER, np.random.default_rng(1))["policy.0.weight"]).std()
        for config in (CONFIG, replace(CONFIG, unit_norm_per="output"))
    )
    assert released == pytest.approx(np.sqrt(11 / 64), rel=0.03)
    assert per_output == pytest.approx(1.0, rel=0.03)
