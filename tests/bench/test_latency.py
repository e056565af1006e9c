"""Runtimes that take turns, and files that none of them reads."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from quantable.bench.latency import BLOCKS, CalledRunner, interleaved, peer
from quantable.ir import OptionError, UserError

DEMO = Path(__file__).resolve().parents[2] / "tools/quantable/demo"


class _Fixed:
    """Always takes as long."""

    def __init__(self, name, seconds, log):
        self.name, self._seconds, self._log = name, seconds, log

    def runs(self, count):
        self._log.append(self.name)
        return np.full(count, self._seconds)


def test_runtimes_take_turns():
    log, done = [], []
    runners = [_Fixed("a", 1e-3, log), _Fixed("b", 4e-3, log)]
    found = interleaved(runners, 0.3, lambda block, blocks: done.append((block, blocks)))
    assert log == ["a", "a", "b", "b", *["a", "b"] * BLOCKS]
    assert [(item.name, item.median, item.best) for item in found] == [
        ("a", 1e-3, 1e-3), ("b", 4e-3, 4e-3)
    ]  # fmt: skip
    assert found[0].runs == 4 * found[1].runs == 20 * BLOCKS
    assert done[-1] == (BLOCKS, BLOCKS)
    with pytest.raises(OptionError, match="expected a positive number, found 0"):
        interleaved(runners, 0.0)


def test_a_call_counts():
    calls = []
    assert CalledRunner("x", lambda: calls.append(1)).runs(7).shape == (7,)
    assert len(calls) == 7


def test_a_file_that_cannot_be_run_says_why(tmp_path):
    with pytest.raises(
        OptionError, match=r"expected a \.onnx, \.xml or \.tflite file, found 'a\.pt'"
    ):
        peer(tmp_path / "a.pt")
    with pytest.raises(OptionError, match="there is no such file"):
        peer(tmp_path / "a.onnx")
    broken = tmp_path / "a.onnx"
    broken.write_bytes(b"no network")
    with pytest.raises(UserError, match=r"no runtime runs it: .*ONNX Runtime: "):
        peer(broken)


def test_a_runtime_that_is_left_out_is_told(monkeypatch):
    """Whatever the others say: a comparison that lacks a peer must not look complete."""
    pytest.importorskip("onnxruntime")
    monkeypatch.setitem(sys.modules, "openvino", None)
    runners, reasons = peer(DEMO / "digits.onnx")
    assert [runner.name.split()[0] for runner in runners] == ["ONNX"]
    assert reasons == ["openvino is not installed"]
