"""Any state to arrays and back: what comes back is what went in, what does not fit is refused, and older checkpoints are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

import numpy as np
import pytest
import torch
from jaxtyping import Float
from oracles.trajectories import trajectory
from torch import Tensor

from envs.errors import InvalidInputError
from learners import actor_critic, metagradient, vtrace_loss
from learners.batch import batch_of
from learners.metagradient import PendingUpdate, Trace
from learners.metagradient_config import MetaConfig, MetaGradient
from learners.networks.agent import NetworkConfig, SpaceSpec
from learners.ops.optimisers import OptimiserConfig
from learners.state_dict import state_from_arrays, state_to_arrays
from learners.vtrace_loss import ImpalaConfig

CPU = torch.device("cpu")
SPEC, NETWORK = SpaceSpec((3,), "float32", num_actions=4), NetworkConfig(hidden_sizes=(8,), core="lstm", core_size=5)


@dataclass(frozen=True, kw_only=True)
class Warm:
    by_name: dict[str, Tensor]
    rate: float


@dataclass(frozen=True, kw_only=True)
class Cold:
    table: Float[np.ndarray, " P"]
    rate: float


@dataclass(frozen=True, kw_only=True)
class Whole:
    """One of everything that a state may hold."""

    weights: Mapping[str, Float[Tensor, "..."]]
    latents: dict[int, np.ndarray]
    inner: Warm | Cold | None
    counts: tuple[int, ...]
    pair: tuple[Tensor, str] | None
    step: int | Tensor
    kind: Literal["a", "b"]
    score: float | None = None
    flags: dict[str, bool] = field(default_factory=dict)


WHOLE = Whole(
    weights={"w": torch.arange(6.0).view(2, 3), "b": torch.tensor(2.0, dtype=torch.float64)},
    latents={3: np.ones(2, np.float32), 7: np.zeros(2)},
    inner=Warm(by_name={"x": torch.ones(2, dtype=torch.int64)}, rate=0.5),
    counts=(1, 2, 3),
    pair=(torch.tensor([True]), "name"),
    step=4,
    kind="b",
    score=float("nan"),
    flags={"on": True},
)
FRESH = replace(WHOLE, inner=None, counts=(), pair=None, score=None)


def assert_equal(got: Any, want: Any) -> None:
    assert type(got) is type(want)
    if isinstance(want, Tensor | np.ndarray):
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(np.asarray(got), np.asarray(want))
    elif isinstance(want, dict):
        assert list(got) == list(want)
        for name in want:
            assert_equal(got[name], want[name])
    elif isinstance(want, tuple):
        assert len(got) == len(want)
        for one, other in zip(got, want, strict=True):
            assert_equal(one, other)
    elif hasattr(want, "__dataclass_fields__"):
        for one in fields(want):
            assert_equal(getattr(got, one.name), getattr(want, one.name))
    else:
        assert got == want or (got != got and want != want)


@pytest.mark.parametrize(
    "state",
    [
        WHOLE,
        FRESH,
        replace(WHOLE, inner=Cold(table=np.arange(3.0), rate=1.0), step=torch.tensor(4)),
        replace(WHOLE, pair=None, counts=(), flags={}),
    ],
)
def test_what_goes_in_comes_out(state: Whole) -> None:
    like = replace(FRESH, flags=state.flags)
    arrays = state_to_arrays(state)
    assert_equal(state_from_arrays(arrays, like=like, device=CPU), state)


def test_what_comes_out_is_a_copy() -> None:
    arrays = state_to_arrays(WHOLE)
    arrays["weights"]["w"][:] = 9
    back = state_from_arrays(arrays, like=FRESH, device=CPU)
    arrays["weights"]["w"][:] = 7
    assert float(WHOLE.weights["w"].max()) == 5
    assert float(back.weights["w"].max()) == 9


def test_a_field_that_is_newer_than_the_checkpoint_has_its_default() -> None:
    arrays = state_to_arrays(WHOLE)
    del arrays["score"], arrays["flags"]
    back = state_from_arrays(arrays, like=FRESH, device=CPU)
    assert (back.score, back.flags) == (None, {})


def test_what_cannot_be_held_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot hold a set"):
        state_to_arrays(replace(WHOLE, counts={1}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda it: it["weights"].pop("w"), r"parameter weights.w is nothing there, \(2, 3\) here"),
        (lambda it: it["weights"].update(v=np.ones(4)), r"parameter weights.v is \(4,\) there, nothing here"),
        (lambda it: it["weights"].update(w=np.ones((3, 2))), r"parameter weights.w is \(3, 2\) there, \(2, 3\) here"),
        (lambda it: it.pop("latents"), "it holds no latents"),
        (lambda it: it.update(more=1, again=2), "it holds again, more besides"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(change: Callable[[dict[str, Any]], Any], message: str) -> None:
    arrays = state_to_arrays(WHOLE)
    change(arrays)
    with pytest.raises(InvalidInputError, match=message) as error:
        state_from_arrays(arrays, like=FRESH, device=CPU)
    assert "\n" not in str(error.value)


def plain(network: NetworkConfig = NETWORK) -> Any:
    return actor_critic.init(SPEC, network, OptimiserConfig(), 0, CPU)[1]


def tuning(eta: tuple[str, ...] = ("gamma", "lambda"), **meta: Any) -> MetaGradient:
    return MetaGradient(learner=ImpalaConfig(lambda_=0.9), eta=eta, meta=MetaConfig(**meta))


def test_the_refusals_of_actor_critics_name_what_differs() -> None:
    normalised = plain(replace(NETWORK, normalise_observations=True))
    meta = metagradient.init(SPEC, NETWORK, tuning(), 0, CPU)[1]
    for saved, like, message in (
        (plain(), normalised, "one of them normalises observations, the other does not"),
        (normalised, plain(), "one of them normalises observations, the other does not"),
        (plain(), meta, "does not fit eta: it holds none meta-parameters, the config names 2"),
        (meta, plain(), "checkpoint does not fit the config: it holds no params"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            state_from_arrays(state_to_arrays(saved), like=like, device=CPU)


# -- the layout of metaray's first checkpoints ---------------------------------------------------------------------------------------


def former_learner(state: Any) -> dict[str, Any]:
    arrays, optimiser = state_to_arrays(state), state_to_arrays(state.optimiser)
    del arrays["optimiser"]
    step = {"optimiser_step": optimiser.pop("step")}
    return arrays | optimiser | step


def former_optimiser(state: Any) -> dict[str, Any]:
    return {"second": state_to_arrays(state.second_moment), "first": state_to_arrays(state.first_moment), "step": state.step}


def former(state: Any) -> dict[str, Any]:
    if not isinstance(state, metagradient.MetaState):
        return former_learner(state)
    pending, saved = state.pending, None
    if isinstance(pending, Trace):
        saved = {"z": state_to_arrays(pending.z)}
    elif isinstance(pending, PendingUpdate):
        saved = state_to_arrays(pending)
        saved |= {"optimiser": former_optimiser(pending.optimiser)}
        saved |= {name: saved["batch"].pop(name) for name in ("initial_state", "env_steps")}
    meta = {"logits": state_to_arrays(state.logits), "optimiser": former_optimiser(state.optimiser), "pending": saved}
    return former_learner(state.learner) | {"meta": meta}


@pytest.mark.parametrize("derivative", ["jvp", "vjp", None])
def test_a_checkpoint_of_the_former_layout_is_read(derivative: str | None) -> None:
    batch = batch_of([trajectory(SPEC, NETWORK)], slice(None), CPU)
    if derivative is None:
        agent, like = actor_critic.init(SPEC, NETWORK, OptimiserConfig(), 0, CPU)
        states = [like, vtrace_loss.update(agent, ImpalaConfig(), like, batch, 1000)[0]]
    else:
        config = tuning(derivative=derivative)
        agent, like = metagradient.init(SPEC, NETWORK, config, 0, CPU)
        states = [like, metagradient.update(agent, config, like, batch, 1000)[0]]
    for state in states:
        assert_equal(state_from_arrays(former(state), like=like, device=CPU), state)
