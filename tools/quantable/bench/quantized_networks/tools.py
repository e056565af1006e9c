"""The tools and formats: what makes a quantized ONNX file of a float one."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from quantable.bench.peers import batch_reader, input_name

Float = npt.NDArray[np.float32]
Make = Callable[[Path, Sequence[Float], Path], None]
_BLOCK = 32


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool with one set of options.

    Attributes:
        name: For the table.
        words: What it is.
        make: Takes the float network, calibration inputs, and the path to write.
        is_prepared: Whether the tool is given the network as ONNX Runtime's quantizer prepares it,
            which merges MatMul and Add into a Gemm that tools for blocks leave alone.
    """

    name: str
    words: str
    make: Make
    is_prepared: bool = True


def _static(model: Path, inputs: Sequence[Float], path: Path, **how: Any) -> None:
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    logging.getLogger().setLevel(logging.ERROR)  # the tool warns through the root logger
    kinds = {f"{word}_type": QuantType[how.pop(word)] for word in ("activation", "weight")}
    quantize_static(
        str(model), str(path), batch_reader(input_name(model), inputs),
        quant_format=QuantFormat[how.pop("format", "QDQ")], **kinds, **how,
    )  # fmt: skip


def static_tool(activation: str, weight: str, **how: Any) -> Make:
    """Return ONNX Runtime's static quantizer with these names of `QuantType` and options."""
    return functools.partial(_static, activation=activation, weight=weight, **how)


def _dynamic(model: Path, inputs: Sequence[Float], path: Path) -> None:
    from onnxruntime.quantization import quantize_dynamic

    del inputs
    logging.getLogger().setLevel(logging.ERROR)
    quantize_dynamic(str(model), str(path))


def _blocks(model: Path, inputs: Sequence[Float], path: Path, *, form: str) -> None:
    from onnxruntime.quantization import QuantFormat
    from onnxruntime.quantization.matmul_nbits_quantizer import (
        DefaultWeightOnlyQuantConfig,
        MatMulNBitsQuantizer,
    )

    del inputs
    logging.getLogger().setLevel(logging.ERROR)
    config = DefaultWeightOnlyQuantConfig(
        block_size=_BLOCK, is_symmetric=False, quant_format=QuantFormat[form]
    )
    quantizer = MatMulNBitsQuantizer(onnx.load(model), algo_config=config)
    quantizer.process()
    onnx.save(quantizer.model.model, path)


def _nncf(model: Path, inputs: Sequence[Float], path: Path) -> None:
    import nncf

    name = input_name(model)
    proto = onnx.load(model)
    has_attention = any(node.op_type == "Softmax" for node in proto.graph.node)
    quantized = nncf.quantize(
        proto, nncf.Dataset(list(inputs), lambda array: {name: array}), subset_size=len(inputs),
        model_type=nncf.ModelType.TRANSFORMER if has_attention else None,
    )  # fmt: skip
    onnx.save(quantized, path)


def _nncf_weights(model: Path, inputs: Sequence[Float], path: Path) -> None:
    import nncf

    del inputs
    mode = nncf.CompressWeightsMode.INT4_ASYM
    onnx.save(nncf.compress_weights(onnx.load(model), mode=mode, group_size=_BLOCK), path)


_KEPT = {"QDQKeepRemovableActivations": True}
TOOLS: dict[str, Tool] = {
    tool.name: tool
    for tool in (
        Tool("ort-u8s8", "ONNX Runtime, QDQ, uint8 activations, int8 weights per channel",
             static_tool("QUInt8", "QInt8", per_channel=True)),
        Tool("ort-u8s8-relu", "the same, Relus kept (`QDQKeepRemovableActivations`)",
             static_tool("QUInt8", "QInt8", per_channel=True, extra_options=_KEPT)),
        Tool("ort-u8s8-7bit", "the same as the first, weights of 7 bits (`reduce_range`)",
             static_tool("QUInt8", "QInt8", per_channel=True, reduce_range=True)),
        Tool("ort-s8s8", "ONNX Runtime, QDQ, int8 activations, int8 weights per tensor",
             static_tool("QInt8", "QInt8", per_channel=False)),
        Tool("ort-u16s8", "ONNX Runtime, QDQ, uint16 activations, int8 weights per channel",
             static_tool("QUInt16", "QInt8", per_channel=True)),
        Tool("ort-qoperator", "ONNX Runtime, QOperator, uint8 and int8 per channel",
             static_tool("QUInt8", "QInt8", per_channel=True, format="QOperator")),
        Tool("ort-qoperator-u8u8", "ONNX Runtime, QOperator, uint8 and uint8 per tensor",
             static_tool("QUInt8", "QUInt8", per_channel=False, format="QOperator")),
        Tool("ort-dynamic", "ONNX Runtime, dynamic (`DynamicQuantizeLinear`, `MatMulInteger`)",
             _dynamic, False),
        Tool("ort-int4", f"ONNX Runtime, int4 weights in blocks of {_BLOCK}, QDQ",
             functools.partial(_blocks, form="QDQ"), False),
        Tool("ort-matmul4", f"ONNX Runtime, int4 weights in blocks of {_BLOCK}, `MatMulNBits`",
             functools.partial(_blocks, form="QOperator"), False),
        Tool("nncf", "NNCF on the ONNX network, its defaults", _nncf),
        Tool("nncf-int4", f"NNCF, int4 weights in groups of {_BLOCK}", _nncf_weights, False),
    )
}  # fmt: skip
"""Every tool by name, in the order of the table."""
