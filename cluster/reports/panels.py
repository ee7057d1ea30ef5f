"""Plots of an algorithm's runs, as data: a panel for each metric, and the settings without effect on the curves."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Panel:
    """The curves of a metric.

    Attributes:
        metric: its name in metrics.jsonl; a name that ends with `*` is each metric with this prefix, in a panel of its own.
        label: of the axis, with its unit; empty for the name of the metric.
        limits: of the axis; None for those of the values.
        is_noisy: shown with its running mean.
        band: around the curve of a single run: one metric is a deviation to both sides, two are its edges.
        band_label: of the band, in the legend.
        points: a metric that is shown as points in the same panel.
        points_label: of the points, in the legend.
        absent: text where no run has a value yet.
    """

    metric: str
    label: str = ""
    limits: tuple[float | None, float | None] = (None, None)
    is_noisy: bool = False
    band: tuple[str, ...] = ()
    band_label: str = ""
    points: str = ""
    points_label: str = ""
    absent: str = "no value yet"


@dataclass(frozen=True, kw_only=True)
class Panels:
    """The plot of an algorithm's runs.

    Attributes:
        axis: metric of the horizontal axis, and its label.
        panels: the first one is large, the others are below it.
        idle: settings without effect on a curve, except on where it ends.
        length: the settings for the length of a run, for the length of its schedules where that differs, and one that is false where there
            is no schedule; the last is empty where there always is one.
    """

    axis: tuple[str, str]
    panels: tuple[Panel, ...]
    idle: tuple[str, ...]
    length: tuple[str, str, str]


_IDLE = ("seed", "preset", "keep_checkpoints", "log_every_s", "max_train_seconds")

UNROLLS = Panels(
    axis=("env_steps", "environment steps"),
    panels=(
        Panel(
            metric="return/mean_100",
            label="return (mean of the last 100 episodes)",
            band=("return/p10_100", "return/p90_100"),
            band_label="10th to 90th percentile of these episodes",
            absent="no episode has ended yet",
        ),
        Panel(metric="eta/*"),
        Panel(metric="throughput/env_steps_per_s", label="steps/s", limits=(0, None), is_noisy=True),
        Panel(metric="lag/mean", label="lag (updates)", limits=(0, None), is_noisy=True),
    ),
    idle=(*_IDLE, "stop_return", "checkpoint_every_s", "checkpoint_every_rounds", "actor_deadline_s"),
    length=("total_env_steps", "schedule_env_steps", "learner.anneal"),
)
"""Of a learner of unrolls."""

ADAPTATION = Panels(
    axis=UNROLLS.axis,
    panels=(
        Panel(
            metric="return/post_update",
            label="return after the inner steps (mean over tasks)",
            points="evaluation/score",
            points_label="on held-out tasks",
            absent="no episode has ended yet",
        ),
        Panel(metric="return/pre_update", label="return before the inner steps"),
        Panel(metric="throughput/env_steps_per_s", label="steps/s", limits=(0, None), is_noisy=True),
    ),
    idle=(*UNROLLS.idle, "num_actors"),
    length=UNROLLS.length,
)
"""Of a meta-learner of initial weights, whose curves do not depend on the number of actors."""

EVOLUTION = Panels(
    axis=("epoch", "epochs"),
    panels=(
        Panel(
            metric="fitness/mean",
            label="fitness (return with the final policy)",
            band=("fitness/std",),
            band_label="one standard deviation over lifetimes",
            points="evaluation/score",
            points_label="evaluation of the unperturbed phi, without guidance",
            absent="no epoch has ended yet",
        ),
        Panel(metric="throughput/lives_per_s", label="lifetimes/s", limits=(0, None)),
        Panel(metric="alpha", label="guidance (alpha)", limits=(0, 1.05)),
    ),
    idle=(*_IDLE, "num_actors", "checkpoint_every_epochs", "chunk_deadline_s", "max_chunk_failures"),
    length=("num_epochs", "schedule_epochs", ""),
)
"""Of an evolved loss, whose curves do not depend on the number of actors."""
