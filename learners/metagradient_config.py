"""Hyper-parameters of the meta-gradient: the meta-parameters, their ranges, and the outer objective."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from msgspec import Meta

from envs.errors import InvalidInputError
from learners.networks.agent import Conditioning
from learners.ops.meta_parameters import META_PARAMETERS, Range, check_names, to_logits
from learners.ops.optimisers import OptimiserConfig
from learners.vtrace_loss import ImpalaConfig

Share = Annotated[float, Meta(ge=0, le=1)]
Cost = Annotated[float, Meta(ge=0, le=100)]


@dataclass(frozen=True, kw_only=True)
class MetaConfig:
    """The outer objective and its update; the defaults are the published ones for Atari where they are known (docs/metagradient.md)."""

    outer_gamma: Annotated[float, Meta(ge=0, le=1, description="gamma-bar, the fixed discount of the outer objective")] = 0.99
    outer_lambda: Annotated[float, Meta(ge=0, le=1, description="lambda-bar, the fixed trace of the outer objective")] = 1.0
    outer_critic: Annotated[
        Literal["outer", "inner"],
        Meta(
            description="value head of the outer objective: one trained at gamma-bar, or the inner critic (the 2018 form, biased)"
        ),
    ] = "outer"
    learning_rate: Annotated[float, Meta(gt=0, le=10, description="step size of Adam on the logits of eta")] = 1e-3
    max_gradient_norm: Annotated[
        Annotated[float, Meta(gt=0)] | None, Meta(description="clip of the norm of the meta-gradient; null: none")
    ] = None
    batch_unrolls: Annotated[
        int,
        Meta(
            ge=1,
            le=1_000_000,
            description="meta-batch: unrolls of each batch that the outer objective is computed on; at most all",
        ),
    ] = 8
    normalise_advantages: Annotated[bool, Meta(description="standardise the outer objective's advantages")] = False
    embedding_size: Annotated[
        int,
        Meta(ge=0, le=4096, description="size of the embedding of eta that the network is conditioned on; 0: no conditioning"),
    ] = 16
    trace_decay: Annotated[float, Meta(ge=0, lt=1, description="mu: decay of the trace z of earlier updates; published: 0")] = 0.0
    derivative: Annotated[
        Literal["jvp", "vjp"],
        Meta(
            description="jvp: one forward-mode pass for all of eta; vjp: one backward pass for each, keeps z (for trace_decay > 0)"
        ),
    ] = "jvp"
    gamma_range: Annotated[tuple[Share, Share], Meta(description="range of gamma, low and high")] = (0.0, 1.0)
    lambda_range: Annotated[tuple[Share, Share], Meta(description="range of lambda, low and high")] = (0.0, 1.0)
    policy_cost_range: Annotated[tuple[Cost, Cost], Meta(description="range of the policy cost, low and high")] = (0.0, 2.0)
    baseline_cost_range: Annotated[tuple[Cost, Cost], Meta(description="range of the baseline cost, low and high")] = (0.0, 1.0)
    entropy_cost_range: Annotated[tuple[Cost, Cost], Meta(description="range of the entropy cost, low and high")] = (0.0, 0.1)
    leak_rho_range: Annotated[tuple[Share, Share], Meta(description="range of the leak of rho, low and high")] = (0.0, 1.0)
    leak_c_range: Annotated[tuple[Share, Share], Meta(description="range of the leak of c, low and high")] = (0.0, 1.0)

    @property
    def optimiser(self) -> OptimiserConfig:
        """Adam, as published. A meta-gradient carries a step size and the scale of rewards, and falls below the usual 1e-8 (seen: 1e-9)."""
        return OptimiserConfig(kind="adam", epsilon=1e-16)

    def range_of(self, name: str) -> Range:
        """(low, high) of the meta-parameter `name`."""
        low, high = getattr(self, f"{name}_range")
        return float(low), float(high)


@dataclass(frozen=True, kw_only=True)
class MetaGradient:
    """A learner that may tune some of its hyper-parameters.

    Attributes:
        eta: names of the meta-parameters, in order; empty for a learner without meta-gradients.
        learner: the inner loss and its update; fields named in eta are its initial values.
        meta: the outer objective and its update.
    """

    eta: Annotated[
        tuple[str, ...],
        Meta(description="meta-parameters to tune, such as gamma,lambda; they start from the values under learner"),
    ] = ()
    learner: ImpalaConfig = field(default_factory=ImpalaConfig)
    meta: MetaConfig = field(default_factory=MetaConfig)

    @property
    def ranges(self) -> list[Range]:
        """(low, high) of each meta-parameter."""
        return [self.meta.range_of(name) for name in self.eta]

    @property
    def starts(self) -> dict[str, float]:
        """Initial value of each meta-parameter."""
        return {name: float(getattr(self.learner, META_PARAMETERS[name])) for name in self.eta}

    @property
    def outer(self) -> ImpalaConfig:
        """The fixed return of the outer objective: gamma-bar, lambda-bar, and V-trace without a leak."""
        return replace(self.learner, gamma=self.meta.outer_gamma, lambda_=self.meta.outer_lambda, leak_rho=1.0, leak_c=1.0)

    @property
    def conditioning(self) -> Conditioning:
        """The network's conditioning on eta, and its outer value head."""
        if not self.eta:
            return Conditioning()
        return Conditioning(
            num_eta=len(self.eta), embedding_size=self.meta.embedding_size, has_outer_value=self.meta.outer_critic == "outer"
        )


def check(config: MetaGradient) -> None:
    """Check names, ranges and starts against each other.

    Raises:
        InvalidInputError: names the value, the allowed range and a fix.
    """
    check_names(config.eta)
    for name, (low, high) in zip(config.eta, config.ranges, strict=True):
        if low >= high:
            raise InvalidInputError(f"meta.{name}_range = {low:g},{high:g}: expected low < high")
    to_logits(config.starts, dict(zip(config.eta, config.ranges, strict=True)))
    if config.meta.trace_decay > 0 and config.meta.derivative != "vjp":
        raise InvalidInputError(
            f"meta.trace_decay = {config.meta.trace_decay:g} decays z, which meta.derivative = jvp never forms: set meta.derivative=vjp"
        )
