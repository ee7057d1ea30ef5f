"""The slow truth for recurrent cores: one environment, one step at a time, in numpy, every episode started from zero."""

from __future__ import annotations

import numpy as np


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def lstm(
    x: np.ndarray, is_first: np.ndarray, state: tuple[np.ndarray, ...], weights: dict[str, np.ndarray]
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Run x [T, F] of one environment; gates in the order input, forget, output, candidate."""
    hidden, cell = state
    rows = np.split(weights["weight_input"], 4), np.split(weights["weight_hidden"], 4), np.split(weights["bias"], 4)
    outputs = []
    for t in range(len(x)):
        if is_first[t]:
            hidden, cell = np.zeros_like(hidden), np.zeros_like(cell)
        enter, forget, leave, candidate = (w @ x[t] + u @ hidden + b for w, u, b in zip(*rows, strict=True))
        cell = sigmoid(forget) * cell + sigmoid(enter) * np.tanh(candidate)
        hidden = sigmoid(leave) * np.tanh(cell)
        outputs.append(hidden)
    return np.stack(outputs), (hidden, cell)


def gru(
    x: np.ndarray, is_first: np.ndarray, state: tuple[np.ndarray, ...], weights: dict[str, np.ndarray]
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Run x [T, F] of one environment; gates in the order reset, update, candidate."""
    (hidden,) = state
    w, u, b = np.split(weights["weight_input"], 3), np.split(weights["weight_hidden"], 3), np.split(weights["bias"], 3)
    outputs = []
    for t in range(len(x)):
        if is_first[t]:
            hidden = np.zeros_like(hidden)
        reset = sigmoid(w[0] @ x[t] + u[0] @ hidden + b[0])
        update = sigmoid(w[1] @ x[t] + u[1] @ hidden + b[1])
        candidate = np.tanh(w[2] @ x[t] + b[2] + reset * (u[2] @ hidden + weights["bias_hidden"]))
        hidden = (1 - update) * candidate + update * hidden
        outputs.append(hidden)
    return np.stack(outputs), (hidden,)
