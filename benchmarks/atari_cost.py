"""Cost of an Atari step on one core, and multiply-adds of a frame: the inputs of the plan in docs/atari.md. Without a peer.

    python benchmarks/atari_cost.py [--seconds 5]

Emulation: each of the six games that IMPALA was tuned on, 32 emulators on one thread, uniform actions, preprocessing and resets included.
Acting: the network on 32 observations on one thread, as an actor calls it. Arithmetic: multiply-adds of one observation, counted by torch,
forward and backward. Prints one JSON line; rates are steps (4 frames) per second of CPU time, of all threads of the process.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from runs import ROOT, median, parser_of, print_line

sys.path.insert(0, str(ROOT))

GAMES = ("breakout", "pong", "space_invaders", "seaquest", "beam_rider", "qbert")
NUM_ENVS = 32


def rate(step: Callable[[], object], seconds: float) -> float:
    """Steps per second of CPU time of `step`, which makes `NUM_ENVS` of them, after one call to warm up."""
    step()
    calls, started = 0, time.process_time()
    while time.process_time() - started < seconds:
        step()
        calls += 1
    return calls * NUM_ENVS / (time.process_time() - started)


def emulation(game: str, seconds: float) -> float:
    from envs.registry import resolve

    family = resolve(f"atari:{game}")
    env = family.make(family.sample(NUM_ENVS, np.random.default_rng(0)), num_threads=1)
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    num_actions = int(env.single_action_space.n)  # type: ignore[attr-defined]
    result = rate(lambda: env.step(rng.integers(num_actions, size=NUM_ENVS)), seconds)
    env.close()
    return result


def acting(torso: Any, seconds: float) -> tuple[float, dict[str, float]]:
    """Steps per CPU second of the network, and millions of multiply-adds of one observation."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from actors.policy import Policy
    from envs.registry import resolve
    from learners.networks.agent import Agent, NetworkConfig, NetworkInputs, SpaceSpec

    torch.set_num_threads(1)
    family = resolve("atari:breakout")
    env = family.make(family.sample(NUM_ENVS, np.random.default_rng(0)), num_threads=1)
    obs, _ = env.reset(seed=0)
    network = NetworkConfig(torso=torso)
    policy = Policy.for_env(env, network)
    first, reward = np.zeros(NUM_ENVS, bool), np.zeros(NUM_ENVS, np.float32)
    given = (obs, first, policy.no_action(NUM_ENVS), reward, policy.initial_state(NUM_ENVS))
    result = rate(lambda: policy.act(*given), seconds)
    agent = Agent(SpaceSpec.of(env), network)
    env.close()
    names = ("obs", "is_first", "previous_action", "previous_reward")
    rows = {name: torch.from_numpy(array)[None] for name, array in zip(names, given, strict=False)}
    inputs = NetworkInputs(**rows, initial_state=agent.initial_state(NUM_ENVS))
    with FlopCounterMode(display=False) as forward:
        output = agent(inputs)
    with FlopCounterMode(display=False) as backward:
        (output.distribution_params.sum() + output.value.sum()).backward()
    counts = {"forward": forward.get_total_flops(), "backward": backward.get_total_flops()}
    return result, {name: round(flops / 2 / NUM_ENVS / 1e6, 1) for name, flops in counts.items()}


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="CPU time of each measurement")
    options = parser.parse_args()
    emulated = {game: round(emulation(game, options.seconds)) for game in GAMES}
    acted = {torso: acting(torso, options.seconds) for torso in ("deep", "shallow")}
    print_line(
        "atari_cost",
        {
            "emulation_steps_per_s": emulated,
            "emulation_median": round(median(list(emulated.values()))),
            "acting_steps_per_s": {torso: round(speed) for torso, (speed, _) in acted.items()},
            "mega_macs_per_step": {torso: counts for torso, (_, counts) in acted.items()},
        },
    )


if __name__ == "__main__":
    main()
