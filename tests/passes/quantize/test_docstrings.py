"""The examples in the docstrings of the passes hold."""

from __future__ import annotations

import importlib

import pytest

from quantable.passes.registry import PASSES

ORDER = (
    "dispatch", "assign-configs", "fuse-overlaps", "simplify-overlaps", "calibrate", "correct-bias",
    "align", "passive-parameters", "bake",
)  # fmt: skip


@pytest.mark.parametrize("name", ORDER)
def test_the_example_of_a_pass_holds(name, examples):
    module = importlib.import_module(PASSES[name].module)
    examples.check_example(module, PASSES[name].load()(), ORDER[: ORDER.index(name)])
