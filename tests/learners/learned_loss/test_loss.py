"""The module that a user drops into a loop: the same loss as in the lifetimes that evolved it, and files that cannot be mistaken."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch
from torch import nn

from envs.errors import InvalidInputError
from learners.learned_loss.buffer import Steps
from learners.learned_loss.inner_loop import LifetimeConfig, Lifetimes, draw_start
from learners.learned_loss.loss import FILE_NAME, FORMAT, History, LearnedLoss
from learners.learned_loss.network import LossConfig, LossShape, draw_phi
from learners.learned_loss.objectives import LearnedObjective
from learners.networks.spaces import SpaceSpec

SPEC = SpaceSpec((5,), "float64", action_size=2)
NAMED = SpaceSpec((5,), "float64", num_actions=3)
LIFE = LifetimeConfig(num_updates=3, update_every=16, buffer_rows=32, minibatch_rows=8, learning_rate=0.01)


def a_loss(spec: SpaceSpec = SPEC, config: LossConfig | None = None) -> LearnedLoss:
    shape = LossShape.of(config or LossConfig(), spec)
    return LearnedLoss(shape, 2 * draw_phi(shape, np.random.default_rng(0)))


@pytest.mark.parametrize(
    ("obs", "actions", "parameters"), [(11, 3, 9_857), (17, 6, 11_537), (11, 2, 9_521), (111, 8, 22_737), (29, 8, 13_553)]
)
def test_the_released_network_has_the_released_number_of_parameters(obs: int, actions: int, parameters: int) -> None:
    shape = LossShape.of(LossConfig(), SpaceSpec((obs,), "float64", action_size=actions))
    assert shape.num_parameters == parameters


def test_the_paper_reads_no_count_and_may_do_without_reward() -> None:
    hopper = SpaceSpec((11,), "float64", action_size=3)
    shape = LossShape.of(LossConfig(architecture="paper"), hopper)
    assert shape.row_size == 54
    assert LossShape.of(LossConfig(architecture="paper", reward_input=False), hopper).row_size == 53
    assert shape.convolutions.shortest_buffer == 8 + 3 * 7


@pytest.mark.parametrize("spec", [SPEC, NAMED], ids=["continuous", "named"])
def test_a_custom_loop_learns_what_a_lifetime_learns(spec: SpaceSpec) -> None:
    """The same steps through `Lifetimes`, and by hand with the module, an nn.Module policy and torch's Adam."""
    loss, rng = a_loss(spec), np.random.default_rng(1)
    # first weights of size 1: Adam divides by a gradient's own size, and rounding would show in gradients near zero
    start = draw_start(replace(LIFE, unit_norm_per="output"), spec, rng)
    lifetimes = Lifetimes(LIFE, spec, LearnedObjective(LossConfig(), loss.shape, loss.phi[None]), [start])
    policy = nn.Sequential(nn.Linear(5, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, loss.shape.action_size))
    with torch.no_grad():
        for index, layer in enumerate(policy[0::2]):
            layer.weight.copy_(torch.from_numpy(start[f"policy.{index}.weight"].T))
            layer.bias.zero_()
    log_std = None if spec.is_discrete else nn.Parameter(torch.zeros(2))
    optimiser = torch.optim.Adam([*policy.parameters(), *([] if log_std is None else [log_std])], lr=0.01)
    history, memory = loss.history(32), lifetimes._memory[0]
    for _ in range(3):
        flags = torch.zeros(1, 16, dtype=torch.bool)
        steps = Steps(
            obs=torch.zeros(1, 16, 5),
            action=torch.zeros(1, 16, loss.shape.action_size),
            reward=torch.zeros(1, 16),
            is_terminated=flags,
            is_truncated=flags.clone(),
            next_obs=torch.zeros(1, 16, 5),
        )
        for row in range(16):
            obs, reward, is_last = rng.normal(size=5), float(rng.normal()), bool(rng.random() < 0.2)
            action = int(rng.integers(3)) if spec.is_discrete else rng.normal(size=2)
            history.append(obs, action, reward, is_last)
            steps.obs[0, row] = torch.from_numpy(obs)
            steps.action[0, row] = torch.from_numpy(np.eye(3)[action] if spec.is_discrete else np.asarray(action))
            steps.reward[0, row], steps.is_truncated[0, row] = reward, is_last
        order = torch.from_numpy(rng.permutation(16))
        lifetimes.update(steps, order[None])
        history.take_in()
        for rows in order.split(8):
            outputs = policy(history.obs)
            value = loss(history, outputs.softmax(-1) if spec.is_discrete else outputs, log_std, rows, memory)
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
    for index, layer in enumerate(policy[0::2]):
        torch.testing.assert_close(lifetimes.parameters[f"policy.{index}.weight"][0].T, layer.weight, rtol=1e-4, atol=1e-5)
    if log_std is not None:
        torch.testing.assert_close(lifetimes.parameters["log_std"][0], log_std.detach(), rtol=1e-4, atol=1e-5)
    assert not np.allclose(policy[0].weight.detach().numpy().T, start["policy.0.weight"], atol=1e-3)


