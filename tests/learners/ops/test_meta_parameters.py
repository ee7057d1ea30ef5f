from __future__ import annotations

from dataclasses import fields

import pytest
import torch

from envs.errors import InvalidInputError
from learners.metagradient_config import MetaConfig
from learners.ops.meta_parameters import BORDER, META_PARAMETERS, check_names, slopes_of, to_logits, values_of
from learners.vtrace_loss import ImpalaConfig

RANGES = {"gamma": (0.9, 1.0), "lambda": (0.0, 1.0), "entropy_cost": (0.0, 0.1)}


def test_values_come_back_from_their_logits() -> None:
    starts = {"gamma": 0.93, "lambda": 0.95, "entropy_cost": 0.01}
    logits = to_logits(starts, RANGES)
    torch.testing.assert_close(values_of(logits, list(RANGES.values())), torch.tensor(list(starts.values()), dtype=torch.float64))
    torch.testing.assert_close(logits.sigmoid(), torch.tensor([0.3, 0.95, 0.1], dtype=torch.float64))


@pytest.mark.parametrize(("start", "position"), [(0.0, BORDER), (1.0, 1 - BORDER), (0.995, 1 - BORDER), (0.5, 0.5)])
def test_a_start_on_the_border_begins_inside_where_the_slope_is_not_zero(start: float, position: float) -> None:
    logits = to_logits({"lambda": start}, RANGES)
    assert logits.sigmoid().item() == pytest.approx(position)
    assert slopes_of(logits, [RANGES["lambda"]]).item() > 0.0049


def test_slopes_equal_autograd() -> None:
    logits = torch.tensor([-2.0, 0.3, 4.0], dtype=torch.float64, requires_grad=True)
    ranges = list(RANGES.values())
    (want,) = torch.autograd.grad(values_of(logits, ranges).sum(), logits)
    torch.testing.assert_close(slopes_of(logits.detach(), ranges), want)


def test_eta_cannot_leave_its_range() -> None:
    values = values_of(torch.tensor([-800.0, 800.0, 0.0], dtype=torch.float64), list(RANGES.values()))
    assert values.tolist() == [0.9, 1.0, 0.05]


def test_a_start_outside_is_refused_with_its_range() -> None:
    with pytest.raises(InvalidInputError, match=r"learner.lambda_ = 1.5 is where meta-parameter lambda starts .* \[0, 1\]"):
        to_logits({"lambda": 1.5}, RANGES)


def test_every_meta_parameter_has_a_field_to_start_from_and_a_range() -> None:
    names = {field.name for field in fields(ImpalaConfig)}
    assert set(META_PARAMETERS.values()) <= names
    for name in META_PARAMETERS:
        low, high = MetaConfig().range_of(name)
        assert low < high
        to_logits({name: getattr(ImpalaConfig(), META_PARAMETERS[name])}, {name: (low, high)})


@pytest.mark.parametrize(
    ("eta", "message"),
    [
        (("lamda",), "'lamda'; did you mean lambda"),
        (("gamma", "gamma"), "gamma is named twice"),
        (("tau",), "one of: baseline_cost"),
    ],
)
def test_wrong_names_are_refused(eta: tuple[str, ...], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        check_names(eta)
