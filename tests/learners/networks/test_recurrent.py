from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from oracles import recurrent as oracle

from learners.networks.recurrent import GRU, LSTM

T, B, F, H = 9, 4, 3, 5
CORES = [(LSTM, oracle.lstm), (GRU, oracle.gru)]
Oracle = Callable[..., tuple[np.ndarray, tuple[np.ndarray, ...]]]


def inputs(core: LSTM | GRU, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, tuple[torch.Tensor, ...]]:
    """Input, episode starts (at the first row, inside, at the last row, two in a row, never) and a state left by the unroll before."""
    generator = torch.Generator().manual_seed(seed)
    is_first = torch.zeros(T, B, dtype=torch.bool)
    is_first[0, 0] = is_first[4, 0] = is_first[5, 1] = is_first[6, 1] = is_first[T - 1, 2] = True
    x = torch.randn(T, B, F, generator=generator, dtype=torch.float64)
    state = tuple(torch.randn(B, H, generator=generator, dtype=torch.float64) for _ in range(core.num_states))
    return x, is_first, state


def make(kind: type[LSTM] | type[GRU]) -> LSTM | GRU:
    torch.manual_seed(0)
    core = kind(F, H).double()
    for parameter in core.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return core


@pytest.mark.parametrize(("kind", "truth"), CORES)
def test_equals_one_environment_and_one_step_at_a_time(kind: type[LSTM] | type[GRU], truth: Oracle) -> None:
    core = make(kind)
    x, is_first, state = inputs(core)
    outputs, last = core(x, is_first, state)
    weights = {name: parameter.detach().numpy() for name, parameter in core.named_parameters()}
    for b in range(B):
        want, want_last = truth(x[:, b].numpy(), is_first[:, b].numpy(), tuple(s[b].numpy() for s in state), weights)
        np.testing.assert_allclose(outputs[:, b].detach().numpy(), want, rtol=1e-12, atol=1e-14)
        for got, wanted in zip(last, want_last, strict=True):
            np.testing.assert_allclose(got[b].detach().numpy(), wanted, rtol=1e-12, atol=1e-14)


def test_gates_equal_those_of_torch() -> None:
    x, _, state = inputs(make(LSTM))
    never = torch.zeros(T, B, dtype=torch.bool)
    lstm, theirs = make(LSTM), torch.nn.LSTM(F, H).double()
    order = torch.tensor([0, 1, 3, 2])  # ours: input, forget, output, candidate; torch's: candidate before output
    with torch.no_grad():
        for mine, other in ((lstm.weight_input, theirs.weight_ih_l0), (lstm.weight_hidden, theirs.weight_hh_l0)):
            other.copy_(mine.view(4, H, -1)[order].reshape(4 * H, -1))
        theirs.bias_ih_l0.copy_(lstm.bias.view(4, H)[order].flatten())
        theirs.bias_hh_l0.zero_()
        hidden, cell = state
        torch.testing.assert_close(lstm(x, never, state)[0], theirs(x, (hidden[None], cell[None]))[0])

        gru, other_gru = make(GRU), torch.nn.GRU(F, H).double()
        assert isinstance(gru, GRU)
        other_gru.weight_ih_l0.copy_(gru.weight_input)
        other_gru.weight_hh_l0.copy_(gru.weight_hidden)
        other_gru.bias_ih_l0.copy_(gru.bias)
        other_gru.bias_hh_l0.zero_()
        other_gru.bias_hh_l0[2 * H :] = gru.bias_hidden
        torch.testing.assert_close(gru(x, never, (hidden,))[0], other_gru(x, hidden[None])[0])


@pytest.mark.parametrize("kind", [LSTM, GRU])
def test_an_unroll_cut_in_two_continues_from_the_state(kind: type[LSTM] | type[GRU]) -> None:
    core = make(kind)
    x, is_first, state = inputs(core)
    whole, last = core(x, is_first, state)
    head, between = core(x[:5], is_first[:5], state)
    tail, end = core(x[5:], is_first[5:], between)
    torch.testing.assert_close(torch.cat((head, tail)), whole, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(end, last, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", [LSTM, GRU])
def test_no_gradient_crosses_an_episode_border(kind: type[LSTM] | type[GRU]) -> None:
    core = make(kind)
    x, is_first, state = inputs(core)
    x.requires_grad_()
    state = tuple(tensor.requires_grad_() for tensor in state)
    outputs, _ = core(x, is_first, state)
    slopes = torch.autograd.grad(outputs[6:, 0].sum() + outputs[6:, 3].sum(), (x, *state))
    assert not slopes[0][:4, 0].any()  # environment 0 begins an episode at row 4
    assert slopes[0][4, 0].any()
    assert slopes[0][0, 3].any()  # environment 3 never does
    for slope in slopes[1:]:
        assert not slope[0].any()
        assert slope[3].any()


@pytest.mark.parametrize("junk", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("kind", [LSTM, GRU])
def test_an_episode_does_not_depend_on_what_the_one_before_left_even_where_that_is_nan(
    kind: type[LSTM] | type[GRU], junk: float
) -> None:
    core = make(kind)
    x, is_first, state = inputs(core)  # environment 0 begins an episode at rows 0 and 4
    slopes = []
    for left in (0.0, junk):
        given = tuple(tensor.index_fill(0, torch.tensor([0]), left).requires_grad_() for tensor in state)
        outputs, last = core(x, is_first, given)
        slopes.append([outputs, *last, *torch.autograd.grad(outputs.sum(), [*core.parameters(), *given])])
    assert all(torch.equal(got, want) and want.isfinite().all() for want, got in zip(*slopes, strict=True))
    before, _ = core(x, is_first, state)
    x[3, 0] = float("nan")
    after, last = core(x, is_first, state)
    assert after[3, 0].isnan().all()
    assert torch.equal(after[4:], before[4:]) and all(tensor.isfinite().all() for tensor in last)
    x[5, 0] = float("nan")  # inside of an episode it stays
    assert core(x, is_first, state)[0][5:, 0].isnan().all()


@pytest.mark.parametrize("kind", [LSTM, GRU])
def test_gradients(kind: type[LSTM] | type[GRU]) -> None:
    core = make(kind)
    x, is_first, state = inputs(core)
    arguments = tuple(tensor.requires_grad_() for tensor in (x[:3, :2].clone(), *(s[:2].clone() for s in state)))
    assert torch.autograd.gradcheck(lambda rows, *rest: core(rows, is_first[4:7, :2], rest)[0], arguments, check_forward_ad=True)


def test_the_forget_gate_starts_open() -> None:
    assert LSTM(F, H).bias.tolist() == [0.0] * H + [1.0] * H + [0.0] * 2 * H
