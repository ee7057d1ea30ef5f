"""What the meta-gradient costs: CPU seconds and peak memory of a learner step with {gamma, lambda} against one without.

    python benchmarks/metagradient_cost.py [--rounds 3] [--steps 3] [--torso deep]

The deep residual network, T = 20, B = 32, RMSProp with the clip active, one thread. Each case runs in a process of its own, in turn, round
by round. A step's CPU time is that of the whole process (`time.process_time`); its memory is the peak of resident memory during the steps,
above what the process held before it made the learner. Double backward is the reference: the test suite's oracle, which differentiates the
update twice; it is measured in the first round only. Prints one JSON line with medians over rounds.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from runs import ROOT, child_json, median, parser_of, print_line

sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

CASES: dict[str, dict[str, Any] | None] = {
    "none": None,
    "jvp, meta-batch 8": {"derivative": "jvp", "batch_unrolls": 8},
    "jvp, meta-batch 32": {"derivative": "jvp", "batch_unrolls": 32},
    "vjp, meta-batch 8": {"derivative": "vjp", "batch_unrolls": 8},
    "double backward, meta-batch 8": {"derivative": "double backward", "batch_unrolls": 8},
}


def peak_mib() -> float:
    """Peak resident memory since `forget_peak`, in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise OSError("no VmHWM in /proc/self/status: this benchmark needs Linux")


def forget_peak() -> None:
    """Reset the peak to the current resident memory."""
    Path("/proc/self/clear_refs").write_text("5")


def step_of(case: str, torso: str) -> Any:
    """A function of a batch that makes one learner step of `case`, and batches to give it."""
    import numpy as np
    import torch

    from envs.task import Task
    from learners import actor_critic, metagradient, vtrace_loss
    from learners.batch import batch_of
    from learners.metagradient_config import MetaConfig, MetaGradient
    from learners.networks.agent import NetworkConfig, SpaceSpec
    from learners.ops.optimisers import OptimiserConfig
    from learners.trajectory import Trajectory

    torch.set_num_threads(1)
    device, (length, num_envs) = torch.device("cpu"), (20, 32)
    spec, network = SpaceSpec((4, 84, 84), "uint8", num_actions=6, frame_stack=4), NetworkConfig(torso=torso)  # type: ignore[arg-type]
    learner = vtrace_loss.ImpalaConfig(
        lambda_=0.99, max_gradient_norm=1.0, reward_clip=1.0, optimiser=OptimiserConfig(epsilon=0.1)
    )

    def batch(seed: int) -> Any:
        rng = np.random.default_rng(seed)
        flags = np.zeros((length, num_envs), bool)
        unroll = Trajectory(
            obs=rng.integers(256, size=(length + 1, num_envs, 84, 84), dtype=np.uint8),
            frame_history=np.zeros((3, num_envs, 84, 84), np.uint8),
            is_first=np.zeros((length + 1, num_envs), bool),
            action=rng.integers(6, size=(length, num_envs)),
            reward=rng.normal(size=(length, num_envs)).astype(np.float32),
            terminated=flags,
            truncated=flags,
            behaviour_log_prob=np.full((length, num_envs), -1.8, np.float32),
            previous_action=np.zeros(num_envs, np.int64),
            previous_reward=np.zeros(num_envs, np.float32),
            initial_state=(),
            policy_version=0,
            tasks=(Task(family="none"),) * num_envs,
        )
        return batch_of([unroll], slice(None), device)

    meta = CASES[case]
    if meta is None:
        agent, state = actor_critic.init(spec, network, learner.optimiser, 0, device)
        return lambda seed, held: vtrace_loss.update(agent, learner, held or state, batch(seed), 10**7)[0]
    is_double = meta["derivative"] == "double backward"
    chosen = replace(MetaConfig(), **(meta | ({"derivative": "jvp"} if is_double else {})))
    config = MetaGradient(learner=learner, eta=("gamma", "lambda"), meta=chosen)
    meta_agent, meta_state = metagradient.init(spec, network, config, 0, device)
    if is_double:
        return _double_backward(meta_agent, config, meta_state, batch)
    return lambda seed, held: metagradient.update(meta_agent, config, held or meta_state, batch(seed), 10**7)[0]


def _double_backward(agent: Any, config: Any, state: Any, batch: Any) -> Any:
    """A step that keeps the graph through the update: tau and tau' are two batches, as the graph needs theta as a leaf."""
    import torch
    from oracles import metagradient as oracle

    from learners import metagradient

    def step(seed: int, held: Any) -> Any:
        tau, later = (held or (None, batch(seed - 1)))[1], batch(seed)
        arrays = metagradient.network_arrays(config, state)
        eta = {name: value.float() for name, value in oracle.constants(config.learner).items()}
        eta |= {name: eta[name].clone().requires_grad_() for name in config.eta}
        moved = oracle.updated(agent, config, state.learner, arrays, tau, eta, 6e-4)
        objective = oracle.outer_objective(agent, config, arrays | moved, later.columns(slice(config.meta.batch_unrolls)))
        torch.autograd.grad(objective, [eta[name] for name in config.eta])
        return None, later

    return step


def measure(case: str, torso: str, steps: int) -> dict[str, float]:
    """Median CPU seconds of a step and peak memory, in this process."""
    import torch  # noqa: F401  # its memory is not the learner's

    import learners.state_dict  # noqa: F401

    before = peak_mib()
    step = step_of(case, torso)
    held = step(1, None)
    held = step(2, held)
    forget_peak()
    seconds = []
    for seed in range(3, 3 + steps):
        started = time.process_time()
        held = step(seed, held)
        seconds.append(time.process_time() - started)
    return {"cpu_s": median(seconds), "peak_mib": round(peak_mib() - before, 1)}


def main() -> None:
    parser = parser_of(__doc__, "rounds")
    parser.add_argument("--steps", type=int, default=3, help="steps of each case in a round")
    parser.add_argument("--torso", choices=["shallow", "deep"], default="deep")
    parser.add_argument("--case", choices=sorted(CASES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print(json.dumps(measure(options.case, options.torso, options.steps)))
        return
    found: dict[str, list[dict[str, float]]] = {case: [] for case in CASES}
    for number in range(options.rounds):
        for case in [case for case in CASES if number == 0 or "double" not in case]:
            command = [sys.executable, __file__, "--case", case, "--torso", options.torso, "--steps", str(options.steps)]
            found[case].append(child_json(command))
            print(f"{case}: {found[case][-1]}", file=sys.stderr, flush=True)
    cases = {
        case: {
            "cpu_s": median([one["cpu_s"] for one in rounds]),
            "peak_mib": median([one["peak_mib"] for one in rounds]),
            "times_cpu": median([one["cpu_s"] / none["cpu_s"] for one, none in zip(rounds, found["none"], strict=False)]),
            "times_peak": median([one["peak_mib"] / none["peak_mib"] for one, none in zip(rounds, found["none"], strict=False)]),
        }
        for case, rounds in found.items()
    }
    print_line("metagradient_cost", {"torso": options.torso, "T": 20, "B": 32, "eta": ["gamma", "lambda"], "cases": cases})


if __name__ == "__main__":
    main()
