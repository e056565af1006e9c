"""The examples in the docstrings of the passes hold, on samples as the profile describes them."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from quantable.passes.registry import PASSES
from quantable.training import ReferenceLaboratory

MEANS = np.array([60.0, 10.0])[None, :, None, None]


NAMES = [
    "search-scales", "gptq", "correct-bias-sequentially", "reconstruct-blocks", "learn-step-size",
    "train-thresholds", "tune-rounding",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_the_example_of_a_pass_holds(name, examples):
    rng = np.random.Generator(np.random.Philox(1))
    samples = [
        {"x": (2 * MEANS * rng.uniform(0, 1, (1, 2, 4, 4))).astype(np.float32)} for _ in range(16)
    ]
    module = importlib.import_module(PASSES[name].module)
    laboratory = ReferenceLaboratory(samples)
    before = (*examples.QUANTIZE, "calibrate")
    examples.check_example(module, PASSES[name].load()(), before, laboratory)
