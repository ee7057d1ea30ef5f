"""Recurrent cores that reset at episode borders inside an unroll.

    LSTM:  i, f, o = sigmoid(W x + U h + b),   g = tanh(W x + U h + b),   c' = f c + i g,   h' = o tanh(c')
    GRU:   r, z = sigmoid(W x + U h + b),      n = tanh(W x + b + r (U h + b')),            h' = (1 - z) n + z h

with h = c = 0 wherever `is_first`: so an unroll over many episodes equals separate unrolls of each episode. The state is replaced there
and not multiplied by zero, since it may be NaN. The input's share of all gates is one
matrix product over the whole unroll; only U h remains inside the loop over time. Plain tensor operations rather than a fused kernel:
forward-mode derivatives pass through.

Reference: Hochreiter and Schmidhuber (1997) with the forget gate of Gers et al. (2000), its bias starting at one as in Jozefowicz et al.
(2015); Cho et al. (2014) in the form of cuDNN.
Letters: T time, B environments, F features, H hidden.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional


class _Core(nn.Module):
    """The weights of a core's gates, each gate's block orthogonal on its own."""

    def __init__(self, num_gates: int, num_inputs: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.weight_input, self.weight_hidden = (
            nn.Parameter(torch.cat([nn.init.orthogonal_(torch.empty(size, num)) for _ in range(num_gates)]))
            for num in (num_inputs, size)
        )
        self.bias = nn.Parameter(torch.zeros(num_gates * size))


class LSTM(_Core):
    """Long short-term memory; its state is (h, c)."""

    num_states = 2

    def __init__(self, num_inputs: int, size: int) -> None:
        super().__init__(4, num_inputs, size)
        with torch.no_grad():
            self.bias[size : 2 * size] = 1.0  # keeps the cell state at first

    def forward(
        self, x: Float[Tensor, "T B F"], is_first: Bool[Tensor, "T B"], state: tuple[Float[Tensor, "B H"], ...]
    ) -> tuple[Float[Tensor, "T B H"], tuple[Float[Tensor, "B H"], ...]]:
        """Return the hidden state of every step and the state after the last."""
        hidden, cell = state
        outputs, zero = [], x.new_zeros(())
        gates_t, keep_t = functional.linear(x, self.weight_input, self.bias), _keep(is_first)
        for from_input, keep in zip(gates_t.unbind(), keep_t.unbind(), strict=True):
            gates = torch.addmm(from_input, torch.where(keep, hidden, zero), self.weight_hidden.t())
            switches, candidate = torch.split_with_sizes(gates, (3 * self.size, self.size), dim=-1)
            enter, forget, leave = switches.sigmoid().chunk(3, dim=-1)
            cell = torch.addcmul(forget * torch.where(keep, cell, zero), enter, candidate.tanh())
            hidden = leave * cell.tanh()
            outputs.append(hidden)
        return torch.stack(outputs), (hidden, cell)


class GRU(_Core):
    """Gated recurrent unit; its state is (h,)."""

    num_states = 1

    def __init__(self, num_inputs: int, size: int) -> None:
        super().__init__(3, num_inputs, size)
        self.bias_hidden = nn.Parameter(torch.zeros(size))

    def forward(
        self, x: Float[Tensor, "T B F"], is_first: Bool[Tensor, "T B"], state: tuple[Float[Tensor, "B H"], ...]
    ) -> tuple[Float[Tensor, "T B H"], tuple[Float[Tensor, "B H"], ...]]:
        """Return the hidden state of every step and the state after the last."""
        (hidden,) = state
        sizes = (2 * self.size, self.size)
        outputs, zero = [], x.new_zeros(())
        gates_t, keep_t = functional.linear(x, self.weight_input, self.bias), _keep(is_first)
        for from_input, keep in zip(gates_t.unbind(), keep_t.unbind(), strict=True):
            hidden = torch.where(keep, hidden, zero)
            switches, candidate = torch.split_with_sizes(from_input, sizes, dim=-1)
            switches_hidden, candidate_hidden = torch.split_with_sizes(hidden @ self.weight_hidden.t(), sizes, dim=-1)
            reset, update = (switches + switches_hidden).sigmoid().chunk(2, dim=-1)
            hidden = torch.lerp(torch.addcmul(candidate, reset, candidate_hidden + self.bias_hidden).tanh(), hidden, update)
            outputs.append(hidden)
        return torch.stack(outputs), (hidden,)


def _keep(is_first: Tensor) -> Tensor:
    """[T, B, 1]: false where the state is reset."""
    return is_first.logical_not().unsqueeze(-1)