def test_phi_is_no_parameter_to_be_trained() -> None:
    assert list(a_loss().parameters()) == []


EVOLVED = {
    "family": "hopper",
    "life": {"buffer_rows": 64, "num_updates": 2},
    "loss": {},
    "lives_per_chunk": 4,
    "metaray": "0.1.0",
}


def test_a_file_gives_the_loss_back_and_what_it_was_evolved_for(tmp_path: Path) -> None:
    loss = LearnedLoss(a_loss(NAMED).shape, a_loss(NAMED).phi.numpy(), EVOLVED)
    loss.save(tmp_path / FILE_NAME)
    for path in (tmp_path, tmp_path / FILE_NAME, str(tmp_path)):
        again = LearnedLoss.load(path)
        assert (again.shape, again.evolved, again.history().num_rows) == (loss.shape, EVOLVED, 64)
        assert torch.equal(again.phi, loss.phi)
    assert [file.name for file in tmp_path.iterdir()] == [FILE_NAME]


def test_equal_losses_are_equal_files(tmp_path: Path) -> None:
    for _ in range(8):  # the order of a file's metadata is drawn anew each time
        loss = LearnedLoss(a_loss().shape, a_loss().phi.numpy(), dict(reversed(EVOLVED.items())))
        loss.save(tmp_path / "a")
        again = LearnedLoss(a_loss().shape, a_loss().phi.numpy(), EVOLVED)
        again.save(tmp_path / "b")
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_file_of_an_older_version_loads_and_one_line_says_what_it_lacks(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loss, file = a_loss(NAMED), tmp_path / FILE_NAME
    metadata = {"format": "metaray learned loss 1", "shape": json.dumps(dataclasses.asdict(loss.shape))}
    file.write_bytes(safetensors.numpy.save({"phi": loss.phi.numpy()}, metadata))
    again = LearnedLoss.load(file)
    assert (again.shape, again.evolved, again.history().num_rows) == (loss.shape, {}, 512)
    assert [record.getMessage() for record in caplog.records] == [
        f"{file} does not say the family, inner loop and buffer that its loss was evolved for: an older version wrote it"
    ]


def test_a_file_of_an_older_version_in_a_run_directory_has_the_settings_of_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loss, file = a_loss(NAMED), tmp_path / FILE_NAME
    metadata = {"format": "metaray learned loss 1", "shape": json.dumps(dataclasses.asdict(loss.shape))}
    file.write_bytes(safetensors.numpy.save({"phi": loss.phi.numpy()}, metadata))
    kept = {"algorithm": "epg", "family": "pendulum", "life": {"buffer_rows": 64}}
    (tmp_path / "config.json").write_text(json.dumps({**kept, "seed": 3}))
    for path in (tmp_path, file):
        again = LearnedLoss.load(path)
        assert (again.evolved, again.history().num_rows) == (kept, 64)
    assert not caplog.records
    (tmp_path / "config.json").write_text(json.dumps({"algorithm": "impala", "family": "cartpole"}))
    assert LearnedLoss.load(file).evolved == {}


def test_files_of_something_else_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="no such file"):
        LearnedLoss.load(tmp_path)
    file = tmp_path / FILE_NAME
    file.write_text("not a tensor in sight")
    with pytest.raises(InvalidInputError, match="cannot read the learned loss"):
        LearnedLoss.load(tmp_path)
    shape = dataclasses.asdict(a_loss().shape)
    for content, said in (
        ({}, "format is 'unnamed'"),
        ({"format": "metaray learned loss 3", "shape": shape}, "format is 'metaray learned loss 3'"),
        ({"format": FORMAT, "shape": shape | {"architecture": "new"}}, "an architecture 'new' that this version does not know"),
        ({"format": FORMAT, "shape": shape | {"size": 1}}, "cannot read the learned loss"),
        ({"format": FORMAT, "shape": shape | {"obs_size": 6}}, "phi has shape"),
    ):
        file.write_bytes(safetensors.numpy.save({"phi": a_loss().phi.numpy()}, {"learned_loss": json.dumps(content)}))
        with pytest.raises(InvalidInputError, match=said):
            LearnedLoss.load(file)


