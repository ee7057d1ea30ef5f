"""Whether a policy has collapsed: its return was higher before, and has stayed near its minimum for long.

    floor      the mean return is within 5 % of the way from the lowest mean so far to the best
    gone       entropy below 5 % of its first value; for continuous actions, standard deviations of about 0.02 and less
    fallen     the best mean is above the present returns by more than three of their standard deviations
    collapse   at the floor, and gone or fallen, for a fifth of all steps and for 100 updates

A run that has not learned yet is at its floor too, but keeps its entropy and has no higher best, so there is no warning.
"""

from __future__ import annotations

from dataclasses import dataclass

FLOOR_SHARE = 0.05
ENTROPY_SHARE = 0.05
CONTINUOUS_ENTROPY_SHARE = -1.8
"""A Gaussian's entropy is 1.42 nats a component at a standard deviation of 1, where it starts, and -2.5 at 0.02."""
FALL_IN_SPREADS = 3.0
LONG_SHARE = 0.2
LONG_UPDATES = 100

REMEDIES = (
    "a smaller learner.learning_rate, lag = 0, a larger learner.entropy_cost or a smaller learner.max_gradient_norm may help"
)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Input of the check.

    Attributes:
        env_steps, updates: so far.
        mean_return: of the last 100 episodes, over settled episodes.
        best_return: the highest such mean so far.
        spread: standard deviation of those returns.
        entropy: of the policy, in nats, mean over the newest updates; None where no update was made since the last reading.
    """

    env_steps: int
    updates: int
    mean_return: float
    best_return: float
    spread: float
    entropy: float | None


class CollapseWatch:
    """Follows a run and warns once when its policy has collapsed; again only after it has recovered."""

    def __init__(self) -> None:
        self._lowest: float | None = None
        self._first_entropy: float | None = None
        self._entropy: float | None = None
        self._since: Reading | None = None
        self._is_said = False

    def look(self, reading: Reading) -> str | None:
        """Add a reading; return a warning, or None."""
        if reading.entropy is not None:
            self._entropy = reading.entropy
            self._first_entropy = reading.entropy if self._first_entropy is None else self._first_entropy
        mean = reading.mean_return
        self._lowest = mean if self._lowest is None else min(self._lowest, mean)
        is_at_floor = mean <= self._lowest + FLOOR_SHARE * (reading.best_return - self._lowest)
        has_fallen = reading.best_return - mean > FALL_IN_SPREADS * reading.spread and reading.best_return > mean
        if not (is_at_floor and (has_fallen or self._is_entropy_gone)):
            self._since, self._is_said = None, False
            return None
        self._since = self._since or reading
        steps, updates = reading.env_steps - self._since.env_steps, reading.updates - self._since.updates
        if self._is_said or steps < LONG_SHARE * reading.env_steps or updates < LONG_UPDATES:
            return None
        self._is_said = True
        entropy = f", with an entropy of {self._entropy:.2g} nats left" if self._is_entropy_gone else ""
        return (
            f"the policy may have collapsed: a return of {mean:.4g} for {steps:,} steps{entropy}, where the best was "
            f"{reading.best_return:.4g}; {REMEDIES}"
        )

    @property
    def _is_entropy_gone(self) -> bool:
        now, first = self._entropy, self._first_entropy
        if now is None or first is None or first <= 0:
            return False
        return 0 <= now < ENTROPY_SHARE * first or now < CONTINUOUS_ENTROPY_SHARE * first
