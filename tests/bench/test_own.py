"""What of our names is refused before any work."""

from __future__ import annotations

import pytest

from quantable.bench.own import work_of_target
from quantable.ir import OptionError, UnknownNameError


def test_an_unknown_target_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="onnxruntime"):
        work_of_target("onnxruntine/fast")


def test_average_bits_are_refused_as_long_as_nothing_searches_for_them() -> None:
    with pytest.raises(OptionError, match="no option for average bits"):
        work_of_target("onnxruntime-w4a4@5/best")
