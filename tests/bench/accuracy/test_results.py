"""Results are files that are taken again only while they are what would be measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from quantable.bench.accuracy import results as module
from quantable.bench.accuracy.outcome import Outcome, Reference
from quantable.bench.accuracy.results import (
    BENCH,
    MEASURING,
    OWN,
    Result,
    Results,
    changes,
    components,
)
from quantable.bench.accuracy.suites import Case
from quantable.bench.datasets import network

CASE = Case("w8a8", "resnet8", "onnxruntime/best")


def result(**parts: str) -> Result:
    flags = np.array([True, False])
    return Result(parts, 1.5, 2.5, 200.25, (8.0, 8.0), Outcome(np.ones((1, 2)), flags, flags))


def test_a_result_comes_back_as_it_was_stored(tmp_path: Path) -> None:
    store = Results(tmp_path)
    assert store.load(CASE) is None
    kept = result(model="a")
    store.store(CASE, kept)
    found = store.load(CASE)
    assert found is not None
    assert found.components == kept.components
    assert (found.seconds, found.processor_s, found.peak_mb, found.bits) == (
        1.5,
        2.5,
        200.2,
        (8.0, 8.0),
    )
    assert found.outcome.to_json() == kept.outcome.to_json()
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [
        "onnxruntime.best.json"
    ]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"seconds": 1}', b'{"bits": 3}'])
def test_a_damaged_result_is_measured_again(tmp_path: Path, content: bytes) -> None:
    store = Results(tmp_path)
    store.store(CASE, result())
    store.path(CASE).write_bytes(content)
    assert store.load(CASE) is None


def test_changes_name_what_differs() -> None:
    found = result(model="a", sources="b", onnx="1")
    assert changes(found, {"model": "a", "sources": "b", "onnx": "1"}) == []
    assert changes(found, {"model": "a", "sources": "c", "tool": "t"}) == [
        "sources", "tool", "onnx",
    ]  # fmt: skip


def test_peers_depend_on_their_packages_and_ours_on_the_sources(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "installed_version", lambda name: f"{name}-version")
    mine = components(CASE, {"model": "a"})
    assert {"sources", "libraries", "model"} <= set(mine)
    peer = components(Case("w8a8", "resnet8", "nncf-accurate"), {"model": "a"})
    assert "sources" not in peer
    assert peer["openvino"] == "openvino-version"
    assert "openvino" not in components(Case("w8a8", "resnet8", "ort-minmax"), {})


def test_the_sources_that_measure_exist() -> None:
    assert all((BENCH / name).is_file() for name in (*MEASURING, *OWN))


def test_float_outputs_are_kept_for_the_same_inputs_only(tmp_path: Path) -> None:
    store, item = Results(tmp_path), network("resnet8")
    assert store.reference(item, {"model": "a"}) is None
    real = Reference((np.ones((2, 3)), np.zeros((2, 1))), np.array([0, 1]))
    store.store_reference(item, {"model": "a"}, real)
    found = store.reference(item, {"model": "a"})
    assert found is not None
    assert [output.tolist() for output in found.outputs] == [o.tolist() for o in real.outputs]
    assert found.right is not None
    assert found.right.tolist() == [True, False]
    assert store.reference(item, {"model": "b"}) is None
    store._float(item).write_bytes(b"no archive")
    assert store.reference(item, {"model": "a"}) is None
