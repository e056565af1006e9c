"""What is measured, made ahead: emitted code, and the files that other runtimes read.

A folder a network: ``quantized.qir`` is our quantized network, ``build`` its code,
``onnxruntime/quantized.onnx`` what ONNX Runtime's quantizer makes (QDQ, uint8 activations, weights
by channel), ``nncf/quantized.xml`` what NNCF makes for OpenVINO. A ``quantized.tflite`` is
measured with LiteRT where somebody put one.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from quantable.adapters.c_timing import TimedModel
from quantable.bench.peers import input_name, nncf_quantize, onnxruntime_static
from quantable.driver import api
from quantable.ir import UserError

Float = npt.NDArray[np.float32]
TARGET = "x86-vnni"
SAMPLES = 4
NETWORKS = (
    "resnet50", "resnet18", "mobilenet_v2", "mobilenet_v1_025_vww", "resnet8_ic", "resnet20",
    "dscnn_kws", "autoencoder_ad", "vit_tiny", "bert_base_128",
)  # fmt: skip
FILES = {
    "QDQ": "onnxruntime/quantized.onnx",
    "NNCF": "nncf/quantized.xml",
    "int8": "quantized.tflite",
}
"""Files of a network's folder that other runtimes read, by what made them."""
QUANTIZED, CODE, COMPILED = "quantized.qir", "build", "compiled"
"""Of a network's folder: our quantized network, its code, and what was compiled of that."""


def build(
    model: Path, folder: Path, threads: tuple[int, ...], again: bool = False
) -> Iterator[str]:
    """Make what is missing of a network's folder, and yield what was done or could not be.

    Args:
        model: The float network, one input.
        folder: The network's folder.
        threads: For how many to compile our code.
        again: Whether to emit our code again, as the sources of Quantable are now.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if again:
        shutil.rmtree(folder / CODE, ignore_errors=True)
    steps: dict[str, Callable[[], None]] = {
        QUANTIZED: lambda: _quantize(model, folder / QUANTIZED),
        CODE: lambda: _emit(folder / QUANTIZED, folder / CODE),
        FILES["QDQ"]: lambda: _onnxruntime(model, folder / "onnxruntime"),
        FILES["NNCF"]: lambda: _nncf(model, folder / "nncf"),
    }
    for name, make in steps.items():
        if (folder / name).exists():
            continue
        try:
            make()
        except (ImportError, UserError, RuntimeError, ValueError) as error:
            yield f"{folder.name}: {name} left out: {str(error).splitlines()[0]}"
        else:
            yield f"{folder.name}: {name}"
    for count in threads:
        opened(folder, count)
        yield f"{folder.name}: compiled for {count} threads"


def opened(folder: Path, threads: int) -> TimedModel:
    """Return our code of a network's folder, compiled if it is not yet."""
    return TimedModel(folder / CODE, threads=threads, kept=folder / COMPILED)


def _samples(model: Path) -> Float:
    """Return drawn inputs, [samples, *shape of the input]."""
    graph = onnx.load(model, load_external_data=False).graph
    name = input_name(model)
    (shape,) = (item.type.tensor_type.shape for item in graph.input if item.name == name)
    dims = [dim.dim_value or 1 for dim in shape.dim]
    return np.random.default_rng(0).standard_normal((SAMPLES, *dims)).astype(np.float32)


def _quantize(model: Path, out: Path) -> None:
    graph = api.canonicalize(api.import_model(model))
    profile = api.observe(graph, list(_samples(model)))
    quantized = api.calibrate(api.quantize(graph, TARGET), profile, target=TARGET)
    api.save(api.refine(quantized, target=TARGET), out)


def _emit(quantized: Path, out: Path) -> None:
    unfinished = out.with_name("unfinished")
    api.emit(api.lower(api.load(quantized)), unfinished, target=TARGET)
    unfinished.rename(out)


def _onnxruntime(model: Path, out: Path) -> None:
    out.mkdir(exist_ok=True)
    onnxruntime_static(model, _samples(model), out)


def _nncf(model: Path, out: Path) -> None:
    unfinished = out.with_name("unfinished-nncf")
    unfinished.mkdir(exist_ok=True)
    nncf_quantize(model, _samples(model), unfinished, transformer=_has_attention(model))
    shutil.rmtree(out, ignore_errors=True)
    unfinished.rename(out)


def _has_attention(model: Path) -> bool:
    """Whether there is a Softmax that makes no output."""
    graph = onnx.load(model, load_external_data=False).graph
    outputs = {item.name for item in graph.output}
    return any(n.op_type == "Softmax" and n.output[0] not in outputs for n in graph.node)
