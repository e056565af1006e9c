"""Latency of emitted C code beside other runtimes, in turn in one process.

Shared machines drift by tens of per cent in seconds: runtimes take turns in short blocks, so that
all of them see the same weather, and what is compared are ratios of medians.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from quantable.adapters.c_timing import TimedModel
from quantable.ir import OptionError, UserError

Reals = npt.NDArray[np.float64]
BLOCKS = 15
"""Turns that every runtime has."""


class Runner(Protocol):
    """Something that runs a network again and again."""

    @property
    def name(self) -> str:
        """For people."""
        ...

    def runs(self, count: int) -> Reals:
        """Return the seconds that each of some runs took."""
        ...


@dataclass(frozen=True)
class OwnRunner:
    """Emitted C code."""

    model: TimedModel
    name: str = "emitted code"

    def runs(self, count: int) -> Reals:
        return self.model.runs(count)


@dataclass(frozen=True)
class CalledRunner:
    """A runtime that is called from Python; the call is part of the time."""

    name: str
    call: Callable[[], object] = field(repr=False)

    def runs(self, count: int) -> Reals:
        found = np.zeros(count)
        for index in range(count):
            start = perf_counter()
            self.call()
            found[index] = perf_counter() - start
        return found


@dataclass(frozen=True)
class Latency:
    """What the runs of one runtime took.

    Attributes:
        name: The runtime.
        median: Seconds.
        best: The least median of a block, in seconds.
        runs: How many.
    """

    name: str
    median: float
    best: float
    runs: int


def interleaved(
    runners: Sequence[Runner], seconds: float, progress: Callable[[int, int], None] | None = None
) -> list[Latency]:
    """Let runtimes take turns, each for about so many seconds in all, and return their latencies.

    Raises:
        OptionError: The time is not positive.
    """
    if not seconds > 0:
        raise OptionError(f"seconds: expected a positive number, found {seconds:g}")
    counts = []
    for runner in runners:
        runner.runs(1)
        typical = max(float(np.median(runner.runs(3))), 1e-7)
        counts.append(max(1, int(seconds / BLOCKS / typical)))
    blocks: list[list[Reals]] = [[] for _ in runners]
    for block in range(BLOCKS):
        for index, runner in enumerate(runners):
            blocks[index].append(runner.runs(counts[index]))
        if progress is not None:
            progress(block + 1, BLOCKS)
    return [_latency(runner.name, held) for runner, held in zip(runners, blocks, strict=True)]


def _latency(name: str, blocks: Sequence[Reals]) -> Latency:
    everything = np.concatenate(blocks)
    best = min(float(np.median(block)) for block in blocks)
    return Latency(name, float(np.median(everything)), best, everything.size)


def peer(path: Path, threads: int = 1) -> tuple[list[Runner], list[str]]:
    """Return the installed runtimes that run a file, and why others do not.

    Args:
        path: An .onnx file, an OpenVINO .xml file or a .tflite file.
        threads: That share a run.

    Raises:
        UserError: None of them is installed, or none can read the file.
        OptionError: The kind of file is not known.
    """
    found: list[Runner] = []
    kinds = {
        ".onnx": (_onnxruntime, _openvino), ".xml": (_openvino,), ".tflite": (_litert,)
    }  # fmt: skip
    if path.suffix not in kinds:
        raise OptionError(
            f"expected a .onnx, .xml or .tflite file, found '{path.name}'",
            help="give the network in the form that the other runtime reads",
        )
    if not path.is_file():
        raise OptionError("there is no such file", where=str(path))
    reasons = []
    for make in kinds[path.suffix]:
        try:
            found.append(make(path, threads))
        except ImportError as error:
            reasons.append(f"{error.name} is not installed")
        except (RuntimeError, ValueError) as error:  # what they raise for files they cannot run
            reasons.append(str(error).splitlines()[0])
    if not found:
        raise UserError(
            f"no runtime runs it: {'; '.join(reasons)}", where=str(path),
            help="pip install onnxruntime, openvino or ai-edge-litert",
        )  # fmt: skip
    return found, reasons


def _onnxruntime(path: Path, threads: int) -> Runner:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    providers = ["CPUExecutionProvider"]
    state = onnxruntime.capi.onnxruntime_pybind11_state
    refusals = tuple(
        item for item in vars(state).values()
        if isinstance(item, type) and issubclass(item, Exception)
    )  # fmt: skip
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    except refusals as error:  # classes of its own, which share no base but Exception
        raise RuntimeError(f"ONNX Runtime: {error}") from error
    binding = session.io_binding()
    for item in session.get_inputs():
        shape = [dim if isinstance(dim, int) else 1 for dim in item.shape]
        dtype = {"tensor(uint8)": np.uint8, "tensor(int8)": np.int8}.get(item.type, np.float32)
        binding.bind_cpu_input(item.name, _drawn(shape, np.dtype(dtype)))
    for item in session.get_outputs():
        binding.bind_output(item.name)
    version = f"ONNX Runtime {onnxruntime.__version__}"
    return CalledRunner(version, lambda: session.run_with_iobinding(binding))


def _openvino(path: Path, threads: int) -> Runner:
    import openvino

    core = openvino.Core()
    model = core.read_model(path)
    shapes = {
        port: [1 if dim.is_dynamic else dim.get_length() for dim in port.partial_shape]
        for port in model.inputs
    }
    model.reshape(shapes)
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    request = core.compile_model(model, "CPU", hints).create_infer_request()
    for port in request.model_inputs:
        dtype = np.dtype(port.get_element_type().to_dtype())
        request.set_tensor(port, openvino.Tensor(_drawn(list(port.shape), dtype)))
    version = openvino.__version__.split("-")[0]
    return CalledRunner(f"OpenVINO {version}", request.infer)


def _litert(path: Path, threads: int) -> Runner:
    from ai_edge_litert import interpreter as litert

    model = litert.Interpreter(model_path=str(path), num_threads=threads)
    model.allocate_tensors()
    for facts in model.get_input_details():
        model.set_tensor(facts["index"], _drawn(list(facts["shape"]), np.dtype(facts["dtype"])))
    return CalledRunner("LiteRT", model.invoke)


def _drawn(shape: Sequence[int], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    random = np.random.default_rng(0)
    if dtype.kind == "f":
        return random.standard_normal(shape).astype(dtype)
    bounds = np.iinfo(dtype)
    return random.integers(bounds.min, bounds.max, shape, endpoint=True).astype(dtype)


def layer_rows(model: TimedModel, count: int, peak: float) -> list[Mapping[str, object]]:
    """Return what every step took, in order.

    Args:
        model: The emitted code.
        count: Runs to take the mean of.
        peak: Products a second at most, 0 where that is not known.
    """
    seconds = model.steps(count)
    whole = sum(seconds.values()) or 1.0
    rows: list[Mapping[str, object]] = []
    for layer in model.manifest["layers"]:
        took = seconds[layer["step"]]
        rate = layer["macs"] / took if took > 0 else 0.0
        rows.append({
            "step": layer["step"], "operation": layer["name"], "kind": layer["kind"],
            "microseconds": took * 1e6, "share": took / whole, "gops": 2 * rate / 1e9,
            "of_peak": rate / peak if peak else None,
        })  # fmt: skip
    return rows
