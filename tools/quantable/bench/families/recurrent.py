"""LSTM and GRU, as torch exports them, and with what only ONNX has, written by script."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from quantable.bench.families.export import Export
from quantable.bench.families.family import Family, Fixed, Inputs

STEPS, FEATURES, HIDDEN, CLASSES = 6, 16, 24, 5


class Recurrent(nn.Module):
    """Sequences [N, T, 16] to classes [N, T, 5]: a linear layer, two recurrent ones, a head."""

    def __init__(self, kind: str, *, bidirectional: bool) -> None:
        super().__init__()
        self.embed = nn.Linear(FEATURES, HIDDEN)
        cell = {"LSTM": nn.LSTM, "GRU": nn.GRU}[kind]
        self.cells = cell(HIDDEN, HIDDEN, 2, batch_first=True, bidirectional=bidirectional)
        self.head = nn.Linear(HIDDEN * (2 if bidirectional else 1), CLASSES)

    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        states, _ = self.cells(torch.relu(self.embed(signal)))
        classes: torch.Tensor = self.head(states)
        return classes


def _smooth(generator: np.random.Generator, batch: int) -> np.ndarray:
    steps = generator.standard_normal((batch, STEPS, FEATURES))
    found: np.ndarray = np.cumsum(steps, axis=1) / np.sqrt(np.arange(1, STEPS + 1))[:, None]
    return found.astype(np.float32)


def _signal(generator: np.random.Generator) -> Inputs:
    return {"signal": _smooth(generator, 1)}


def _signals_and_lengths(generator: np.random.Generator) -> Inputs:
    return {
        "signal": _smooth(generator, 3),
        "lengths": generator.integers(1, STEPS + 1, 3).astype(np.int32),
    }


def write_scripted(kind: str, attributes: dict[str, object], path: Path) -> None:
    """Write a bidirectional layer with lengths, initial states and peepholes between linear ones.

    Args:
        kind: LSTM or GRU.
        attributes: Of the recurrent operation.
        path: The file.
    """
    gates = {"LSTM": 4, "GRU": 3}[kind]
    generator = np.random.Generator(np.random.Philox(7))

    def drawn(*shape: int, scale: float | None = None) -> np.ndarray:
        spread = scale if scale is not None else shape[-1] ** -0.5
        found: np.ndarray = (spread * generator.standard_normal(shape)).astype(np.float32)
        return found

    weights = {
        "embed": drawn(FEATURES, HIDDEN, scale=FEATURES**-0.5),
        "w": drawn(2, gates * HIDDEN, HIDDEN),
        "r": drawn(2, gates * HIDDEN, HIDDEN),
        "b": drawn(2, 2 * gates * HIDDEN, scale=0.2),
        "h": drawn(2, 3, HIDDEN, scale=0.3),
        "c": drawn(2, 3, HIDDEN, scale=0.3),
        "p": drawn(2, 3 * HIDDEN, scale=0.2),
        "head": drawn(2 * HIDDEN, CLASSES, scale=(2 * HIDDEN) ** -0.5),
        "joined": np.array([STEPS, 3, 2 * HIDDEN], np.int64),
    }
    inputs = ["sequence", "w", "r", "b", "lengths", "h", *(["c", "p"] if kind == "LSTM" else [])]
    nodes = [
        helper.make_node("MatMul", ["signal", "embed"], ["embedded"]),
        helper.make_node("Tanh", ["embedded"], ["bounded"]),
        helper.make_node("Transpose", ["bounded"], ["sequence"], perm=[1, 0, 2]),
        helper.make_node(
            kind, inputs, ["states", "last"], hidden_size=HIDDEN, direction="bidirectional",
            **attributes,
        ),
        helper.make_node("Transpose", ["states"], ["sorted"], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["sorted", "joined"], ["flat"]),
        helper.make_node("MatMul", ["flat", "head"], ["classes"]),
    ]  # fmt: skip
    _write(nodes, weights, path)


def _write(nodes: Sequence[onnx.NodeProto], weights: dict[str, np.ndarray], path: Path) -> None:
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes, "recurrent",
        [helper.make_tensor_value_info("signal", TensorProto.FLOAT, [3, STEPS, FEATURES]),
         helper.make_tensor_value_info("lengths", TensorProto.INT32, [3])],
        [helper.make_tensor_value_info("classes", TensorProto.FLOAT, [STEPS, 3, CLASSES]),
         helper.make_tensor_value_info("last", TensorProto.FLOAT, [2, 3, HIDDEN])],
        [numpy_helper.from_array(array, name) for name, array in weights.items() if name in used],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


_PIPELINE = "bind-symbols,fold-shapes,unroll-recurrent,canonicalize"
_UNROLLED, _LENGTHS = (
    Fixed(canonicalize=_PIPELINE),
    Fixed(canonicalize=_PIPELINE, refused="the target has no rule for"),
)


def _export(kind: str, *, bidirectional: bool) -> Export:
    return Export(
        functools.partial(Recurrent, kind, bidirectional=bidirectional),
        lambda: (torch.randn(1, STEPS, FEATURES),), ("signal",), ("classes",),
    )  # fmt: skip


def _torch_forms(kind: str, *, bidirectional: bool) -> dict[str, Callable[[Path], None]]:
    export = _export(kind, bidirectional=bidirectional)
    return {"legacy-17": export.legacy(17), "dynamo-20": export.dynamo(20)}


LSTM = Family(
    "lstm", "two layers between linear ones",
    _torch_forms("LSTM", bidirectional=False), _signal, least_db=50.0, fixed=_UNROLLED,
)  # fmt: skip
BIDIRECTIONAL_LSTM = Family(
    "lstm-bidirectional", "both directions, lengths, initial states and peepholes",
    {"script-17": functools.partial(write_scripted, "LSTM", {})},
    _signals_and_lengths, least_db=34.0, fixed=_LENGTHS,
)  # fmt: skip
GRU = Family(
    "gru", "two layers in both directions between linear ones, linear_before_reset=1",
    _torch_forms("GRU", bidirectional=True), _signal, least_db=40.0, fixed=_UNROLLED,
)  # fmt: skip
BIDIRECTIONAL_GRU = Family(
    "gru-bidirectional", "both directions, lengths and initial states, linear_before_reset=0",
    {"script-17": functools.partial(write_scripted, "GRU", {"linear_before_reset": 0})},
    _signals_and_lengths, least_db=35.0, fixed=_LENGTHS,
)  # fmt: skip
