"""The config of a run and the presets."""

import configparser
import dataclasses
from pathlib import Path

import pytest

from cluster import overrides, presets
from cluster.algorithms import ALGORITHMS, config_of
from cluster.config import RolloutConfig, RunConfig
from envs.errors import InvalidInputError
from envs.registry import resolve
from learners.networks.agent import NetworkConfig

PRESETS = [(row.name, name) for row in ALGORITHMS.values() for name in row.presets]


def test_presets_are_in_the_wheel() -> None:
    """Data files are not found by `packages = find:`."""
    file = Path(presets.__file__)
    setup = configparser.ConfigParser()
    setup.read(file.parents[2] / "setup.cfg")
    (pattern,) = setup["options.package_data"]["cluster.presets"].split()
    assert sorted(path.stem for path in file.parent.glob(pattern)) == sorted(ALGORITHMS)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_setting_has_a_line_of_doc(algorithm: str) -> None:
    for key in overrides.keys(ALGORITHMS[algorithm].config_type()).values():
        assert key.doc, f"{key.name} has no description"
        assert "\n" not in key.doc


@pytest.mark.parametrize(("algorithm", "name"), PRESETS)
def test_every_preset_is_valid_and_survives_its_file(algorithm: str, name: str) -> None:
    row = ALGORITHMS[algorithm]
    config = config_of(row.presets[name], row)
    assert (config.algorithm, config.preset, config.family) == (algorithm, name, row.presets[name].family)
    assert overrides.from_tree(row.config_type(), overrides.to_tree(config), "config.json") == config
    assert resolve(config.family).name == config.family
    assert config != row.config_type()(preset=name)


@pytest.mark.parametrize(("batch", "envs"), [(32, 32), (64, 32), (8, 32), (1, 7)])
def test_batches_that_fit(batch: int, envs: int) -> None:
    ALGORITHMS["impala"].check(RunConfig(batch_unrolls=batch, rollout=RolloutConfig(envs_per_actor=envs)))


@pytest.mark.parametrize(
    ("batch", "envs", "hint"), [(33, 32, "try 32 or 64"), (31, 32, "try 32"), (12, 32, "try 32"), (100, 7, "try 98 or 105")]
)
def test_batches_that_do_not_fit_are_refused_with_the_nearest_that_do(batch: int, envs: int, hint: str) -> None:
    with pytest.raises(InvalidInputError, match=f"batch_unrolls = {batch} .*envs_per_actor = {envs}: {hint}"):
        ALGORITHMS["impala"].check(RunConfig(batch_unrolls=batch, rollout=RolloutConfig(envs_per_actor=envs)))


@pytest.mark.parametrize(("envs", "batch", "units", "updates"), [(32, 32, 1, 1), (32, 64, 2, 1), (128, 32, 1, 4)])
def test_a_learner_call_joins_units_or_makes_several_updates_of_one(envs: int, batch: int, units: int, updates: int) -> None:
    config = RunConfig(num_actors=4, batch_unrolls=batch, rollout=RolloutConfig(envs_per_actor=envs))
    assert (config.units_per_call, config.updates_per_call) == (units, updates)


def test_a_deterministic_round_holds_whole_batches() -> None:
    config = RunConfig(deterministic=True, num_actors=3, batch_unrolls=64, rollout=RolloutConfig(envs_per_actor=32))
    with pytest.raises(InvalidInputError, match="must divide the 96 environments of a round"):
        ALGORITHMS["impala"].check(config)
    ALGORITHMS["impala"].check(dataclasses.replace(config, num_actors=4))


@pytest.mark.parametrize("config", [RunConfig(eta=("gamma",)), RunConfig(network=NetworkConfig(core="gru"))])
def test_what_cannot_be_compiled_is_refused(config: RunConfig) -> None:
    ALGORITHMS["impala"].check(config)
    with pytest.raises(InvalidInputError, match=r"allowed without eta and with network\.core = none"):
        ALGORITHMS["impala"].check(dataclasses.replace(config, learner_compile=True))
