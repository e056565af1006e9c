"""Networks whose model brings its quantization along: which they are, and what they skip."""

from __future__ import annotations

from dataclasses import replace

from quantable.driver.pipelines import canonical, resolve
from quantable.driver.stages import STAGE
from quantable.ir import Graph, Level, State
from quantable.passes.canonicalize.fold_channel_scales import FoldChannelScales
from quantable.passes.canonicalize.fold_constants import FoldConstants
from quantable.passes.canonicalize.fold_shapes import FoldShapes
from quantable.passes.canonicalize.qoperator_forms import FORMS
from quantable.passes.canonicalize.quantizer_forms import (
    DEQUANTIZE,
    QUANTIZE,
    QUANTIZERS,
    Quantizer,
    quantizer_of,
    quantizes_activations,
)
from quantable.passes.quantize.adopt_quantizers import AdoptQuantizers
from quantable.passes.quantize.complete_quantizers import CompleteQuantizers
from quantable.passes.quantize.fuse_overlaps import FuseOverlaps
from quantable.passes.quantize.simplify_overlaps import SimplifyOverlaps

SKIPPED = ("observe", "calibrate")
"""Stages that there is nothing to do for where every row has its scale."""
COMPLETING = canonical(
    (AdoptQuantizers(partial=True), CompleteQuantizers(), FuseOverlaps(), SimplifyOverlaps())
)
"""Makes configs of a model's quantizers, and empty ones of what an integer target needs besides."""
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


def quantize_pipeline(graph: Graph, given: str = "", *, complete: bool = False) -> str:
    """Return what the stage `quantize` runs.

    Args:
        graph: A float graph.
        given: What was asked for; '' or the stage's own pipeline for what fits the graph.
        complete: Whether tensors that a quantized model leaves real are to be calibrated.
    """
    if given and given != STAGE["quantize"].pipeline:
        return given
    is_kept = graph.level is Level.FLOAT and any(
        op.kind in QUANTIZERS and isinstance(quantizer_of(graph, op), Quantizer)
        for op in graph.operations
    )
    if not is_kept:
        return STAGE["quantize"].pipeline
    return COMPLETING if complete else AdoptQuantizers.name


def is_waiting(graph: Graph) -> bool:
    """Whether a quantable graph has rows to calibrate."""
    return any(
        config.state is State.INITIAL
        for op in graph.quantable_operations
        for _, _, config in op.config.slots()
    )


def with_kept_weights(text: str) -> str:
    """Return a pipeline that leaves weights behind their DequantizeLinear."""
    return canonical(
        replace(item, weights=False) if isinstance(item, (FoldConstants, FoldShapes)) else item
        for item in resolve(text)
    )


def for_integers(graph: Graph, text: str) -> str:
    """Return the pipeline of `canonicalize` for a quantized model and a target of integers alone.

    Args:
        graph: What was imported.
        text: The pipeline for all targets.
    """
    is_by_channel = any(
        isinstance(found, Quantizer) and found.axis is not None
        for op in graph.operations
        if op.kind == QUANTIZE
        for found in [quantizer_of(graph, op)]
    )
    return f"{text},{FoldChannelScales.name}" if is_by_channel else text


def requantizing(text: str) -> str:
    """Return the pipeline of `canonicalize` that ends in the float network of a model's weights."""
    return f"{text},discard-quantizers,{text}"
