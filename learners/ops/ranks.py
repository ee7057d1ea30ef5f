"""Fitness shaping: rank transformations, so that only the order of candidates counts.

    centred    u_v = rank(f_v) / (V - 1) - 1/2                         in [-1/2, 1/2]; ties share their mean rank
    pairwise   u_+ = P(f_+ > f_-) + P(f_+ = f_-) / 2 - 1/2 = -u_-       over the R pairs of lifetimes with equal random numbers

Reference: Wierstra et al. (2014), section 3.1 and Salimans et al. (2017), section 2 for ranks; Jackson et al. (2023) for pairs, which
compare candidates on the same task and so do not depend on its difficulty.

Letters: V candidates, R lifetimes of each.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def centred_ranks(fitness: Float[np.ndarray, "V R"]) -> Float[np.ndarray, " V"]:
    """Return the centred rank of each candidate's mean fitness; one with a fitness that is NaN or infinite ranks last."""
    means = _or_worst(fitness).mean(axis=1)
    if means.size == 1:
        return np.zeros(1)
    _, which, counts = np.unique(means, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(counts) - (counts + 1) / 2  # of a group of ties; the lowest rank is 0
    ranks: Float[np.ndarray, " V"] = mean_rank[which] / (means.size - 1) - 0.5
    return ranks


def pairwise_ranks(fitness: Float[np.ndarray, "V R"]) -> Float[np.ndarray, " V"]:
    """Return how often each candidate beat the other of its pair, less 1/2; candidates 2p and 2p + 1 are a pair.

    A fitness that is NaN or infinite loses to every other.
    """
    worst = _or_worst(fitness)
    first, second = worst[0::2], worst[1::2]
    wins = np.where(first == second, 0.5, first > second).mean(axis=1) - 0.5
    return np.stack((wins, -wins), axis=1).ravel()


def _or_worst(fitness: Float[np.ndarray, "V R"]) -> Float[np.ndarray, "V R"]:
    """Replace what is not finite by the worst fitness: infinite rewards of either sign are faults of a simulator."""
    return np.where(np.isfinite(fitness), fitness, -np.inf)
