"""IMPALA's update as one piece of machine code.

    update --traced once, its gradient included--> graph of tensor operations --torch's inductor--> C++ --compiler--> one call

A small network spends most of an update on getting from one operation to the next. Traced with the gradient in it, the same operations
run without Python and without a tape, and what is elementwise runs fused. Needs a C++ compiler; takes about ten seconds for a small
network, before training starts. The sums are the eager ones in another order: equal up to rounding, and the same twice.

Feed-forward networks only: a recurrent core looks at where episodes end to choose what to compute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from envs.errors import InvalidInputError
from learners import actor_critic, vtrace_loss
from learners.actor_critic import LearnerState
from learners.batch import Batch
from learners.networks.agent import Agent
from learners.ops.normaliser import RunningMoments
from learners.ops.optimisers import OptimiserState
from learners.vtrace_loss import ImpalaConfig

_BATCH = tuple(field.name for field in fields(Batch) if field.name not in ("initial_state", "env_steps"))


class CompiledUpdate:
    """`vtrace_loss.update` for one network and one config, compiled for each shape of batch at the first of that shape."""

    def __init__(self, agent: Agent, config: ImpalaConfig) -> None:
        self._agent, self._config = agent, config
        self._compiled: dict[torch.Size, Callable[..., tuple[Tensor, ...]]] = {}
        self._watched: list[str] = []

    def prepare(self, state: LearnerState, unroll_length: int, num_envs: int) -> None:
        """Compile for batches of this shape now, before training's clock runs.

        Raises:
            InvalidInputError: there is no C++ compiler that works.
        """
        self(state, blank(self._agent, unroll_length, num_envs), 1)

    def __call__(self, state: LearnerState, batch: Batch, total_env_steps: int) -> tuple[LearnerState, dict[str, Tensor]]:
        """See `vtrace_loss.update`.

        Raises:
            InvalidInputError: at the first batch of a shape: there is no C++ compiler that works.
        """
        rate = actor_critic.learning_rate(self._config, state.env_steps, total_env_steps)
        after, watched = state, []
        for _ in range(self._config.passes):
            # what changes from update to update travels as tensors: a number would be compiled in
            numbers = torch.tensor([rate, after.optimiser.step], dtype=torch.float64, device=batch.obs.device)
            before = replace(after, moments=state.moments)  # each pass counts the batch in, and the last one's count is kept
            inputs = [numbers, *(getattr(batch, name) for name in _BATCH), *_tensors(before)]
            compiled = self._compiled.get(batch.obs.shape)
            if compiled is None:
                compiled = self._compiled[batch.obs.shape] = self._compile(before, batch, inputs)
            with torch.no_grad():
                found = iter(compiled(*inputs))
            after = _rebuilt(before, found, step=before.optimiser.step + 1)
            watched.append(dict(zip(self._watched, found, strict=True)))
        after = replace(after, version=state.version + 1, env_steps=state.env_steps + batch.env_steps)
        return after, actor_critic.means(watched)

    def _compile(self, state: LearnerState, batch: Batch, inputs: list[Tensor]) -> Callable[..., tuple[Tensor, ...]]:
        """Trace and compile one pass as a function of tensors alone, in the order of `inputs`."""

        def flat(numbers: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
            given: dict[str, Any] = dict(zip(_BATCH, tensors, strict=False))
            rate, step = numbers.unbind()
            before, its = _rebuilt(state, iter(tensors[len(_BATCH) :]), step=step), replace(batch, **given)
            gradients, terms = vtrace_loss.gradient(self._agent, self._config, before, its)
            after, norm = actor_critic.descend(self._config, before, gradients, rate)
            watched = vtrace_loss.scalars(terms, norm, rate)
            self._watched = list(watched)
            return (*_tensors(actor_critic.counted(after, its)), *watched.values())

        return machine_code(flat, inputs)


def _tensors(state: LearnerState) -> list[Tensor]:
    """Return the tensors of a state, in the order that `_rebuilt` takes them in."""
    moments, optimiser = state.moments, state.optimiser
    return [
        *state.params.values(),
        *([] if moments is None else [moments.mean, moments.m2, moments.count]),
        *(optimiser.second_moment[name] for name in state.params),
        *(optimiser.first_moment[name] for name in state.params if optimiser.first_moment),
    ]


def _rebuilt(like: LearnerState, tensors: Iterator[Tensor], step: int | Tensor) -> LearnerState:
    """Return the state whose tensors come next."""

    def by_name() -> dict[str, Tensor]:
        return {name: next(tensors) for name in like.params}

    return replace(
        like,
        params=by_name(),
        moments=None if like.moments is None else RunningMoments(mean=next(tensors), m2=next(tensors), count=next(tensors)),
        optimiser=OptimiserState(
            second_moment=by_name(), first_moment=by_name() if like.optimiser.first_moment else {}, step=step
        ),
    )


def blank(agent: Agent, length: int, num_envs: int) -> Batch:
    """Return a batch of zeros as the actors' batches will be."""
    spec, device = agent.spec, agent.policy_head.weight.device
    obs_dtype = {"uint8": torch.uint8, "int32": torch.int32, "float32": torch.float32}[spec.sent_dtype]
    action_dtype = torch.int64 if spec.is_discrete else torch.float32
    action = torch.zeros(length + 1, num_envs, *spec.action_shape, dtype=action_dtype, device=device)
    reward = torch.zeros(length + 1, num_envs, device=device)
    return Batch(
        obs=torch.zeros(length + 1, num_envs, *spec.obs_shape, dtype=obs_dtype, device=device),
        is_first=torch.zeros(length + 1, num_envs, dtype=torch.bool, device=device),
        action=action[1:],
        reward=reward[1:],
        terminated=torch.zeros(length, num_envs, dtype=torch.bool, device=device),
        weight=torch.ones(length, num_envs, device=device),
        behaviour_log_prob=torch.zeros(length, num_envs, device=device),
        previous_action=action,
        previous_reward=reward,
        initial_state=(),
        env_steps=0,
    )


def machine_code(function: Callable[..., tuple[Tensor, ...]], inputs: list[Tensor]) -> Callable[..., tuple[Tensor, ...]]:
    """Trace `function` on `inputs` and compile the trace; no branch of it may depend on a tensor's values.

    Raises:
        InvalidInputError: there is no C++ compiler that works.
    """
    # loaded here: a run that compiles nothing need not wait for the compiler to load
    from torch._inductor import compile as inductor
    from torch._inductor import config as inductor_config
    from torch._inductor.exc import CppCompileError, InductorError, InvalidCxxCompiler
    from torch.fx.experimental.proxy_tensor import make_fx

    graph = make_fx(function)(*inputs)
    try:
        # one thread, for a pool of compiling processes would stay and take memory for as long as the run; and tanh(x) as
        # 2 sigmoid(2 x) - 1, exact to 1e-7 and three times as fast
        with inductor_config.patch({"compile_threads": 1, "cpp.use_decompose_tanh": True}):
            compiled: Callable[..., tuple[Tensor, ...]] = inductor(graph, [*inputs])
    except (CppCompileError, InductorError, InvalidCxxCompiler) as error:
        line = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise InvalidInputError(
            f"learner_compile = true needs a C++ compiler that works (g++ or clang++, or the one that CXX names): {line}"
        ) from error
    return compiled
