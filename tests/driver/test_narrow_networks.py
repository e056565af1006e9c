"""Random small networks on targets with 4-bit weights and activations, compiled and validated."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from tests.driver.test_random_networks import COMMON, Example, check, examples

TARGETS = ("c-w4a4", "onnxruntime-w4a4")


@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=8, **COMMON)
@given(examples())
def test_random_networks_in_four_bits_are_compiled_and_proven(
    target: str, example: Example
) -> None:
    check(example, target)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=100, **COMMON)
@given(examples())
def test_many_random_networks_in_four_bits_are_compiled_and_proven(
    target: str, example: Example
) -> None:
    check(example, target)
