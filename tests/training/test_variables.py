"""What gradients change: starts, hardening, and gradients against closed forms and differences."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from quantable.ir import QuantizationParameters, TensorQuantizationConfig
from quantable.ir.numerics import dequantize, quantize, rounded
from quantable.ir.policies import Granularity, QuantizationPolicy
from quantable.training.differentiable import _Quantize
from quantable.training.random_numbers import batches, masks
from quantable.training.variables import WEIGHTS, Bias, RoundedWeight, Scale, Weight

Floats = npt.NDArray[np.float32]
CHANNELS = QuantizationPolicy(granularity=Granularity.PER_CHANNEL)
CONFIG = TensorQuantizationConfig(CHANNELS, 4, quant_min=-7, quant_max=7, channel_axis=0)
ROW = QuantizationParameters("r", (0.25, 0.1), (0, 0))
CONTENTS = np.random.Generator(np.random.Philox(3)).normal(0, 0.6, (2, 5)).astype(np.float32)


def _weight(kind: str, *, begins_anew: bool = True, present: Floats = CONTENTS) -> Weight:
    return WEIGHTS[kind]("w", CONFIG, Scale(ROW, CONFIG, True), present, CONTENTS, begins_anew)


@pytest.mark.parametrize("kind", ["free", "offset"])
def test_the_start_hardens_to_the_nearest_integers(kind: str) -> None:
    hardened = _weight(kind).hardened(ROW)
    assert hardened is not None
    np.testing.assert_array_equal(hardened, rounded(CONTENTS, CONFIG, ROW))


def test_learned_rounding_starts_at_the_weights_themselves() -> None:
    weight = _weight("rounding")
    found = weight.value(weight.scale.value()).detach().numpy()
    clipped = np.clip(CONTENTS, -7 * ROW.scale_array[:, None], 7 * ROW.scale_array[:, None])
    np.testing.assert_allclose(found, clipped, atol=2e-3)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000))
def test_learned_rounding_goes_on_from_present_integers(seed: int) -> None:
    rng = np.random.Generator(np.random.Philox(seed))
    integers = np.clip(quantize(CONTENTS, CONFIG, ROW) + rng.integers(-1, 2, CONTENTS.shape), -7, 7)
    present = dequantize(integers, CONFIG, ROW)
    hardened = _weight("rounding", begins_anew=False, present=present).hardened(ROW)
    assert hardened is not None
    np.testing.assert_array_equal(hardened, present)


def test_offsets_stay_within_one_step_of_the_present_integers() -> None:
    weight = _weight("offset")
    near = quantize(CONTENTS, CONFIG, ROW)
    for move in (-5.0, 10.0):
        with torch.no_grad():
            assert weight.leaf is not None
            weight.leaf += move
        hardened = weight.hardened(ROW)
        assert hardened is not None
        moved = quantize(hardened, CONFIG, ROW)
        np.testing.assert_array_equal(moved, np.clip(near + int(math.copysign(1, move)), -7, 7))


@pytest.mark.parametrize("kind", ["fixed", "free"])
def test_scale_gradients_are_those_of_learned_step_sizes(kind: str) -> None:
    """Inside the range q - w / s where the contents stay, q where their steps do; q outside."""
    weight = _weight(kind)
    scale = weight.scale.value().detach().requires_grad_()
    upstream = torch.linspace(-1, 1, 10).reshape(2, 5)
    (weight.value(scale) * upstream).sum().backward()
    q = quantize(CONTENTS, CONFIG, ROW).astype(np.float64)
    steps = CONTENTS / ROW.scale_array[:, None]
    inside = (np.abs(steps) <= 7) & (kind == "fixed")
    expected = (upstream.numpy() * np.where(inside, q - steps, q)).sum(axis=1)
    assert scale.grad is not None
    np.testing.assert_allclose(scale.grad.numpy(), expected, rtol=1e-4)


def test_learned_rounding_has_the_gradient_of_its_differences() -> None:
    weight = _weight("rounding")
    assert isinstance(weight, RoundedWeight)
    assert weight.leaf is not None
    scale = weight.scale.value().detach()
    loss = weight.value(scale).square().sum()
    (gradient,) = torch.autograd.grad(loss, [weight.leaf])
    step = 1e-2
    inside = np.abs(CONTENTS / ROW.scale_array[:, None]) < 6  # else it is clipped on one side
    for index in zip(*np.nonzero(inside), strict=True):
        ends = []
        for sign in (1.0, -1.0):
            with torch.no_grad():
                weight.leaf[index] += sign * step
                ends.append(float(weight.value(scale).double().square().sum()))
                weight.leaf[index] -= sign * step
        slope = (ends[0] - ends[1]) / (2 * step)
        assert float(gradient[index]) == pytest.approx(slope, abs=2e-3)


def test_activation_gradients_pass_inside_the_range_only() -> None:
    x = torch.tensor([-3.0, -0.9, 0.2, 0.6, 5.0], requires_grad=True)
    scale = torch.tensor([0.5], requires_grad=True)
    found = _Quantize.apply(x, scale, -2.0, 3.0)
    np.testing.assert_allclose(found.detach().numpy(), [-1.0, -1.0, 0.0, 0.5, 1.5])
    found.sum().backward()
    assert x.grad is not None
    assert scale.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), [0, 1, 1, 1, 0])
    # -2 + (-2 + 1.8) + (0 - 0.4) + (1 - 1.2) + 3, over the square root of 5 elements of 3 steps
    assert float(scale.grad) == pytest.approx(0.2 / math.sqrt(15.0), abs=1e-6)


def test_scales_of_powers_of_two_stay_such_and_begin_where_they_are() -> None:
    policy = QuantizationPolicy(power_of_two=True)
    row = QuantizationParameters("r", (0.25,), (0,))
    scale = Scale(row, TensorQuantizationConfig(policy), True)
    assert scale.value().tolist() == [0.25]
    for change, expected in ((0.3, 0.25), (0.5, 0.5), (-0.3, 0.25), (-0.5, 0.125)):
        with torch.no_grad():
            scale.leaf.fill_(change)
        assert scale.hardened().scale == (expected,)
    (gradient,) = torch.autograd.grad(scale.value().sum(), [scale.leaf])
    assert float(gradient) == pytest.approx(0.125)


def test_a_bias_moves_in_units_of_its_size() -> None:
    bias = Bias("b", np.array([2.0, -4.0], np.float32))
    with torch.no_grad():
        bias.leaf += 0.5
    np.testing.assert_allclose(bias.value().detach().numpy(), [3.5, -2.5])


def test_batches_use_every_sample_before_any_twice() -> None:
    source = batches(range(10, 20), 4, (1, 2))
    drawn = [next(source) for _ in range(5)]
    again = batches(range(10, 20), 4, (1, 2))
    assert all((batch == next(again)).all() for batch in drawn)
    assert sorted(np.concatenate(drawn).tolist()) == sorted([*range(10, 20)] * 2)
    other = batches(range(10, 20), 4, (1, 3))
    assert any((batch != next(other)).any() for batch in drawn)


def test_masks_are_true_as_often_as_asked_and_depend_on_their_place() -> None:
    like = torch.empty(64, 100)
    first, second = masks(0.25, (0, 0), 3, 0), masks(0.25, (0, 0), 3, 1)
    one, two = first(like), second(like)
    assert float(one.float().mean()) == pytest.approx(0.25, abs=0.02)
    assert not torch.equal(one, two)
    assert torch.equal(one, masks(0.25, (0, 0), 3, 0)(like))
