"""The examples in the docstrings of the passes hold, on samples as they describe them."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from quantable.passes.registry import PASSES
from quantable.passes.tune.correct_bias_sequentially import CorrectBiasSequentially
from quantable.passes.tune.gptq import Gptq
from quantable.passes.tune.search_scales import SearchScales
from quantable.training import ReferenceLaboratory

FITTING = [
    PASSES[name].load()
    for name in ("reconstruct-blocks", "learn-step-size", "train-thresholds", "tune-rounding")
]


def samples(*, joined):
    """Return samples with channel means 60 and 10; joined: in the same places."""
    rng = np.random.Generator(np.random.Philox(1))
    found = []
    for _ in range(16):
        first, second = (rng.uniform(0, end, (1, 1, 4, 4)) for end in (120, 20))
        channels = [first, first / 6 if joined else second]
        found.append({"x": np.concatenate(channels, axis=1).astype(np.float32)})
    return found


@pytest.mark.parametrize(
    ("item", "joined"),
    [
        (SearchScales(), False),
        (Gptq(scales=0, rounds=0), True),
        (CorrectBiasSequentially(), False),
        *((item(), False) for item in FITTING),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_the_example_of_a_pass_holds(item, joined, examples):
    module = importlib.import_module(PASSES[item.name].module)
    laboratory = ReferenceLaboratory(samples(joined=joined))
    examples.check_example(module, item, (*examples.QUANTIZE, "calibrate"), laboratory)
