"""First weights of the released code of Evolved Policy Gradients, from its `NN.__init__` (networks.py), for reading.

A layer there is a matrix [outputs, inputs]; a layer with 11 inputs and 64 outputs is 64 x 11 normal numbers, divided column by column by
the square root of the column's sum of squares, and the last layer is 0.01 of that.
"""

from __future__ import annotations

import math

import numpy as np


def released_layer(normal: np.ndarray, *, is_last: bool) -> np.ndarray:
    """[outputs, inputs] of standard normal numbers -> the layer's first weight, [outputs, inputs]."""
    num_outputs, num_inputs = normal.shape
    weight = np.zeros_like(normal)
    for column in range(num_inputs):
        length = math.sqrt(sum(normal[row, column] ** 2 for row in range(num_outputs)))
        for row in range(num_outputs):
            weight[row, column] = normal[row, column] * (0.01 if is_last else 1.0) / length
    return weight
