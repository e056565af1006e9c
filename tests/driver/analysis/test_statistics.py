"""Statistics of tensors, from samples and from a profile."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from quantable.driver import api
from quantable.driver.analysis.analyze import analyze, analyze_profile
from quantable.driver.data import Samples
from quantable.ir import DataError, Graph
from quantable.ir.numerics import quantize
from tests.driver.analysis.conftest import DEMO, HOW

Facts = dict[str, Any]


@pytest.fixture(scope="module")
def tensors(digits: Graph, digits_samples: Samples) -> dict[str, Facts]:
    facts = analyze(digits, digits_samples, only=["statistics"]).facts()
    return {entry["tensor"]: entry for entry in facts["statistics"]}


def test_figures_are_those_of_all_samples(
    digits: Graph, digits_samples: Samples, tensors: dict[str, Facts]
) -> None:
    name = next(op.outputs[0] for op in digits.operations if op.kind == "Clip")
    real = api.run(digits.dequantized(), digits_samples, outputs=[name])[name].astype(np.float64)
    found = tensors[name]["float"]
    assert (found["min"], found["max"]) == (real.min(), real.max())
    assert found["mean"] == pytest.approx(real.mean())
    assert found["std"] == pytest.approx(real.std())
    assert sum(tensors[name]["histogram"]["float"]) == real.size


def test_levels_are_the_integers_that_occur(
    digits: Graph, digits_samples: Samples, tensors: dict[str, Facts]
) -> None:
    op = next(op for op in digits.quantable_operations if op.kind == "Clip")
    (name,), config = op.outputs, op.config.outputs[0]
    values = api.run(digits, digits_samples, outputs=[name])[name].astype(np.float32)
    steps = quantize(values, config, digits.rows[config.row])
    found = tensors[name]
    assert (found["slot"], found["bits"], found["levels"]) == ("out0", 8, 256)
    assert found["levels_used"] == len(np.unique(steps))
    counts = np.unique(steps, return_counts=True)[1] / steps.size
    assert found["effective_bits"] == pytest.approx(-(counts * np.log2(counts)).sum())


def test_parameters_are_compared_with_their_originals(
    digits: Graph, tensors: dict[str, Facts]
) -> None:
    op = next(op for op in digits.quantable_operations if op.kind == "Conv")
    found = tensors[op.inputs[1]]
    assert found["is_parameter"]
    assert found["share_clipped"] == 0.0
    assert 30 < found["sqnr_db"] < 60


def test_a_profile_says_what_the_samples_said(digits: Graph) -> None:
    graph = api.canonicalize(api.import_model(DEMO / "digits.onnx"))
    profile = api.observe(graph, DEMO / "digits_test.npz", HOW, samples=5, elements=0)
    by_profile = {e["tensor"]: e for e in analyze_profile(digits, profile)["profile"]}
    by_data = analyze(digits, DEMO / "digits_test.npz", HOW, samples=5, only=["statistics"]).facts()
    compared = 0
    for entry in by_data["statistics"]:
        if entry["tensor"] in by_profile and entry["float"]["std"]:
            other = by_profile[entry["tensor"]]
            for name in ("min", "max"):
                assert other["float"][name] == pytest.approx(entry["float"][name], rel=1e-5)
            for name in ("mean", "std", "skew", "kurtosis"):
                wanted = pytest.approx(entry["float"][name], rel=0.01, abs=0.02)
                assert other["float"][name] == wanted
            assert other["slot"] == entry["slot"]
            compared += 1
    assert compared > 5


def test_a_profile_of_another_graph_is_refused(digits: Graph) -> None:
    graph = api.import_model(DEMO / "digits.onnx")  # not canonical: another digest
    profile = api.observe(graph, DEMO / "digits_test.npz", HOW, samples=1)
    with pytest.raises(DataError, match="measured on another graph"):
        analyze_profile(digits, profile)
