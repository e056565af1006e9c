"""The legal policies, the rounding modes, and what a config refuses."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from quantable.ir import (
    LEGAL_POLICIES,
    Arithmetic,
    DType,
    Granularity,
    QuantizationPolicy,
    Rounding,
    Symmetry,
    TensorQuantizationConfig,
    UnsupportedError,
    Visibility,
)

ALL = list(itertools.product(Granularity, Arithmetic, Symmetry, (False, True), (False, True)))
BLOCK = QuantizationPolicy(Granularity.PER_BLOCK)
FLOATING = QuantizationPolicy(arithmetic=Arithmetic.FLOATING, power_of_two=True)


def test_there_are_23_legal_policies() -> None:
    assert len(LEGAL_POLICIES) == len(set(LEGAL_POLICIES)) == 23
    assert len([p for p in LEGAL_POLICIES if not p.is_per_block]) == 18  # PPQ's
    linear = [p for p in LEGAL_POLICIES if not p.is_floating]
    assert len(linear) == 20
    assert not any(p.dynamic for p in LEGAL_POLICIES if p.is_per_block)
    assert all(
        p.is_symmetric and p.power_of_two and not p.dynamic for p in LEGAL_POLICIES if p.is_floating
    )


@pytest.mark.parametrize("fields", ALL, ids=str)
def test_every_other_combination_is_refused(fields: tuple[object, ...]) -> None:
    legal = {
        (p.granularity, p.arithmetic, p.symmetry, p.power_of_two, p.dynamic) for p in LEGAL_POLICIES
    }
    if fields in legal:
        QuantizationPolicy(*fields)  # type: ignore[arg-type]
        return
    with pytest.raises(ValueError, match="illegal quantization policy"):
        QuantizationPolicy(*fields)  # type: ignore[arg-type]


def test_the_text_of_every_policy_is_different() -> None:
    assert len({str(policy) for policy in LEGAL_POLICIES}) == 23
    assert str(LEGAL_POLICIES[0]) == "tensor-linear-symmetric"


def test_seven_rounding_modes_and_three_visibilities() -> None:
    assert len(Rounding) == 7
    assert len(Visibility) == 3


@pytest.mark.parametrize("bits", range(2, 33))
def test_2_to_32_bits(bits: int) -> None:
    signed = TensorQuantizationConfig(
        bits=bits, quant_min=-(1 << (bits - 1)), quant_max=(1 << (bits - 1)) - 1
    )
    unsigned = TensorQuantizationConfig(bits=bits, quant_min=0, quant_max=(1 << bits) - 1)
    for config in (signed, unsigned):
        storage = config.storage
        assert storage.minimum <= config.quant_min
        assert config.quant_max <= storage.maximum
        assert storage.bits < 2 * max(bits, 4)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"bits": 1}, "2 to 32 bits"),
        ({"bits": 33}, "2 to 32 bits"),
        ({"quant_min": 5, "quant_max": 5}, "empty range"),
        ({"quant_min": -128, "quant_max": 128}, "does not fit 8 bits"),
        ({"channel_axis": 0}, "channel axis 0"),
        ({"policy": QuantizationPolicy(Granularity.PER_CHANNEL)}, "channel axis None"),
        ({"exponent_bits": 4}, "4 exponent bits"),
        ({"policy": FLOATING}, "0 exponent bits"),
        ({"policy": FLOATING, "exponent_bits": 8}, "8 exponent bits"),
        ({"policy": BLOCK, "block_size": 32}, "channel axis None"),
        ({"policy": BLOCK, "channel_axis": 0}, "blocks of 0"),
        ({"policy": BLOCK, "channel_axis": 0, "block_size": 1}, "blocks of 1"),
        ({"block_size": 32}, "blocks of 32"),
    ],
)
def test_a_config_refuses_contradictions(fields: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        TensorQuantizationConfig(**fields)  # type: ignore[arg-type]


def test_a_floating_config_states_its_real_range() -> None:
    config = TensorQuantizationConfig(FLOATING, exponent_bits=4, quant_min=-448, quant_max=448)
    assert config.mantissa_bits == 3
    assert config.storage is DType.FLOAT8E4M3FN
    odd = replace(config, bits=7)
    assert not odd.has_storage
    with pytest.raises(UnsupportedError, match="no element type holds floats of 7 bits with 4"):
        _ = odd.storage


def test_blocks_lie_along_their_axis_and_the_last_may_be_short() -> None:
    config = TensorQuantizationConfig(BLOCK, channel_axis=-1, block_size=4)
    assert config.block_shape((2, 9)) == (2, 3)
    assert replace(config, channel_axis=0).block_shape((8, 9)) == (2, 9)


@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [
        (-7, 7, DType.INT4), (0, 15, DType.UINT4), (-127, 127, DType.INT8), (0, 255, DType.UINT8),
        (-128, 255, DType.INT16), (0, 65535, DType.UINT16), (-(2**31), 2**31 - 1, DType.INT32),
        (0, 2**32 - 1, DType.UINT32),
    ],
)  # fmt: skip
def test_the_storage_type_is_the_narrowest(low: int, high: int, dtype: DType) -> None:
    assert DType.holding(low, high) is dtype


def test_no_storage_type_beyond_64_bits() -> None:
    with pytest.raises(ValueError, match="no integer type"):
        DType.holding(-(1 << 70), 0)
