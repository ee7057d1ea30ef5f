"""The learned losses of many lifetimes, evaluated stacked and without repeated work.

The inputs of a row change at three rates: static numbers once an update, the policy's outputs for the row at each
minibatch, and numbers that are the same in every row (log std, memory). The first layers of context and head are linear, so each part has
its own product, and only the second is computed at each minibatch:

    conv_1(rows)[t] + b = (static windows[t] W_s + b)  +  varying windows[t] W_v  +  constant sum_k W_c[k]

Letters: L lifetimes, N rows of the buffer, M newest rows, B rows of a minibatch, T positions of the first convolution, S, A and Q static,
varying and constant numbers of a row, C channels, F features of the context, H of the head.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import leaky_relu

from learners.learned_loss.network import LEAK, LossShape
from learners.networks.stacked import linear


@dataclass(frozen=True, kw_only=True)
class StaticParts:
    """Contribution of the static numbers of the rows, for one update.

    Attributes:
        context: to the first convolution, bias included.
        head: to the head's first layer, for the newest rows, bias included.
    """

    context: Float[Tensor, "L T C"]
    head: Float[Tensor, "L M H"]


class LossStack:
    """L losses with parameters phi [L, P], split into matrices for the three parts of a row.

    Args:
        shape: of every loss.
        phis: a row for each lifetime; no gradient flows to them.
    """

    def __init__(self, shape: LossShape, phis: Float[Tensor, "L P"]) -> None:
        self.shape = shape
        weights = shape.layout.views(phis)
        static, varying = shape.static_size, shape.action_size
        conv1, hidden = weights["context.conv1.weight"], weights["head.hidden.weight"]
        self._conv1_static = conv1[:, :, :static].flatten(1, 2).contiguous()
        self._conv1_varying = conv1[:, :, static : static + varying].flatten(1, 2).contiguous()
        self._conv1_constant = conv1[:, :, static + varying :].sum(dim=1)
        self._conv1_bias = weights["context.conv1.bias"]
        self._conv2 = weights["context.conv2.weight"].flatten(1, 2).contiguous(), weights["context.conv2.bias"]
        self._dense = weights["context.dense.weight"].contiguous(), weights["context.dense.bias"]
        sizes = [static, varying, shape.constant_size, hidden.shape[1] - shape.row_size]
        self._hidden = tuple(part.contiguous() for part in torch.split(hidden, sizes, dim=1))
        self._hidden_bias = weights["head.hidden.bias"]
        self._output = weights["head.output.weight"].contiguous(), weights["head.output.bias"]

    def static_parts(self, static: Float[Tensor, "L N S"], num_newest: int) -> StaticParts:
        """Return the contribution of the static numbers.

        Args:
            static: of all rows, oldest first.
            num_newest: M, number of newest rows that minibatches are drawn from.
        """
        return StaticParts(
            context=linear(self._windows(static), self._conv1_static, self._conv1_bias),
            head=linear(static[:, -num_newest:], self._hidden[0], self._hidden_bias),
        )

    def context(
        self, parts: StaticParts, varying: Float[Tensor, "L N A"], constant: Float[Tensor, "L Q"]
    ) -> Float[Tensor, "L F"]:
        """Return the context of the whole buffer. Gradient: flows to `varying` and `constant`."""
        first = parts.context + torch.bmm(self._windows(varying), self._conv1_varying)
        first = leaky_relu(first + torch.bmm(constant.unsqueeze(1), self._conv1_constant), LEAK)
        (_, stride), (_, taps) = self.shape.convolutions.strides, self.shape.convolutions.kernels
        second = leaky_relu(linear(windows(first, taps, stride), *self._conv2), LEAK)
        return linear(second.mean(dim=1, keepdim=True), *self._dense).squeeze(1)

    def head(
        self,
        parts: StaticParts,
        rows: Int[Tensor, "L B"],
        varying: Float[Tensor, "L B A"],
        constant: Float[Tensor, "L Q"],
        context: Float[Tensor, "L F"],
    ) -> Float[Tensor, " L"]:
        """Return each lifetime's loss on a minibatch.

        Args:
            parts: of this update.
            rows: indices of the minibatch among the newest rows.
            varying: the policy's outputs for those rows.
            constant: log std and memory.
            context: of the buffer.

        Gradient: flows to `varying`, `constant` and `context`.
        """
        _, of_varying, of_constant, of_context = self._hidden
        static = parts.head.gather(1, rows.unsqueeze(-1).expand(-1, -1, parts.head.shape[-1]))
        shared = torch.bmm(constant.unsqueeze(1), of_constant) + torch.bmm(context.unsqueeze(1), of_context)
        hidden = leaky_relu(static + torch.bmm(varying, of_varying) + shared, LEAK)
        return linear(hidden, *self._output).mean(dim=(1, 2))

    def _windows(self, rows: Float[Tensor, "L N D"]) -> Float[Tensor, "L T KD"]:
        (taps, _), (stride, _) = self.shape.convolutions.kernels, self.shape.convolutions.strides
        return windows(rows, taps, stride)


def windows(rows: Float[Tensor, "L N D"], taps: int, stride: int) -> Float[Tensor, "L T KD"]:
    """Return the `taps` input rows of each output of a convolution without padding, concatenated. Gradient: flows to `rows`."""
    num_outputs = (rows.shape[1] - taps) // stride + 1
    last = stride * (num_outputs - 1) + 1
    return torch.cat([rows[:, tap : tap + last : stride] for tap in range(taps)], dim=-1)


def static_rows(shape: LossShape, rows: Float[Tensor, "L N OA"], ends: Float[Tensor, "L N 2"]) -> Float[Tensor, "L N S"]:
    """Return the inputs of the loss from rows, except the policy's outputs.

    Args:
        shape: which inputs the loss has.
        rows: observation and action, normalised.
        ends: reward and end of episode, raw.
    """
    reward, is_last = torch.split(ends, 1, dim=-1)
    parts = [rows]
    parts += [reward] if shape.reward_input else []
    parts += [torch.zeros_like(reward)] if shape.convolutions.has_counts else []
    return torch.cat([*parts, is_last], dim=-1)
