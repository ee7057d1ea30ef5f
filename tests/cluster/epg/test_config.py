"""The config of an outer loop and its presets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cluster.algorithms import ALGORITHMS, find_preset
from cluster.config import EpgRunConfig
from cluster.overrides import apply, from_tree, to_tree
from envs.errors import InvalidInputError
from learners.evolution import EvolutionConfig

CONFIG, PRESETS = EpgRunConfig(), ALGORITHMS["epg"].presets
PUBLISHED = EvolutionConfig(antithetic=False, common_random_numbers=False)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"num_workers": 100}, "num_workers = 100 must be a multiple of num_vectors = 64, .*: try 64 or 128"),
        ({"num_workers": 32}, "num_workers = 32 must be a multiple of num_vectors = 64, .*: try 64$"),
        ({"num_vectors": 7}, "num_vectors = 7 must be even, .*: try 6 or 8"),
        ({"num_vectors": 1}, "num_vectors = 1 must be even, .*: try 2 "),
        ({"lives_per_chunk": 5}, "lives_per_chunk = 5 must be even, .*: try 4 or 6"),
        (
            {"life.buffer_rows": 20},
            "life.buffer_rows = 20 is shorter than the convolutions of the release loss, .* 21 steps: try 21",
        ),
        ({"life.buffer_rows": 28, "loss.architecture": "paper"}, "life.buffer_rows = 28 is shorter .* paper loss, .* try 29"),
        ({"life.buffer_rows": 63}, "life.buffer_rows = 63 must hold the 64 steps of an update .*: try 64"),
        ({"life.minibatch_rows": 30}, "life.minibatch_rows = 30 must divide life.update_every = 64: try 32"),
        ({"evolution.antithetic": False}, "evolution.common_random_numbers = true needs pairs"),
        (
            {"evolution.antithetic": False, "evolution.common_random_numbers": False, "evolution.ranks": "pairwise"},
            'evolution.ranks = "pairwise" compares pairs',
        ),
    ],
)
def test_sizes_that_do_not_fit_are_one_line_with_the_nearest_that_do(changes: dict[str, int], line: str) -> None:
    with pytest.raises(InvalidInputError, match=line) as caught:
        ALGORITHMS["epg"].check(apply(CONFIG, changes))
    assert "\n" not in str(caught.value)


def test_the_published_form_has_no_pairs() -> None:
    plain = replace(CONFIG, evolution=PUBLISHED, num_vectors=7, num_workers=7, lives_per_chunk=3)
    assert ALGORITHMS["epg"].check(plain) is plain
    apart = replace(CONFIG, evolution=EvolutionConfig(common_random_numbers=False), lives_per_chunk=3)
    assert ALGORITHMS["epg"].check(apart) is apart


def test_a_config_comes_back_from_its_file() -> None:
    config = replace(CONFIG, num_workers=128, evolution=EvolutionConfig(sigma=0.5))
    assert from_tree(EpgRunConfig, to_tree(config), "here") == config


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_possible(name: str) -> None:
    config = ALGORITHMS["epg"].check(apply(EpgRunConfig(preset=name), PRESETS[name].settings))
    assert config.family == PRESETS[name].family


def test_a_preset_of_several_algorithms_is_distinguished_by_the_algorithm() -> None:
    assert {row.name for row in ALGORITHMS.values() if "cartpole" in row.presets} == {"impala", "ppo"}
    assert find_preset("cartpole")[0].name == "impala"
    for row, preset in (find_preset("ppo/cartpole"), find_preset("cartpole", "ppo")):
        assert (row.name, preset.settings["family"]) == ("ppo", "cartpole")
    with pytest.raises(InvalidInputError, match="preset quickstart belongs to impala"):
        find_preset("ppo/quickstart")
