"""The tests that the onnx package carries: models with inputs and the outputs they must give."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, numpy_helper

from quantable.ir import ONNX_NUMBERS
from quantable.ir.numerics import pack

Array = npt.NDArray[Any]
Item = Array | list[Any] | None
"""What a test gives or wants: a tensor, a sequence of them, or an optional value that is absent."""
DataSet = tuple[Sequence[Item], Sequence[Item]]
"""(inputs, outputs), in the order of the model."""

_BITS = {
    ml_dtypes.bfloat16: np.uint16, ml_dtypes.float8_e4m3fn: np.uint8,
    ml_dtypes.float8_e4m3fnuz: np.uint8, ml_dtypes.float8_e5m2: np.uint8,
    ml_dtypes.float8_e5m2fnuz: np.uint8, ml_dtypes.float8_e8m0fnu: np.uint8,
    ml_dtypes.float4_e2m1fn: np.uint8,
}  # fmt: skip
_WIDER = {
    ml_dtypes.int4: np.int8, ml_dtypes.uint4: np.uint8, ml_dtypes.int2: np.int8,
    ml_dtypes.uint2: np.uint8,
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One test.

    Attributes:
        group: "node", "light", "simple", "pytorch-converted" or "pytorch-operator".
        name: Its name in the onnx package.
        model: Gives the model.
        data: Gives inputs and outputs.
        rtol, atol: How far a number may be off.
    """

    group: str
    name: str
    model: Callable[[], onnx.ModelProto]
    data: Callable[[], Sequence[DataSet]]
    rtol: float
    atol: float


def load_cases(groups: Sequence[str] = ()) -> list[Case]:
    """Return all tests, or those of some groups, in an order that does not change."""
    found = [*_node_cases()] if not groups or "node" in groups else []
    for group, make in (
        ("light", _light_cases), ("simple", _stored_cases), ("pytorch-converted", _stored_cases),
        ("pytorch-operator", _stored_cases),
    ):  # fmt: skip
        if not groups or group in groups:
            found += sorted(make(group), key=lambda case: case.name)
    return found


def _node_cases() -> Iterator[Case]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the cases overflow on purpose
        from onnx.backend.test.case.node import collect_testcases

        cases = collect_testcases(None)
    for case in sorted(cases, key=lambda case: str(case.name)):
        yield Case(
            "node", case.name, partial(_same, case.model), partial(_made, case.data_sets),
            case.rtol, case.atol,
        )  # fmt: skip


def _same(model: onnx.ModelProto) -> onnx.ModelProto:
    return model


def _made(data: Sequence[tuple[Sequence[Any], Sequence[Any]]]) -> list[DataSet]:
    return [(_items(inputs), _items(outputs)) for inputs, outputs in data]


def _items(values: Sequence[Any]) -> list[Item]:
    return [_item(value) for value in values]


def _item(value: Any) -> Item:
    if value is None:
        return None
    if isinstance(value, list | tuple):
        return [_item(entry) for entry in value]
    if isinstance(value, TensorProto):
        value = numpy_helper.to_array(value)
    return plain(np.asarray(value))


def plain(array: Array) -> Array:
    """Return an array as the IR has it: small integers in bytes, small floats as their bits."""
    kind = array.dtype.type
    if kind in _BITS:
        return array.view(_BITS[kind])
    if kind in _WIDER:
        return array.astype(_WIDER[kind])
    return array.astype(object) if array.dtype.kind in "SU" else array


def with_constants(case: Case) -> Case | None:
    """Return a test whose inputs but the first are constants; None where one is no tensor."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model())
    inputs, outputs = case.data()[0]
    values = list(zip(model.graph.input, inputs, strict=True))
    if len(values) < 2:
        return None
    for value, given in values[1:]:
        kind = value.type.tensor_type.elem_type
        if not isinstance(given, np.ndarray) or given.dtype == object or kind not in ONNX_NUMBERS:
            return None
        dtype = ONNX_NUMBERS[kind]
        model.graph.initializer.append(
            TensorProto(name=value.name, data_type=kind, dims=given.shape,
                        raw_data=pack(given, dtype))
        )  # fmt: skip
    data = [(inputs[:1], outputs)]
    return replace(case, model=partial(_same, model), data=partial(_same_data, data))


def _same_data(data: list[DataSet]) -> list[DataSet]:
    return data


def _folder(group: str) -> Path:
    import onnx.backend.test

    return Path(onnx.backend.test.__file__).parent / "data" / group


def _stored_cases(group: str) -> Iterator[Case]:
    for path in _folder(group).iterdir():
        if (path / "model.onnx").is_file():
            settings = path / "data.json"
            held = json.loads(settings.read_text("utf-8")) if settings.is_file() else {}
            yield Case(
                group, path.name, partial(onnx.load, path / "model.onnx"),
                partial(_stored_data, path), held.get("rtol", 1e-3), held.get("atol", 1e-7),
            )  # fmt: skip


def _stored_data(path: Path) -> list[DataSet]:
    model = onnx.load(path / "model.onnx")
    return [
        (
            _read_all(folder, "input", model.graph.input),
            _read_all(folder, "output", model.graph.output),
        )
        for folder in sorted(path.glob("test_data_set_*"))
    ]


def _read_all(folder: Path, side: str, values: Sequence[onnx.ValueInfoProto]) -> list[Item]:
    found = []
    for index in range(len(list(folder.glob(f"{side}_*.pb")))):
        data = (folder / f"{side}_{index}.pb").read_bytes()
        found.append(_parsed(data, values[index].type.WhichOneof("value")))
    return found


def _parsed(data: bytes, kind: str | None) -> Item:
    if kind == "sequence_type":
        return _items(numpy_helper.to_list(onnx.SequenceProto.FromString(data)))
    if kind == "optional_type":
        return _item(numpy_helper.to_optional(onnx.OptionalProto.FromString(data)))
    return _item(TensorProto.FromString(data))


def _light_cases(group: str) -> Iterator[Case]:
    for path in _folder("real").iterdir():
        if not path.is_dir():
            continue
        held = json.loads((path / "data.json").read_text("utf-8"))
        model = _folder(group) / Path(held["url"]).name
        yield Case(
            group, path.name, partial(onnx.load, model), partial(_light_data, model),
            held["rtol"], held["atol"],
        )  # fmt: skip


def _light_data(path: Path) -> list[DataSet]:
    """Return the input that the package's own runner makes, and the stored output."""
    graph = onnx.load(path).graph
    held = {tensor.name for tensor in graph.initializer}
    inputs = []
    for value in graph.input:
        if value.name not in held:
            shape = tuple(dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim)
            count = int(np.prod(shape))
            inputs.append((np.arange(count).reshape(shape) / count).astype(np.float32))
    outputs = [
        _item(TensorProto.FromString((path.parent / f"{path.stem}_output_{i}.pb").read_bytes()))
        for i in range(len(graph.output))
    ]
    return [(inputs, outputs)]
