"""Networks whose model brings its quantization along: which they are, and what they skip."""

from __future__ import annotations

from dataclasses import replace

from quantable.driver.pipelines import canonical, resolve
from quantable.driver.stages import STAGE
from quantable.ir import Graph, Level
from quantable.passes.canonicalize.fold_constants import FoldConstants
from quantable.passes.canonicalize.fold_shapes import FoldShapes
from quantable.passes.canonicalize.qoperator_forms import FORMS
from quantable.passes.canonicalize.quantizer_forms import (
    DEQUANTIZE,
    QUANTIZERS,
    Quantizer,
    quantizer_of,
    quantizes_activations,
)
from quantable.passes.quantize.adopt_quantizers import AdoptQuantizers

SKIPPED = ("observe", "calibrate")
"""Stages that there is nothing to do for: every row has its scale."""
_WEIGHTS_ONLY = ("com.microsoft.DequantizeLinear", "com.microsoft.MatMulNBits")


def is_quantized(graph: Graph) -> bool:
    """Whether a float graph quantizes activations by constant numbers."""
    if graph.level is not Level.FLOAT:
        return False
    kinds = FORMS.keys() - set(_WEIGHTS_ONLY)
    return quantizes_activations(graph) or any(op.kind in kinds for op in graph.operations)


def has_quantized_weights(graph: Graph) -> bool:
    """Whether a float graph dequantizes constants."""
    return graph.level is Level.FLOAT and any(
        op.kind in _WEIGHTS_ONLY
        or (
            op.kind == DEQUANTIZE
            and op.inputs[0] in graph.parameters
            and isinstance(quantizer_of(graph, op), Quantizer)
        )
        for op in graph.operations
    )


def quantize_pipeline(graph: Graph, given: str = "") -> str:
    """Return what the stage `quantize` runs.

    Args:
        graph: A float graph.
        given: What was asked for; '' or the stage's own pipeline for what fits the graph.
    """
    if given and given != STAGE["quantize"].pipeline:
        return given
    is_kept = graph.level is Level.FLOAT and any(
        op.kind in QUANTIZERS and isinstance(quantizer_of(graph, op), Quantizer)
        for op in graph.operations
    )
    return AdoptQuantizers.name if is_kept else STAGE["quantize"].pipeline


def with_kept_weights(text: str) -> str:
    """Return a pipeline that leaves weights behind their DequantizeLinear."""
    return canonical(
        replace(item, weights=False) if isinstance(item, (FoldConstants, FoldShapes)) else item
        for item in resolve(text)
    )


def requantizing(text: str) -> str:
    """Return the pipeline of `canonicalize` that ends in the float network of a model's weights."""
    return f"{text},discard-quantizers,{text}"
