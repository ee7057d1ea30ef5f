"""Lifetimes that are not finite: the warnings and how often they come, what the figures cover, and when the run ends."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from actors.chunks import Chunk, ChunkResult, NotFinite, chunks_of
from cluster.main import main
from cluster.run.lifetime_checks import LifetimeChecks, NotFiniteError
from cluster.run.replay import phi_sha256, rebuild, resume
from cluster.store.journal import UpdateRecord, decode, encode, read
from cluster.store.metrics import read_metrics
from tests.cluster.epg.evolving import Watcher, evolve, sized
from tests.cluster.epg.sleeping import Sleeping

NAN, INF = float("nan"), float("inf")


@dataclass(frozen=True, kw_only=True)
class Sick(Sleeping):
    """Lifetimes of which some are not finite: those numbers of an epoch, and of an evaluation."""

    perturbed: tuple[int, ...] = ()
    evaluation: tuple[int, ...] = ()
    value: float = NAN

    def __call__(self, *arguments: object) -> Sick:
        return self

    def compute(self, chunk: Chunk, phi: np.ndarray) -> ChunkResult:
        result, sick = super().compute(chunk, phi), self.perturbed if chunk.kind == "perturbed" else self.evaluation
        lifetimes = range(chunk.first, chunk.first + chunk.count)
        return replace(
            result,
            fitness=tuple(
                self.value if lifetime in sick else value for lifetime, value in zip(lifetimes, result.fitness, strict=True)
            ),
            not_finite=tuple(
                NotFinite(life=lifetime, what="observation", task="cartpole()") for lifetime in lifetimes if lifetime in sick
            ),
        )


def looked_at(count: int, num_bad: int, kind: str = "perturbed", cut: int = 0) -> tuple[list[Chunk], dict[int, ChunkResult]]:
    chunks = chunks_of(kind, 3, count, 1, count, 0.0)  # type: ignore[arg-type]
    bad = tuple(
        NotFinite(life=lifetime, what="reward" if lifetime else "action", task=f"hopper(gravity={lifetime})")
        for lifetime in range(num_bad)
    )
    fitness = (NAN,) * num_bad + (1.0,) * (count - num_bad)
    result = ChunkResult(
        kind=chunks[0].kind, epoch=3, index=0, fitness=fitness, env_steps=1, busy_s=1.0, not_finite=bad, cut_episodes=cut
    )
    return chunks, {0: result}


def test_lifetimes_are_named_at_first_and_again_when_their_share_has_doubled() -> None:
    checks = LifetimeChecks("hopper", 500)
    assert checks.look(*looked_at(40, 0)) == []
    (line,) = checks.look(*looked_at(40, 7))
    assert line == (
        "epoch 4: 7 of 40 lifetimes in hopper are not finite (action: lifetime 0; reward: lifetimes 1, 2, 3, 4, 5 and 1 more, the first in "
        "hopper(gravity=0)); a fitness that is not finite ranks last and is left out of all figures"
    )
    assert [len(checks.look(*looked_at(40, bad))) for bad in (7, 1, 13, 14, 20)] == [0, 0, 0, 1, 0]
    (line,) = checks.look(*looked_at(8, 1, "evaluation"))
    assert line.startswith("evaluation after epoch 3: 1 of 8 lifetimes in hopper are not finite (action: lifetime 0")


@pytest.mark.parametrize("kind", ["perturbed", "evaluation"])
def test_a_round_of_which_most_lifetimes_are_not_finite_ends_the_run(kind: str) -> None:
    checks = LifetimeChecks("hopper", 500)
    assert checks.look(*looked_at(8, 4, kind))
    with pytest.raises(
        NotFiniteError, match=r"5 of 8 lifetimes in hopper are not finite .*; look for NaN or infinity in what the env"
    ) as caught:
        checks.look(*looked_at(8, 5, kind))
    assert "\n" not in str(caught.value)


def test_cut_episodes_are_reported_once() -> None:
    checks = LifetimeChecks("hopper", 500)
    (line,) = checks.look(*looked_at(8, 0, cut=3))
    assert line == "epoch 4: 3 episodes of the fitness had not ended at life.max_episode_steps = 500: the return so far counts"
    assert checks.look(*looked_at(8, 0, cut=3)) == []


def test_a_journal_of_an_older_version_names_no_lifetimes_and_they_are_found_by_their_fitness() -> None:
    chunks, results = looked_at(8, 2)
    (line,) = LifetimeChecks("hopper", 500).look(chunks, {0: replace(results[0], not_finite=())})
    assert "2 of 8 lifetimes in hopper are not finite (fitness: lifetimes 0, 1)" in line
    assert replace(results[0], not_finite=()).counts["lives/not_finite"] == 2


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_the_figures_are_of_the_lifetimes_that_are_finite(tmp_path: Path, value: float) -> None:
    watcher, calm = Watcher(), Watcher()
    result = evolve(tmp_path / "sick", collector=Sick(perturbed=(3, 9), evaluation=(1,), value=value), observer=watcher)
    evolve(tmp_path / "calm", observer=calm)
    chunks = [record for record in read(tmp_path / "sick" / "journal.jsonl") if isinstance(record, ChunkResult)]
    for epoch, (_, scalars) in enumerate(watcher.metrics):
        fitness = np.array([f for one in chunks if (one.kind, one.epoch) == ("perturbed", epoch) for f in one.fitness])
        assert np.isfinite(fitness).sum() == 14
        assert scalars["fitness/mean"] == pytest.approx(np.mean(fitness[np.isfinite(fitness)]))
        assert scalars["lives/not_finite"] == (2 if "evaluation/score" not in scalars else 3)
    scores = [record.score for record in read(tmp_path / "sick" / "journal.jsonl") if isinstance(record, UpdateRecord)]
    assert [score is None for score in scores] == [True, False] * 3
    assert result.figures["evaluation/best"] == max(score for score in scores if score is not None)
    assert result.counts["lives/not_finite"] == 6 * 2 + 3
    assert watcher.statuses[-1].figures["fitness/mean"] == watcher.metrics[-1][1]["fitness/mean"]
    assert [line.split(":")[0] for line in watcher.events] == ["epoch 1", "evaluation after epoch 2"]
    assert (calm.events, calm.metrics[-1][1]["lives/not_finite"]) == ([], 0)


def test_phi_is_the_same_bit_for_bit_after_a_stop_and_from_the_journal_alone(tmp_path: Path) -> None:
    collector = Sick(perturbed=(3, 9), evaluation=(1,), value=INF)
    want = evolve(tmp_path / "calm", collector=collector)
    watcher = Watcher(when=lambda status: status.rounds == 3 and status.done == 2)
    watcher._deed = lambda: setattr(watcher, "wants_stop", True)
    part = evolve(tmp_path / "run", sized(log_every_s=1e-6), collector=collector, observer=watcher)
    assert part.reason == "stopped by signal"
    resumption = resume(tmp_path / "run" / "journal.jsonl", None)
    assert resumption["statistics"]["counts"]["lives/not_finite"] == 3 * 2 + 1
    result = evolve(tmp_path / "run", collector=collector)
    assert phi_sha256(result.parameters["phi"]) == phi_sha256(want.parameters["phi"])
    assert result.counts["lives/not_finite"] == want.counts["lives/not_finite"] == 6 * 2 + 3
    np.testing.assert_array_equal(rebuild(tmp_path / "run" / "journal.jsonl").phi, want.parameters["phi"])


def test_a_record_is_json_whatever_its_fitness_and_one_of_an_older_version_is_read() -> None:
    named = (NotFinite(life=5, what="observation", task="x"),)
    record = ChunkResult(
        kind="perturbed",
        epoch=3,
        index=1,
        fitness=(0.1, NAN, INF, -INF),
        env_steps=3,
        busy_s=0.5,
        not_finite=named,
        cut_episodes=2,
    )

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    _, fields = json.loads(encode(record), parse_constant=refuse)
    assert fields["fitness"] == [0.1, "nan", "inf", "-inf"]
    back = decode(encode(record))
    assert isinstance(back, ChunkResult)
    np.testing.assert_array_equal(back.fitness, record.fitness)
    assert replace(back, fitness=()) == replace(record, fitness=())
    plain = encode(replace(record, fitness=(0.1,), not_finite=(), cut_episodes=0))
    assert b"not_finite" not in plain and b"cut" not in plain  # as older versions write and read it
    older = b'{"record": "chunk", "kind": "perturbed", "epoch": 0, "index": 0, "fitness": [NaN, -Infinity], "env_steps": 1, "busy_s": 1.0}'
    found = decode(b'["%08x", %s]\n' % (zlib.crc32(older), older))
    assert isinstance(found, ChunkResult)
    np.testing.assert_array_equal(found.fitness, [NAN, -INF])


RUN = [
    "train",
    "epg",
    "--preset",
    "point-goal",
    "--family",
    "cartpole",
    "--local",
    "--no-progress",
    "--workers",
    "16",
    "--vectors",
]
RUN += ["8", "--lives-per-chunk", "4", "--epochs", "4", "--set", "evaluate_every=2", "evaluation_lives=3", "log_every_s=0.02"]


@pytest.fixture
def sick(monkeypatch: pytest.MonkeyPatch) -> Callable[[Sick], None]:
    return lambda collector: monkeypatch.setattr("cluster.run.lifetimes.make_collector", collector)


def test_a_run_says_it_and_ends_well(tmp_path: Path, sick: Callable[[Sick], None], capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    sick(Sick(perturbed=(3,), evaluation=(0,)))
    assert main([*RUN, "--out", str(run)]) == 0
    out = capsys.readouterr().out
    assert "epoch 1: 1 of 16 lifetimes in cartpole are not finite (observation: lifetime 3)" in out
    assert "no evaluation yet" not in out and "(best evaluation)" in out
    assert f"lifetimes 6 of 70 not finite (see {run}/log.txt)" in out
    assert (run / "log.txt").read_text().count("are not finite") == 2
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["counts"]["lives/not_finite"], summary["counts"]["lives"]) == (4 + 2, 4 * 16 + 2 * 3)
    assert summary["figures"]["evaluation/best"] is not None and summary["figures"]["fitness/mean"] is not None
    assert all(record["fitness/mean"] is not None for record in read_metrics(run / "metrics.jsonl"))
    assert main(["journal", str(run)]) == 0
    assert "nan" not in capsys.readouterr().out
    assert main(["journal", str(run), "--verify"]) == 0


@pytest.mark.parametrize(
    ("collector", "where"),
    [
        (Sick(perturbed=tuple(range(9))), "epoch 1: 9 of 16 lifetimes in cartpole"),
        (Sick(evaluation=(0, 1)), "evaluation after epoch 2: 2 of 3 lifetimes in cartpole"),
    ],
    ids=["perturbed", "evaluation"],
)
def test_a_run_of_which_most_lifetimes_are_not_finite_fails_in_one_line(
    collector: Sick, where: str, tmp_path: Path, sick: Callable[[Sick], None], capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    sick(collector)
    assert main([*RUN, "--out", str(run)]) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"metaray: the run failed: NotFiniteError: {where} are not finite (observation: lifetimes 0, 1")
    assert err.endswith(f"look for NaN or infinity in what the environment returns (details in {run}/log.txt)\n")
    assert err.count("\n") == 1