@pytest.mark.parametrize(
    ("spec", "obs", "action", "said"),
    [
        (SPEC, np.zeros(6), np.zeros(2), r"an observation has shape \(6,\): the loss reads 5 numbers"),
        (SPEC, np.zeros(5), np.zeros(3), r"an action has shape \(3,\): the loss reads 2 action components"),
        (SPEC, np.zeros(5), 0.5, r"an action has shape \(\): the loss reads 2 action components"),
        (NAMED, np.zeros(5), 3, "action 3: the loss reads one of 3 discrete actions"),
        (NAMED, np.zeros(5), np.zeros(3), "the loss reads one of 3 discrete actions"),
    ],
)
def test_a_custom_loop_with_other_spaces_is_refused_at_its_first_step(
    spec: SpaceSpec, obs: np.ndarray, action: object, said: str
) -> None:
    with pytest.raises(InvalidInputError, match=said):
        a_loss(spec).history().append(obs, action, 0.0, False)


def test_other_spaces_are_refused_in_one_line() -> None:
    loss = a_loss()
    loss.check(SPEC, "this")
    with pytest.raises(InvalidInputError, match=r"reads observations of 5 numbers, those of hopper have shape \(11,\)"):
        loss.check(SpaceSpec((11,), "float64", action_size=2), "hopper")
    with pytest.raises(InvalidInputError, match="reads 2 action components, reacher has 3"):
        loss.check(replace(SPEC, action_size=3), "reacher")
    with pytest.raises(InvalidInputError, match="reads 2 action components, cartpole has 2 discrete actions"):
        loss.check(replace(NAMED, num_actions=2), "cartpole")
    with pytest.raises(InvalidInputError, match="num_rows = 20 is out of range: the convolutions need 21"):
        loss.history(20)


def test_wrong_outputs_are_refused() -> None:
    loss = a_loss()
    history: History = loss.history(32)
    history.append(np.zeros(5), np.zeros(2), 0.0, False)
    history.take_in()
    with pytest.raises(InvalidInputError, match=r"a row for each of history\.obs"):
        loss(history, torch.zeros(16, 2), torch.zeros(2), torch.tensor([0]))


def test_a_gradient_that_is_not_finite_stops_its_own_tensor_only() -> None:
    shape = LossShape.of(LossConfig(), SPEC)
    phis = np.stack([draw_phi(shape, np.random.default_rng(seed)) for seed in range(2)])
    lifetimes = Lifetimes(
        LIFE,
        SPEC,
        LearnedObjective(LossConfig(), shape, torch.from_numpy(phis).float()),
        [draw_start(LIFE, SPEC, np.random.default_rng(2))] * 2,
    )
    before, grads = lifetimes._rows.clone(), torch.ones_like(lifetimes._rows)
    lifetimes._layout.views(grads)["policy.1.weight"][1, 3, 3] = float("nan")
    lifetimes._adam(grads)
    stayed = {
        name: torch.equal(old[1], new[1])
        for (name, old), new in zip(lifetimes._layout.views(before).items(), lifetimes.parameters.values(), strict=True)
    }
    assert [name for name, is_same in stayed.items() if is_same] == ["policy.1.weight"]
    assert not torch.equal(before[0], lifetimes._rows[0])
    assert lifetimes._rows.isfinite().all()
