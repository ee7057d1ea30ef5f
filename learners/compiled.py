"""Updates as one piece of machine code.

    step --traced once, its gradient included--> graph of tensor operations --torch's inductor--> C++ --compiler--> one call

With a small network most of an update is the overhead of operations. Traced with its gradient, the update runs without Python and
without an autograd tape, and elementwise operations are fused. Needs a C++ compiler; takes about ten seconds for a small
network, before training starts. The sums are the eager ones in another order: equal up to rounding, and the same at every call.

Feed-forward networks only: a recurrent core has control flow that depends on where episodes end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from envs.errors import InvalidInputError
from learners.batch import Batch
from learners.networks.agent import Agent


class Compiled:
    """A function of nested dataclasses, dicts and tuples of tensors and numbers, compiled for each shape at its first call.

    Numbers are passed as float64 scalar tensors, since a Python number would become a constant of the code; a number that the function
    returns is such a tensor too.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._codes: dict[tuple[torch.Size, ...], tuple[Callable[..., tuple[Tensor, ...]], Any]] = {}

    def __call__(self, *arguments: Any) -> Any:
        """Return `function(*arguments)`.

        Raises:
            InvalidInputError: at the first call with a shape: no C++ compiler works.
        """
        device = next(leaf.device for leaf in _leaves(arguments) if isinstance(leaf, Tensor))
        inputs = [
            leaf if isinstance(leaf, Tensor) else torch.tensor(leaf, dtype=torch.float64, device=device)
            for leaf in _leaves(arguments)
        ]
        shapes = tuple(tensor.shape for tensor in inputs)
        if shapes not in self._codes:
            self._codes[shapes] = self._compile(arguments, inputs)
        code, result = self._codes[shapes]
        with torch.no_grad():
            return _rebuilt(result, iter(code(*inputs)))

    def _compile(self, arguments: tuple[Any, ...], inputs: list[Tensor]) -> tuple[Callable[..., tuple[Tensor, ...]], Any]:
        """Return the code, a function of `inputs`, and the structure of its result."""
        result: Any = None

        def flat(*tensors: Tensor) -> tuple[Tensor, ...]:
            nonlocal result
            found = self._function(*_rebuilt(arguments, iter(tensors)))
            result = found
            return tuple(_leaves(found))

        return machine_code(flat, inputs), result


def _leaves(tree: Any) -> list[Any]:
    """Return the tensors and numbers of nested dataclasses, dicts and tuples, in order."""
    if is_dataclass(tree):
        return [leaf for field in fields(tree) for leaf in _leaves(getattr(tree, field.name))]
    if isinstance(tree, dict | tuple):
        return [leaf for one in (tree.values() if isinstance(tree, dict) else tree) for leaf in _leaves(one)]
    return [] if tree is None else [tree]


def _rebuilt(like: Any, leaves: Iterator[Any]) -> Any:
    """Return the structure of `like` with these leaves."""
    if is_dataclass(like) and not isinstance(like, type):
        return replace(like, **{field.name: _rebuilt(getattr(like, field.name), leaves) for field in fields(like)})
    if isinstance(like, dict):
        return {name: _rebuilt(one, leaves) for name, one in like.items()}
    if isinstance(like, tuple):
        return tuple(_rebuilt(one, leaves) for one in like)
    return None if like is None else next(leaves)


def blank(agent: Agent, length: int, num_envs: int) -> Batch:
    """Return a batch of zeros with the shapes and dtypes of the actors' batches."""
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
        InvalidInputError: no C++ compiler works.
    """
    # imported here: only runs that compile should wait for it
    from torch._inductor import compile as inductor
    from torch._inductor import config as inductor_config
    from torch._inductor.exc import CppCompileError, InductorError, InvalidCxxCompiler
    from torch.fx.experimental.proxy_tensor import make_fx

    graph = make_fx(function)(*inputs)
    try:
        # one thread, because a pool of compiler processes would keep its memory for the whole run; and tanh(x) as
        # 2 sigmoid(2 x) - 1, exact to 1e-7 and three times as fast
        with inductor_config.patch({"compile_threads": 1, "cpp.use_decompose_tanh": True}):
            compiled: Callable[..., tuple[Tensor, ...]] = inductor(graph, [*inputs])
    except (CppCompileError, InductorError, InvalidCxxCompiler) as error:
        line = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise InvalidInputError(
            f"learner_compile = true needs a C++ compiler that works (g++ or clang++, or the one that CXX names): {line}"
        ) from error
    return compiled
