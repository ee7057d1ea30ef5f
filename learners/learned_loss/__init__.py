"""Learned losses: the network, alone and stacked; the inner loop that trains policies on it; a module for a loop of one's own."""

from learners.learned_loss.loss import LearnedLoss

__all__ = ["LearnedLoss"]
