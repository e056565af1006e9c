"""One small network, really quantized in processes of their own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from quantable.bench.accuracy import evaluate, measure
from quantable.bench.accuracy.measure import Bench, MeasurementError
from quantable.bench.accuracy.results import Result, Results
from quantable.bench.accuracy.suites import Case
from quantable.bench.datasets import NETWORKS, Network, Samples
from quantable.driver import api

DEMO = Path(__file__).resolve().parents[3] / "tools/quantable/demo"


def digits(shared: Path, split: str) -> Samples:
    """The demo's images; few of them."""
    with np.load(shared / "data" / f"digits_{split}.npz") as data:
        images, labels = data["image"][:60], data["label"][:60]
    scaled = (images.astype(np.float32) / 16).transpose(0, 3, 1, 2)
    return Samples(len(images), lambda index: scaled[index], labels)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Return a bench on the demo's network, in a folder that looks like the shared one."""
    folder = tmp_path_factory.mktemp("bench")
    shared = folder / "shared"
    for source, place in (
        ("digits.onnx", "models/digits.onnx"),
        ("digits_calibration.npz", "data/digits_calibration.npz"),
        ("digits_test.npz", "data/digits_evaluation.npz"),
    ):
        (shared / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(DEMO / source, shared / place)
    item = Network("digits", 20, digits, "scanned digits", "digits_{split}.npz")
    (folder / "scratch").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(NETWORKS, "digits", item)
        yield Bench(shared, Results(folder / "results"), folder / "scratch")


@pytest.fixture(scope="module")
def measured(bench: Bench) -> Case:
    """Return a case that was measured."""
    case = Case("w8a8", "digits", "onnxruntime/fast")
    bench.measure(case)
    return case


def test_a_peer_is_measured_and_its_result_taken_again(bench: Bench) -> None:
    case = Case("w8a8", "digits", "ort-minmax")
    assert bench.current(case) is None
    found = bench.measure(case)
    _is_sound(bench, found)
    assert found.bits is None
    again = bench.current(case)
    assert again is not None
    assert again.outcome.to_json() == found.outcome.to_json()


def test_ours_are_measured_with_their_bits(bench: Bench, measured: Case) -> None:
    found = bench.current(measured)
    assert found is not None
    _is_sound(bench, found)
    assert found.bits == (8.0, 8.0)


def _is_sound(bench: Bench, found: Result) -> None:
    assert found.outcome.count == 60
    assert found.outcome.agreeing is not None
    assert found.outcome.agreeing.mean() > 0.9
    assert 20 < found.outcome.sqnr(bench.reference(NETWORKS["digits"]).signal)[0] < 60
    assert 0 < found.seconds < 300
    assert 0 < found.processor_s < 300
    assert 20 < found.peak_mb < 8000


def test_graphs_of_c_targets_run_as_integers(bench: Bench, tmp_path: Path) -> None:
    item = NETWORKS["digits"]
    graph = api.canonicalize(api.import_model(DEMO / "digits.onnx"))
    profile = api.observe(graph, list(evaluate.calibration(item, bench.shared)))
    refined = api.refine(api.calibrate(api.quantize(graph, "x86-vnni"), profile))
    api.save(refined, tmp_path / "quantized.qir")
    run = evaluate.runner(tmp_path)
    batch = next(item.samples(bench.shared, "evaluation").batches(3))
    expected = api.run(api.lower(refined), batch)
    np.testing.assert_array_equal(run(batch)[0], next(iter(expected.values())))


def test_a_result_of_other_data_or_sources_is_not_taken(
    bench: Bench, measured: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bench.current(measured) is not None
    other = {**bench.components(measured), "sources": "edited"}
    monkeypatch.setattr(bench, "components", lambda case: other)
    assert bench.current(measured) is None
    assert bench.current(measured, frozenset({"sources"})) is not None
    other["evaluation"] = "more images"
    assert bench.current(measured, frozenset({"sources"})) is None


def test_float_outputs_are_computed_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    first = bench.reference(NETWORKS["digits"])
    monkeypatch.setattr(evaluate, "reference", None)  # calling it would fail
    second = bench.reference(NETWORKS["digits"])
    np.testing.assert_array_equal(first.outputs[0], second.outputs[0])
    assert first.right is not None
    assert first.right.mean() > 0.9


def test_what_a_tool_says_when_it_fails_is_shown(bench: Bench) -> None:
    with pytest.raises(MeasurementError, match="unknown target 'onnxruntine'"):
        bench.measure(Case("w8a8", "digits", "onnxruntine/fast"))
    assert not list(bench.scratch.glob("tmp*"))


def test_bits_are_those_of_convolutions_and_products(bench: Bench) -> None:
    graph = api.canonicalize(api.import_model(DEMO / "digits.onnx"))
    assert evaluate.average_bits(graph) == (32.0, 32.0)
    quantized = api.quantize(graph, "x86-vnni")
    assert evaluate.average_bits(quantized) == (8.0, 8.0)
    last = next(op for op in quantized.quantable_operations if op.kind == "quantable.Linear")
    narrow = replace(last.config.inputs[1], bits=4, quant_min=-7, quant_max=7)
    mixed = quantized.with_operation(last.with_slot("in", 1, narrow))
    counts = {
        op.name: quantized.array(op.inputs[1]).size
        for op in quantized.quantable_operations
        if op.kind in ("Conv", "quantable.Linear")
    }
    part = counts[last.name] / sum(counts.values())
    assert evaluate.average_bits(mixed) == (pytest.approx(8 - 4 * part), 8.0)


def test_calibration_inputs_have_a_batch_dimension_of_one(bench: Bench) -> None:
    images = evaluate.calibration(NETWORKS["digits"], bench.shared)
    assert images.shape == (60, 1, 1, 8, 8)
    assert images.dtype == np.float32


def test_tools_may_keep_their_bytecode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    measure._environment.cache_clear()
    assert "PYTHONDONTWRITEBYTECODE" not in measure._environment()
