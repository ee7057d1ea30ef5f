"""Sample Factory's APPO, asynchronous, end to end while it learns: action steps per second on Pong or HalfCheetah-v5.

Run under a Python that has `sample-factory==2.1.1` (docs/results/peers.md has the commands):

    python benchmarks/peers/sample_factory_appo.py --env pong --network shallow

Two rollout workers, one policy worker and the learner are processes of their own, on the CPU in fp32. V-trace stays off,
as by default; a learner that dies is an error here, not a rate of zero. One pass over the data, as IMPALA makes.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import threading
import warnings
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
warnings.filterwarnings("ignore")

from measure import ENVIRONMENTS, Counter, Schedule, open_counters, report, watch
from sample_factory.algo.learning.learner import Learner
from sample_factory.algo.runners.runner_parallel import ParallelRunner
from sample_factory.cfg.arguments import parse_full_cfg, parse_sf_args
from sample_factory.envs.env_utils import register_env
from sample_factory.utils.utils import log

NETWORKS = {
    "shallow": ["--encoder_conv_architecture=convnet_impala", "--encoder_conv_mlp_layers", "256"],
    "nature": ["--encoder_conv_architecture=convnet_atari", "--encoder_conv_mlp_layers", "512"],
    "mlp": ["--encoder_mlp_layers", "64", "64"],
}


def count_training() -> None:
    """Make this process's learner count the samples of every batch that it trains on; invalid ones are not counted."""
    train = Learner._train
    counters: list[Counter] = []

    def counting(self: Learner, buff: Any, batch_size: int, experience_size: int, num_invalids: int) -> Any:
        if not counters:
            counters.append(Counter("trained"))
        result = train(self, buff, batch_size, experience_size, num_invalids)
        counters[0].add(experience_size - num_invalids)
        return result

    Learner._train = counting


def make_env(name: str, *_: Any, **__: Any) -> Any:
    """What Sample Factory calls, by a name that its processes can import."""
    return ENVIRONMENTS[name]()


# at import, because the peer's processes are spawned: each imports this module before it unpickles its work
count_training()
log.setLevel("ERROR")


def configure(args: argparse.Namespace, folder: str) -> Any:
    """Sample Factory's own flags; what is not named here is its default."""
    flags = [
        f"--env={args.env}",
        "--experiment=peer",
        f"--train_dir={folder}",
        "--device=cpu",
        "--serial_mode=False",
        "--async_rl=True",
        "--with_vtrace=False",
        f"--num_workers={args.workers}",
        f"--num_envs_per_worker={args.envs}",
        "--worker_num_splits=2",
        "--policy_workers_per_policy=1",
        f"--rollout={args.unroll}",
        f"--batch_size={args.batch}",
        "--num_batches_per_epoch=1",
        "--num_epochs=1",
        "--use_rnn=False",
        "--normalize_input=False",
        f"--nonlinearity={'tanh' if args.env == 'halfcheetah' else 'relu'}",
        f"--obs_scale={255.0 if args.env == 'pong' else 1.0}",
        "--summaries_use_frameskip=False",
        "--decorrelate_envs_on_one_worker=False",
        "--set_workers_cpu_affinity=False",
        "--save_every_sec=100000",
        "--experiment_summaries_interval=100000",
        f"--seed={args.seed}",
        *NETWORKS[args.network],
    ]
    parser, _ = parse_sf_args(argv=flags)
    return parse_full_cfg(parser, flags)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", choices=sorted(ENVIRONMENTS), required=True)
    parser.add_argument("--network", choices=sorted(NETWORKS), help="default: shallow for pong, mlp for halfcheetah")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--envs", type=int, default=16, help="environments per worker")
    parser.add_argument("--unroll", type=int, default=32)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--warmup", type=float, default=10.0)
    parser.add_argument("--windows", type=int, default=5)
    parser.add_argument("--window-seconds", type=float, default=8.0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.network = args.network or {"pong": "shallow", "halfcheetah": "mlp"}[args.env]
    for name in ENVIRONMENTS:
        register_env(name, make_env)
    counters = open_counters()
    with tempfile.TemporaryDirectory(prefix="metaray-peer-", ignore_cleanup_errors=True) as folder:
        runner = ParallelRunner(configure(args, folder))
        outcome: dict[str, Any] = {}

        def measure() -> None:
            try:
                schedule = Schedule(warmup_s=args.warmup, windows=args.windows, window_s=args.window_seconds)
                outcome["rates"] = watch(schedule)
            except RuntimeError as error:  # the runner waits for ever for a learner that died
                print(json.dumps({"peer": "sample-factory-appo", "error": str(error)}), flush=True)
                for child in multiprocessing.active_children():
                    child.terminate()
                os._exit(1)
            runner.cfg.train_for_env_steps = 0  # looked at after each update (its limit in seconds is never reached)

        watcher = threading.Thread(target=measure, daemon=True)
        runner.init()
        watcher.start()
        runner.run()
        watcher.join(timeout=60)
    counters.cleanup()
    if "rates" not in outcome:
        sys.exit("the peer ended before it was measured")
    settings = {name: getattr(args, name) for name in ("network", "workers", "envs", "unroll", "batch")}
    report("sample-factory-appo", args.env, settings, outcome["rates"], ["sample-factory", "torch", "gymnasium"])


if __name__ == "__main__":
    main()
