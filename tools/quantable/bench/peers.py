"""Other quantizers, run for comparison on the same networks and inputs."""

from __future__ import annotations

import functools
import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx.version_converter

Float = npt.NDArray[np.float32]


def input_name(model: Path) -> str:
    """Return the name of the one input that is not an initializer."""
    graph = onnx.load(model, load_external_data=False).graph
    weights = {item.name for item in graph.initializer}
    (name,) = (item.name for item in graph.input if item.name not in weights)
    return str(name)


def cut_softmax(model: Path, out: Path) -> tuple[str, ...]:
    """Write the network without Softmax operations that make its outputs; return its outputs.

    Probabilities near 0 and 1 hide differences of logits, so all tools are given the cut network.
    """
    proto = onnx.load(model)
    graph = proto.graph
    producers = {name: node for node in graph.node for name in node.output}
    for output in graph.output:
        node = producers[output.name]
        if node.op_type == "Softmax":
            graph.node.remove(node)
            output.name = node.input[0]
    onnx.save(_at_least_opset_13(proto), out)  # the upgrade would hide an old Softmax
    return tuple(output.name for output in graph.output)


def _at_least_opset_13(model: onnx.ModelProto) -> onnx.ModelProto:
    """Upgrade an older network: ONNX Runtime's tool writes an axis for DequantizeLinear."""
    if model.opset_import[0].version >= 13:
        return model
    weights = {item.name for item in model.graph.initializer}
    for item in [item for item in model.graph.input if item.name in weights]:
        model.graph.input.remove(item)
    model.ir_version = max(model.ir_version, 7)
    return onnx.version_converter.convert_version(model, 13)


def batch_reader(name: str, batches: Iterable[Float]) -> Any:
    """Return what ONNX Runtime's quantizer reads calibration inputs from.

    Args:
        name: The network's input.
        batches: Arrays for it, one a run.
    """
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc] # untyped base
        def __init__(self) -> None:
            self._batches: Iterator[Float] = iter(batches)

        def get_next(self) -> dict[str, Float] | None:
            """Return the next inputs by name, None after the last."""
            batch = next(self._batches, None)
            return None if batch is None else {name: batch}

    return Reader()


def free_batch(model: Path, count: int, most: int = 50) -> int:
    """Return how many samples a run may take, so that `count` is a whole number of runs.

    ONNX Runtime's histogram calibration fails where the last run is shorter.
    """
    graph = onnx.load(model, load_external_data=False).graph
    weights = {item.name for item in graph.initializer}
    values = [item for item in graph.input if item.name not in weights] + list(graph.output)
    if not all(value.type.tensor_type.shape.dim[0].dim_param for value in values):
        return 1
    return max(size for size in range(1, min(count, most) + 1) if count % size == 0)


def onnxruntime_static(
    model: Path, images: Float, folder: Path, *, method: str = "MinMax", per_channel: bool = True
) -> None:
    """Quantize with ONNX Runtime's own tool: QDQ, uint8 activations, symmetric int8 weights.

    Args:
        model: The float network.
        images: Calibration inputs, [samples, 1, ...].
        folder: Where ``quantized.onnx`` is written.
        method: MinMax or Percentile (at its default, 99.999).
        per_channel: Whether weights get a scale a channel.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    logging.getLogger().setLevel(logging.ERROR)  # the tool warns through the root logger
    size = free_batch(model, len(images))
    batches = images.reshape(-1, size, *images.shape[2:])
    with tempfile.TemporaryDirectory() as scratch:
        prepared = Path(scratch) / "prepared.onnx"
        quant_pre_process(str(model), str(prepared))
        quantize_static(
            str(prepared),
            str(folder / "quantized.onnx"),
            batch_reader(input_name(model), batches),
            per_channel=per_channel,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod[method],
        )


def nncf_quantize(
    model: Path,
    images: Float,
    folder: Path,
    *,
    accurate: bool = False,
    transformer: bool | None = None,
) -> None:
    """Quantize with NNCF: defaults but for the kind of bias correction, on all samples.

    Args:
        model: The float network; one with attention is said to be a transformer, as NNCF advises.
        images: Calibration inputs, [samples, 1, ...].
        folder: Where ``quantized.xml`` is written.
        accurate: Whether biases are corrected layer by layer (``fast_bias_correction=False``).
        transformer: Whether it has attention; None: if it has a Softmax.
    """
    import nncf
    import openvino

    network = openvino.convert_model(model)  # Core.read_model would hide biases from NNCF
    if transformer is None:  # a Softmax at the output was cut off: what is left is attention
        transformer = any(op.get_type_name() == "Softmax" for op in network.get_ops())
    quantized = nncf.quantize(
        network,
        nncf.Dataset(list(images)),
        subset_size=len(images),
        fast_bias_correction=not accurate,
        model_type=nncf.ModelType.TRANSFORMER if transformer else None,
    )
    openvino.save_model(quantized, folder / "quantized.xml", compress_to_fp16=False)


PEERS: dict[str, tuple[str, Callable[[Path, Float, Path], None]]] = {
    "ort-minmax": ("ONNX Runtime, per channel, MinMax", onnxruntime_static),
    "ort-percentile": (
        "ONNX Runtime, per channel, Percentile",
        functools.partial(onnxruntime_static, method="Percentile"),
    ),
    "ort-per-tensor": (
        "ONNX Runtime, per tensor, MinMax",
        functools.partial(onnxruntime_static, per_channel=False),
    ),
    "nncf": ("NNCF, default (fast bias correction)", nncf_quantize),
    "nncf-accurate": (
        "NNCF, accurate bias correction", functools.partial(nncf_quantize, accurate=True)
    ),
}  # fmt: skip
"""Other quantizers by name: what they are in words, and what runs them on (model, images, folder);
they leave ``quantized.onnx`` or ``quantized.xml`` in the folder."""
