"""Settings that are newer than a run: it keeps its former behaviour, and a user's own file gets the present defaults."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cluster.algorithms import ALGORITHMS, config_of_run, read_config
from cluster.config import EpgRunConfig
from cluster.overrides import convert, keys, to_tree
from cluster.reports.adaptation.config import settings_of
from cluster.reports.adaptation.source import LOSS_FILES, find_source
from cluster.run.replay import config_of
from cluster.store.former import FORMER, completed
from cluster.store.journal import RunRecord
from cluster.store.run_directory import RunDirectory, open_run, write_json
from learners.learned_loss.inner_loop import LifetimeConfig
from learners.learned_loss.network import LossShape

NEW = EpgRunConfig()


def older(config: EpgRunConfig = NEW) -> dict[str, Any]:
    """The config of a run of the version that had no life.unit_norm_per, in which every first weight had unit norm per output."""
    tree = to_tree(config)
    del tree["life"]["unit_norm_per"]
    return tree


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A run directory of the older version, as far as it is read here."""
    path = tmp_path / "run"
    path.mkdir()
    write_json(path / "config.json", older())
    write_json(path / "launch.json", {})
    (path / LOSS_FILES["best"]).touch()
    return open_run(path)


def test_the_default_is_the_released_codes() -> None:
    assert (LifetimeConfig().unit_norm_per, FORMER["epg"]["life.unit_norm_per"]) == ("input", "output")


def test_a_run_is_resumed_as_it_was_evolved(run: RunDirectory) -> None:
    assert config_of_run(run) == replace(NEW, life=replace(NEW.life, unit_norm_per="output"))
    run.write_config(replace(NEW, life=replace(NEW.life, unit_norm_per="input")))
    assert config_of_run(run) == NEW


def test_its_journal_is_replayed_as_it_was_written() -> None:
    record = RunRecord(config=older(), num_parameters=1, sha256="", versions={})
    assert config_of(record).life.unit_norm_per == "output"
    assert config_of(replace(record, config=to_tree(NEW))) == NEW


def test_its_loss_is_adapted_with_the_lifetimes_that_it_was_evolved_for(run: RunDirectory) -> None:
    source = find_source(run.path, family="pendulum", phi="best")
    shape = LossShape(obs_size=3, action_size=1, is_discrete=False, architecture="release", reward_input=True)
    assert settings_of(source, shape, {}).life.unit_norm_per == "output"
    assert settings_of(source, shape, {"life.unit_norm_per": "input"}).life.unit_norm_per == "input"


def test_its_config_trains_the_same_run_again_and_a_file_that_a_person_wrote_has_the_defaults(
    run: RunDirectory, tmp_path: Path
) -> None:
    assert read_config(run.config_file).life.unit_norm_per == "output"  # type: ignore[union-attr]
    partial = tmp_path / "mine.json"
    partial.write_text(json.dumps({"algorithm": "epg", "life": {"update_every": 32, "minibatch_rows": 16}}))
    life = read_config(partial).life  # type: ignore[union-attr]
    assert (life.unit_norm_per, life.update_every) == ("input", 32)


def test_former_values_fill_what_is_lacking_and_nothing_else() -> None:
    tree = {"algorithm": "epg", "seed": 3, "life": {"passes": 2}}
    assert completed(tree) == {"algorithm": "epg", "seed": 3, "life": {"passes": 2, "unit_norm_per": "output"}}
    assert tree["life"] == {"passes": 2}
    assert completed({"algorithm": "epg"})["life"] == {"unit_norm_per": "output"}
    for untouched in (
        {"algorithm": "epg", "life": 3},
        {"algorithm": "epg", "life": {"unit_norm_per": "input"}},
        {"seed": 1},
        [1],
        None,
    ):
        assert completed(untouched) == untouched


@pytest.mark.parametrize("algorithm", FORMER)
def test_every_former_value_is_one_that_its_setting_may_have(algorithm: str) -> None:
    known = keys(ALGORITHMS[algorithm].config_type())
    for name, value in FORMER[algorithm].items():
        assert convert(known[name], value) == value
