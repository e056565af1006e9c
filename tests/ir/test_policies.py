"""The 18 legal policies, the rounding modes, and what a config refuses."""

from __future__ import annotations

import itertools

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
    Visibility,
)

ALL = list(itertools.product(Granularity, Arithmetic, Symmetry, (False, True), (False, True)))
FLOATING = QuantizationPolicy(arithmetic=Arithmetic.FLOATING, power_of_two=True)


def test_there_are_18_legal_policies() -> None:
    assert len(LEGAL_POLICIES) == len(set(LEGAL_POLICIES)) == 18
    linear = [p for p in LEGAL_POLICIES if not p.is_floating]
    assert len(linear) == 16
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
    assert len({str(policy) for policy in LEGAL_POLICIES}) == 18
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
    ],
)
def test_a_config_refuses_contradictions(fields: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        TensorQuantizationConfig(**fields)  # type: ignore[arg-type]


def test_a_floating_config_states_its_real_range() -> None:
    config = TensorQuantizationConfig(FLOATING, exponent_bits=4, quant_min=-448, quant_max=448)
    assert config.bits - config.exponent_bits - 1 == 3


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
