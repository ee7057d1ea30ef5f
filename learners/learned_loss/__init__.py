"""Learned losses: the network, alone and stacked; the inner loop that trains policies on it; a module for custom training loops."""

from learners.learned_loss.loss import LearnedLoss

__all__ = ["LearnedLoss"]
