"""ONNX Runtime's static quantizer, for networks with any inputs."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from quantable.bench.families.family import Inputs


def quantize_static(model: Path, samples: Sequence[Inputs], folder: Path) -> Path:
    """Quantize as `quantable.bench.peers.onnxruntime_static` does: QDQ, uint8, int8 per channel.

    Returns:
        The quantized file.
    """
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc] # untyped base
        def __init__(self) -> None:
            self._samples: Iterator[Inputs] = iter(samples)

        def get_next(self) -> dict[str, Any] | None:
            """Return the next inputs by name, None after the last."""
            return next(self._samples, None)

    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    prepared, path = folder / "prepared.onnx", folder / "quantized.onnx"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of ranges that masks make infinite
            # Symbolic inference fails on embeddings and on growth by factors; ONNX's is enough.
            quant_pre_process(str(model), str(prepared), skip_symbolic_shape=True)
            quantization.quantize_static(
                str(prepared), str(path), Reader(), per_channel=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
            )  # fmt: skip
    finally:
        logging.disable(level)
    return path
