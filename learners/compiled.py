"""The gradient of IMPALA's loss as one piece of machine code.

    loss, gradient --traced once--> graph of tensor operations --torch's inductor--> C++, fused --compiler--> one call an update

A small network spends most of an update on getting from one operation to the next. Traced with the gradient in it, the same operations
run without Python and without a tape, and what is elementwise runs fused. Needs a C++ compiler; takes about ten seconds for a small
network, before training starts. The sums are the eager ones in another order: equal up to rounding, and the same twice.

Feed-forward networks only: a recurrent core looks at where episodes end to choose what to compute.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from envs.errors import InvalidInputError
from learners import impala
from learners.batch import Batch
from learners.impala import ImpalaConfig, LossTerms
from learners.networks.agent import Agent

_BATCH = tuple(field.name for field in fields(Batch) if field.name not in ("initial_state", "env_steps"))
_TERMS = tuple(field.name for field in fields(LossTerms))


class CompiledGradient:
    """`impala.gradient` for one network and one config, compiled for each shape of batch at the first of that shape."""

    def __init__(self) -> None:
        self._compiled: dict[torch.Size, Callable[..., tuple[Tensor, ...]]] = {}

    def prepare(
        self, agent: Agent, config: ImpalaConfig, arrays: dict[str, Tensor], *, unroll_length: int, num_envs: int
    ) -> None:
        """Compile for batches of this shape now, before training's clock runs.

        Raises:
            InvalidInputError: there is no C++ compiler that works.
        """
        self(agent, config, arrays, _blank(agent, unroll_length, num_envs))

    def __call__(
        self, agent: Agent, config: ImpalaConfig, arrays: dict[str, Tensor], batch: Batch
    ) -> tuple[dict[str, Tensor], LossTerms]:
        """See `impala.gradient`.

        Raises:
            InvalidInputError: at the first batch of a shape: there is no C++ compiler that works.
        """
        inputs = [*arrays.values(), *(getattr(batch, name) for name in _BATCH), *batch.initial_state]
        compiled = self._compiled.get(batch.obs.shape)
        if compiled is None:
            compiled = self._compiled[batch.obs.shape] = _compile(agent, config, list(arrays), batch, inputs)
        with torch.no_grad():
            found = compiled(*inputs)
        names = [name for name, _ in agent.named_parameters()]
        terms = dict(zip(_TERMS, found[len(names) :], strict=True))
        return dict(zip(names, found, strict=False)), LossTerms(**terms)


def _blank(agent: Agent, length: int, num_envs: int) -> Batch:
    """Return a batch of zeros as the actors' batches will be."""
    spec, device = agent.spec, agent.policy_head.weight.device
    obs_dtype = torch.uint8 if spec.obs_dtype == "uint8" else torch.float32
    action = torch.zeros(
        length + 1, num_envs, *spec.action_shape, dtype=torch.int64 if spec.is_discrete else torch.float32, device=device
    )
    reward = torch.zeros(length + 1, num_envs, device=device)
    return Batch(
        obs=torch.zeros(length + 1, num_envs, *spec.obs_shape, dtype=obs_dtype, device=device),
        is_first=torch.zeros(length + 1, num_envs, dtype=torch.bool, device=device),
        action=action[1:],
        reward=reward[1:],
        terminated=torch.zeros(length, num_envs, dtype=torch.bool, device=device),
        weight=torch.ones(length, num_envs, device=device),
        behaviour_log_prob=reward[1:],
        previous_action=action,
        previous_reward=reward,
        initial_state=tuple(state.detach() for state in agent.initial_state(num_envs)),
        env_steps=0,
    )


def _compile(
    agent: Agent, config: ImpalaConfig, names: list[str], batch: Batch, inputs: list[Tensor]
) -> Callable[..., tuple[Tensor, ...]]:
    """Trace and compile the gradient as a function of tensors alone, in the order of `inputs`."""
    # loaded here: a run that compiles nothing need not wait for the compiler to load
    from torch._inductor import compile as inductor
    from torch._inductor import config as inductor_config
    from torch._inductor.exc import CppCompileError, InductorError, InvalidCxxCompiler
    from torch.fx.experimental.proxy_tensor import make_fx

    def flat(*tensors: Tensor) -> tuple[Tensor, ...]:
        arrays, rest = dict(zip(names, tensors, strict=False)), tensors[len(names) :]
        fields_of_batch: dict[str, Any] = dict(zip(_BATCH, rest, strict=False))
        given = replace(batch, **fields_of_batch, initial_state=rest[len(_BATCH) :])
        gradients, terms = impala.gradient(agent, config, arrays, given)
        return (*gradients.values(), *(getattr(terms, name) for name in _TERMS))

    graph = make_fx(flat)(*inputs)
    try:
        # one thread: a pool of compiling processes would stay and take memory for as long as the run
        with inductor_config.patch(compile_threads=1):
            compiled: Callable[..., tuple[Tensor, ...]] = inductor(graph, [*inputs])
    except (CppCompileError, InductorError, InvalidCxxCompiler) as error:
        line = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise InvalidInputError(
            f"learner_compile = true needs a C++ compiler that works (g++ or clang++, or the one that CXX names): {line}"
        ) from error
    return compiled
