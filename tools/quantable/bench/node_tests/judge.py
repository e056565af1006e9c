"""Run one test: import the model, execute it on the float reference, compare."""

from __future__ import annotations

import enum
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from quantable.bench.node_tests.cases import Case, Item
from quantable.frontend import import_model
from quantable.ir import DType, ModelError, UnsupportedError, Value
from quantable.ir.floats import decode, is_small_float
from quantable.reference import ReferenceRuntime

BFLOAT16_RTOL = 2.0**-6
"""Two units in the last place of bfloat16, as the package's own runner allows."""


class Status(enum.Enum):
    """How a test ended."""

    PASS = "pass"
    UNSUPPORTED = "unsupported"
    REFUSED = "refused"
    WRONG = "wrong"
    FAULT = "fault"
    CRASH = "crash"
    HANG = "hang"


@dataclass(frozen=True)
class Verdict:
    """How a test ended, and why."""

    status: Status
    reason: str = ""


def judge(case: Case) -> Verdict:
    """Return how a test ends. Only what a program should never raise is a `FAULT`."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            onnx.save(case.model(), path)
            graph = import_model(path)
            runtime = ReferenceRuntime(graph)
            values = [graph.values[name] for name in graph.outputs]
            for inputs, outputs in case.data():
                given: dict[str, Any] = dict(zip(graph.inputs, inputs, strict=False))
                found = runtime.run_items(given)
                _compare(case, values, [found[name] for name in graph.outputs], outputs)
    except UnsupportedError as error:
        return Verdict(Status.UNSUPPORTED, _line(error))
    except ModelError as error:
        return Verdict(Status.REFUSED, _line(error))
    except AssertionError as error:
        return Verdict(Status.WRONG, _line(error))
    except Exception as error:  # a fault of ours: counted as one, so that the page shows it
        return Verdict(Status.FAULT, f"{type(error).__name__}: {_line(error)}")
    return Verdict(Status.PASS)


def _line(error: BaseException) -> str:
    text = str(getattr(error, "message", "") or error)
    return " ".join(text.split())[:300]


def _compare(
    case: Case, values: Sequence[Value], found: Sequence[Item], expected: Sequence[Item]
) -> None:
    assert len(found) == len(expected), f"expected {len(expected)} outputs, found {len(found)}"
    for value, have, want in zip(values, found, expected, strict=True):
        _compare_item(case, value, have, want)


def _compare_item(case: Case, value: Value, have: Item, want: Item) -> None:
    if isinstance(want, list):
        assert isinstance(have, list), f"'{value.name}': expected a sequence"
        assert len(have) == len(want), f"'{value.name}': expected {len(want)} items"
        for one, other in zip(have, want, strict=True):
            _compare_item(case, value, one, other)
        return
    if want is None or have is None:
        assert want is have, f"'{value.name}': one is absent, the other is not"
        return
    assert not isinstance(have, list), f"'{value.name}': expected a tensor, found a sequence"
    assert have.shape == want.shape, f"expected shape {want.shape}, found {have.shape}"
    if want.dtype == object:
        assert have.tolist() == want.tolist(), f"expected {want.tolist()}, found {have.tolist()}"
        return
    assert have.dtype == want.dtype, f"expected {want.dtype.name}, found {have.dtype.name}"
    rtol = max(case.rtol, BFLOAT16_RTOL) if value.dtype is DType.BFLOAT16 else case.rtol
    np.testing.assert_allclose(_real(have, value.dtype), _real(want, value.dtype), rtol, case.atol)


def _real(array: Any, dtype: DType) -> Any:
    """Return the numbers of bit patterns."""
    if dtype is DType.BFLOAT16:
        return (array.astype(np.uint32) << 16).view(np.float32)
    return decode(array, dtype) if is_small_float(dtype) else array
