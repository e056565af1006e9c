"""All analyses together: stable facts, and what bad input gets."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from quantable.driver import api
from quantable.driver.analysis.analyze import ANALYSES, FACTS_VERSION, analyze
from quantable.driver.analysis.measures import MEASURES
from quantable.driver.data import Samples
from quantable.ir import DataError, Graph, OptionError, UnknownNameError, UserError
from quantable.report.analysis_page import PLOTS, analysis_page
from quantable.report.analysis_text import TABLES, tables
from tests.driver.analysis.conftest import DEMO, HOW

FIGURES = {"is_equal", *MEASURES}
OPERATION = {"operation", "kind", "sources"}
GROUP = {"group", "kind", "operations", "sources"}
KEYS: dict[str, set[str]] = {
    "graphwise": {"value", "group", "is_inside_group", *OPERATION, *FIGURES},
    "layerwise": {*GROUP, "local", "alone", "alone_db", "without", "without_db", "gain_db"},
    "remedies": {"remedy", "tensor", "slot", *OPERATION, "network_db", "gain_db"},
    "shifts": {*OPERATION, "value", "channels", "largest", "share"},
    "statistics": {
        "tensor", "is_parameter", "operation", "slot", "float", "quantized", "share_clipped",
        "levels", "levels_used", "effective_bits", "histogram", *FIGURES,
    },
}  # fmt: skip
"""The documented keys of version 1."""


@pytest.fixture(scope="module")
def facts(digits: Graph, digits_samples: Samples) -> dict[str, Any]:
    return analyze(digits, digits_samples).facts()


def test_the_keys_are_those_of_the_version(facts: dict[str, Any]) -> None:
    assert FACTS_VERSION == facts["version"] == 1
    assert list(facts) == [
        "version", "network", "graph_digest", "target", "samples", "remarks", "measured_at",
        "outputs", "network_db", *ANALYSES,
    ]  # fmt: skip
    for name, keys in KEYS.items():
        assert all(set(row) - {"bits"} == keys for row in facts[name]), name
    assert set(facts["budget"]) == {"noise", "categories", "shares", "tensors"}
    assert all(
        set(row) == {"tensor", "slot", *OPERATION, "noise", "share"}
        for row in facts["budget"]["tensors"]
    )


def test_the_same_inputs_give_the_same_bytes(
    facts: dict[str, Any], digits: Graph, digits_samples: Samples
) -> None:
    again = analyze(digits, digits_samples).facts()
    assert json.dumps(again, allow_nan=False) == json.dumps(facts, allow_nan=False)
    assert analysis_page(again) == analysis_page(facts)


def test_every_analysis_has_a_table_and_a_plot(facts: dict[str, Any]) -> None:
    assert set(TABLES) == set(PLOTS) == {*ANALYSES, "profile"}
    assert all(table.rows for table in tables(facts))
    for table in tables(facts):
        assert {len(row) for row in table.rows} == {len(table.columns)}


def test_baked_or_not_is_the_same(facts: dict[str, Any], digits: Graph) -> None:
    loose = digits.with_operations(op.unbake_parameters() for op in digits.quantable_operations)
    found = analyze(loose, DEMO / "digits_test.npz", HOW, samples=5, only=["layerwise"]).facts()
    assert found["layerwise"] == facts["layerwise"]


def test_a_dequantized_operation_of_the_graph_stays_float(
    digits: Graph, digits_samples: Samples
) -> None:
    first = next(op for op in digits.quantable_operations if op.kind == "Conv")
    graph = digits.with_operation(first.dequantize())
    found = analyze(graph, digits_samples, only=["statistics"]).facts()
    assert first.inputs[1] not in {entry["tensor"] for entry in found["statistics"]}


def test_an_error_can_be_measured_elsewhere(digits: Graph, digits_samples: Samples) -> None:
    inner = digits.operations[2].outputs[0]
    found = analyze(digits, digits_samples, only=["graphwise"], at=[inner]).facts()
    assert found["measured_at"] == [inner]
    point = next(p for p in found["graphwise"] if p["value"] == inner)
    assert found["outputs"][inner]["sqnr_db"] == point["sqnr_db"]


def test_few_samples_are_remarked_on(digits: Graph) -> None:
    found = analyze(digits, DEMO / "digits_test.npz", HOW, samples=2, only=["graphwise"])
    assert found.remarks == ("2 samples say little: expected 4 or more",)
    assert found.facts()["samples"] == 2


IMAGES = np.zeros((3, 1, 8, 8), np.float32)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"samples": 4}, DataError, "too few samples: expected 4, found 3"),
        ({"samples": 0}, OptionError, "samples: expected at least 1, found 0"),
        ({"only": ["layrwise"]}, UnknownNameError, "unknown analysis 'layrwise'"),
        ({"at": ["nowhere"]}, UnknownNameError, "unknown value 'nowhere'"),
        ({"data": IMAGES[:0]}, DataError, "there are no samples"),
        ({"data": IMAGES * np.nan}, DataError, "not finite"),
    ],
)
def test_bad_options_are_told(
    digits: Graph, options: dict[str, Any], error: type[UserError], message: str
) -> None:
    given = {"data": IMAGES, **options}
    with pytest.raises(error, match=message):
        analyze(digits, given.pop("data"), **given)


def test_graphs_that_are_not_quantized_are_refused(digits: Graph) -> None:
    graph = api.canonicalize(api.import_model(DEMO / "digits.onnx"))
    with pytest.raises(OptionError, match="level quantable, found float"):
        analyze(graph, IMAGES)
    with pytest.raises(OptionError, match="level quantable, found integer"):
        analyze(api.lower(digits), IMAGES)
    with pytest.raises(OptionError, match="have no scale yet"):
        analyze(api.quantize(graph, "x86-vnni"), IMAGES)
    with pytest.raises(OptionError, match="no slot of the graph is quantized"):
        analyze(digits.dequantized(), IMAGES)


def test_weights_that_are_not_finite_are_named(digits: Graph) -> None:
    op = next(op for op in digits.quantable_operations if op.kind == "Conv")
    broken = digits.array(op.inputs[1]).astype(np.float32)
    broken.flat[3] = np.inf
    ref = digits.store.put(broken)
    graph = digits.with_operation(replace(op, originals=((1, ref), *op.originals[1:])))
    with pytest.raises(DataError, match="of the float network: expected finite numbers") as caught:
        analyze(graph, IMAGES + 1)
    assert caught.value.where == "sample 0"
