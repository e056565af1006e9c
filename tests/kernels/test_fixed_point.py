"""Portable kernels whose requantization has no floats, against the reference."""

from __future__ import annotations

import json
import subprocess

import numpy as np
import pytest

from quantable.backends.c import emit
from quantable.ir import DType, UnsupportedError

U8, I8, U16, I16 = DType.UINT8, DType.INT8, DType.UINT16, DType.INT16
FORMS = ("fixed-point-double", "fixed-point-single")


def _rounded(values):
    """Return numbers of 31 significant bits."""
    mantissa, exponent = np.frexp(np.asarray(values, np.float64))
    return np.ldexp(np.rint(np.ldexp(mantissa, 31)), exponent - 31)


def _multipliers(network, count, y_type, reach, powers):
    """Return multipliers, some beyond 1, some that make everything 0."""
    found = _rounded(network.multipliers(count, y_type, reach))
    found[network.random.random(count) < 0.1] = 0.0
    return np.where(found > 0, 2.0 ** np.floor(np.log2(found + 1e-300)), 0.0) if powers else found


def _scalar(network, y_type, reach, powers):
    return float(_multipliers(network, 1, y_type, reach, powers)[0])


def _conv(network, form, powers, group, x_type, y_type, layout="NHWC"):
    size, channels = (6, 5), 8
    shape = (channels, channels // group, 3, 3)
    operands = (
        network.input(x_type, [2, *size, channels] if layout == "NHWC" else [2, channels, *size]),
        network.parameter(network.random.integers(-127, 128, shape), I8),
        network.parameter(network.random.integers(-(10**6), 10**6, channels), DType.INT32),
        network.parameter(_multipliers(network, channels, y_type, 1e5, powers), DType.FLOAT64),
    )
    network.apply(
        "int.Conv", operands,
        (y_type, [2, *size, channels] if layout == "NHWC" else [2, channels, *size]),
        x_zero_point=network.zero_point(x_type), group=group, layout=layout, kernel_shape=(3, 3),
        strides=(1, 1), dilations=(1, 1), pads=(1, 1, 1, 1), requantization=form,
        **network.requantization(y_type),
    )  # fmt: skip


def _products(network, form, powers):
    for group, layout in ((1, "NHWC"), (8, "NHWC"), (2, "NHWC"), (1, "NCHW")):
        _conv(network, form, powers, group, U8, U8, layout)
    _conv(network, form, powers, 1, I8, I16)
    operands = (
        network.input(U8, (3, 40)),
        network.parameter(network.random.integers(-127, 128, (40, 9)), I8),
        network.parameter(network.random.integers(-(2**30), 2**30, 9), DType.INT32),
        network.parameter(_multipliers(network, 9, I8, 2e9, powers), DType.FLOAT64),
    )
    network.apply(
        "int.Linear", operands, (I8, (3, 9)), x_zero_point=7, requantization=form,
        **network.requantization(I8),
    )  # fmt: skip
    a, b = network.input(U8, (3, 4, 5)), network.input(I8, (3, 5, 6))
    network.apply(
        "int.MatMul", (a, b), (U8, (3, 4, 6)), a_zero_point=3, b_zero_point=-4,
        multiplier=_scalar(network, U8, 1e5, powers), requantization=form,
        **network.requantization(U8),
    )  # fmt: skip


def _elements(network, form, powers):
    for kind, extra in (
        ("int.Add", {"a_multiplier": 16384, "b_multiplier": -901}),
        ("int.Mul", {}),
    ):
        operands = [network.input(U8, (40, 10)), network.input(U8, (10,))]
        network.apply(
            kind, operands, (U8, (40, 10)), a_zero_point=3, b_zero_point=200,
            multiplier=_scalar(network, U8, 3e6, powers), requantization=form, **extra,
            **network.requantization(U8),
        )  # fmt: skip
    for x_type in (U8, I8, U16, I16):
        network.apply(
            "int.Requantize", (network.input(x_type, (500,)),), (U8, (500,)),
            x_zero_point=network.zero_point(x_type), requantization=form,
            multiplier=_scalar(network, U8, 2.0**x_type.bits, powers), **network.requantization(U8),
        )  # fmt: skip


def _means(network, form, powers):
    x = network.input(U8, (2, 6, 6, 5))
    facts = {"x_zero_point": 9, "requantization": form, **network.requantization(U8)}
    counted = _rounded(0.9 / np.arange(1, 10))
    counted = 2.0 ** np.floor(np.log2(counted)) if powers else counted
    network.apply(
        "int.AveragePool", (x, network.parameter(counted, DType.FLOAT64)), (U8, (2, 6, 6, 5)),
        kernel_shape=(3, 3), strides=(1, 1), dilations=(1, 1), pads=(1, 1, 1, 1), layout="NHWC",
        count_include_pad=0, **facts,
    )  # fmt: skip
    network.apply(
        "int.ReduceMean", (x,), (U8, (2, 1, 1, 5)), axes=(1, 2), keepdims=1,
        multiplier=2.0**-5 if powers else float(_rounded(1 / 36)), **facts,
    )  # fmt: skip


@pytest.mark.parametrize("powers", [False, True], ids=["any", "powers"])
@pytest.mark.parametrize("form", FORMS)
def test_every_kernel_rounds_as_the_reference(network, agree, tmp_path, form, powers):
    for build in (_products, _elements, _means):
        build(network, form, powers)
    agree(network)
    manifest = json.loads((tmp_path / "manifest.json").read_text("utf-8"))
    assert manifest["contract"] == form
    text = (tmp_path / "model.c").read_text("utf-8")
    roundings = 2 if form == FORMS[0] else 0 if powers else 1
    assert f"#define QUANTABLE_FIXED_POINT {roundings}\n" in text


def test_no_float_is_computed_with(network, tmp_path):
    """A core without a float unit calls no routine for floats."""
    for build in (_products, _elements, _means):
        build(network, FORMS[1], False)
    emit(network.graph(), tmp_path)
    command = ["gcc", "-O2", "-mgeneral-regs-only", "-c", "model.c", "-o", "model.o"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_two_forms_in_one_network_are_refused(network, tmp_path):
    _elements(network, FORMS[0], False)
    _elements(network, FORMS[1], False)
    with pytest.raises(UnsupportedError, match="expected one form of requantization, found"):
        emit(network.graph(), tmp_path)
