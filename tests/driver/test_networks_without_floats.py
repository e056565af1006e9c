"""Random networks on targets whose requantization has no floats."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from tests.driver.test_random_networks import COMMON, Example, check, examples


@pytest.mark.fuzz
@pytest.mark.parametrize("target", ["c-q31-double", "c-power-of-two"])
@settings(max_examples=40, **COMMON)
@given(examples())
def test_they_are_compiled_and_proven(target: str, example: Example) -> None:
    check(example, target)
