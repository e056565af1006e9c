"""The table of all passes. Classes are imported when they are asked for."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

from quantable.ir import UnknownNameError
from quantable.passes.base import Pass


@dataclass(frozen=True, slots=True)
class PassEntry:
    """One pass: its name (file name with '-' for '_'), its phase (folder), and its class.

    Attributes:
        is_default: Whether the group of its phase holds it; others have to be asked for.
    """

    name: str
    phase: str
    class_name: str
    summary: str
    is_default: bool = True

    @property
    def module(self) -> str:
        return f"quantable.passes.{self.phase}.{self.name.replace('-', '_')}"

    def load(self) -> type[Pass]:
        """Import and return the class."""
        loaded: type[Pass] = getattr(importlib.import_module(self.module), self.class_name)
        return loaded


_TABLE: tuple[PassEntry, ...] = (
    PassEntry("unfuse-operations", "canonicalize", "UnfuseOperations",
              "write operations of ONNX Runtime's optimizer as those of the standard"),
    PassEntry("bind-symbols", "canonicalize", "BindSymbols",
              "give symbolic dimensions numbers", is_default=False),
    PassEntry("expand-qoperators", "canonicalize", "ExpandQoperators",
              "write operations on integers that bring their scales along as real ones between "
              "quantizers"),
    PassEntry("move-quantizers", "canonicalize", "MoveQuantizers",
              "let operations that only move elements work on real numbers, and on integers of "
              "constants"),
    PassEntry("unroll-recurrent", "canonicalize", "UnrollRecurrent",
              "write recurrent operations out, step by step", is_default=False),
    PassEntry("fold-constants", "canonicalize", "FoldConstants",
              "compute operations whose inputs are all constant"),
    PassEntry("fold-shapes", "canonicalize", "FoldShapes",
              "infer shapes and compute shape arithmetic, symbols included"),
    PassEntry("eliminate-identity", "canonicalize", "EliminateIdentity",
              "remove operations that return their input"),
    PassEntry("eliminate-requantization", "canonicalize", "EliminateRequantization",
              "remove quantizers of what lies on their grid already"),
    PassEntry("normalize-reshape", "canonicalize", "NormalizeReshape",
              "turn Flatten, Squeeze and Unsqueeze into Reshape, and merge those"),
    PassEntry("normalize-windows", "canonicalize", "NormalizeWindows",
              "write out every attribute of convolutions and pools"),
    PassEntry("normalize-clip", "canonicalize", "NormalizeClip",
              "bring Clip, Relu, Min and Max with constants into one form"),
    PassEntry("normalize-elementwise", "canonicalize", "NormalizeElementwise",
              "turn division by and subtraction of constants into Mul and Add"),
    PassEntry("fuse-gelu", "canonicalize", "FuseGelu",
              "replace the erf form of GELU by one operation"),
    PassEntry("fuse-layer-normalization", "canonicalize", "FuseLayerNormalization",
              "replace a layer normalization that is written out by one operation"),
    PassEntry("bound-masks", "canonicalize", "BoundMasks",
              "write masks of attention as sums with finite numbers"),
    PassEntry("hoist-casts", "canonicalize", "HoistCasts",
              "cast integers to real numbers before they are moved"),
    PassEntry("merge-pad", "canonicalize", "MergePad",
              "merge zero padding into the convolution or pool that reads it"),
    PassEntry("merge-quantized-linear", "canonicalize", "MergeQuantizedLinear",
              "bring Gemm and MatMul whose weights are dequantized to Linear"),
    PassEntry("merge-linear", "canonicalize", "MergeLinear",
              "bring Gemm and MatMul with constant weights, and a following Add, to Linear"),
    PassEntry("merge-bias", "canonicalize", "MergeBias",
              "merge an Add of a constant into the bias of the producer"),
    PassEntry("fold-batchnorm", "canonicalize", "FoldBatchnorm",
              "fold BatchNormalization into Conv, ConvTranspose, Linear, or make it a Conv"),
    PassEntry("eliminate-transposes", "canonicalize", "EliminateTransposes",
              "cancel and merge transposes"),
    PassEntry("eliminate-dead-code", "canonicalize", "EliminateDeadCode",
              "remove operations that no output depends on"),
    PassEntry("unshare-parameters", "canonicalize", "UnshareParameters",
              "give every consumer of a parameter its own copy"),
    PassEntry("drop-dead-channels", "canonicalize", "DropDeadChannels",
              "remove channels that no input changes, or that nobody reads"),
    PassEntry("fold-channel-scales", "canonicalize", "FoldChannelScales",
              "quantize inputs of depthwise convolutions with one scale", is_default=False),
    PassEntry("silence-channels", "canonicalize", "SilenceChannels",
              "clear the weights of channels that are zero or that nobody reads",
              is_default=False),
    PassEntry("equalize-layers", "canonicalize", "EqualizeLayers",
              "balance the weights on both sides of each channel", is_default=False),
    PassEntry("equalize-by-trial", "canonicalize", "EqualizeByTrial",
              "balance each pair of layers in the way that lowers the error most",
              is_default=False),
    PassEntry("equalize-activations", "canonicalize", "EqualizeActivations",
              "move differences between activation channels into the weights", is_default=False),
    PassEntry("split-channels", "canonicalize", "SplitChannels",
              "make two channels of one whose weights are outliers", is_default=False),
    PassEntry("split-layers", "canonicalize", "SplitLayers",
              "make two added layers of one whose weights reach far", is_default=False),
    PassEntry("factorize-matrices", "canonicalize", "FactorizeMatrices",
              "replace a matrix by a product of two that quantize better", is_default=False),
    PassEntry("dispatch", "quantize", "Dispatch",
              "decide which platform each operation runs on"),
    PassEntry("assign-configs", "quantize", "AssignConfigs",
              "give every quantable operation its config from the target"),
    PassEntry("fuse-overlaps", "quantize", "FuseOverlaps",
              "leave the quantization inside a fused pair to its last operation"),
    PassEntry("simplify-overlaps", "quantize", "SimplifyOverlaps",
              "quantize each tensor once"),
    PassEntry("adopt-quantizers", "quantize", "AdoptQuantizers",
              "make configs of the quantizers that a model has", is_default=False),
    PassEntry("complete-quantizers", "quantize", "CompleteQuantizers",
              "quantize the tensors that a quantized model leaves real", is_default=False),
    PassEntry("discard-quantizers", "quantize", "DiscardQuantizers",
              "give up the quantization of a model", is_default=False),
    PassEntry("calibrate", "calibrate", "Calibrate",
              "fill the rows of weights and activations"),
    PassEntry("calibrate-sensitive", "calibrate", "CalibrateSensitive",
              "choose the ranges of activations by the error at their readers", is_default=False),
    PassEntry("calibrate-inputs", "calibrate", "CalibrateInputs",
              "choose the ranges of digitized inputs by their distinct values", is_default=False),
    PassEntry("isotone-calibration", "calibrate", "IsotoneCalibration",
              "keep the order of the largest outputs", is_default=False),
    PassEntry("correct-bias", "calibrate", "CorrectBias",
              "take the mean error of rounded weights out of the bias"),
    PassEntry("search-scales", "tune", "SearchScales",
              "choose the scales of weights by the error of the outputs", is_default=False),
    PassEntry("gptq", "tune", "Gptq",
              "round the weights of a layer together", is_default=False),
    PassEntry("correct-bias-sequentially", "tune", "CorrectBiasSequentially",
              "fit bias and scale of every output, layer after layer", is_default=False),
    PassEntry("reconstruct-blocks", "tune", "ReconstructBlocks",
              "learn the rounding of the weights of a block together", is_default=False),
    PassEntry("learn-step-size", "tune", "LearnStepSize",
              "train weights and quantization steps by gradients", is_default=False),
    PassEntry("train-thresholds", "tune", "TrainThresholds",
              "train the ranges of activations and weights by gradients", is_default=False),
    PassEntry("tune-rounding", "tune", "TuneRounding",
              "move integer weights by at most one step", is_default=False),
    PassEntry("align", "refine", "Align",
              "make operations that demand it share one row"),
    PassEntry("passive-parameters", "refine", "PassiveParameters",
              "derive the rows of bias, clip and pad parameters"),
    PassEntry("bake", "refine", "Bake",
              "store quantized parameters as integers"),
    PassEntry("lower-to-integer", "lower", "LowerToInteger",
              "make the arithmetic explicit in integer operations"),
    PassEntry("assign-layout", "plan", "AssignLayout",
              "bring convolutions and pools to channels-last"),
    PassEntry("make-padding-explicit", "plan", "MakePaddingExplicit",
              "pad in an operation of its own what kernels without borders read"),
    PassEntry("plan-memory", "plan", "PlanMemory",
              "bind symbols, and place every activation in one arena"),
)  # fmt: skip

GROUPS: dict[str, tuple[str, ...]] = {
    phase: tuple(entry.name for entry in _TABLE if entry.phase == phase and entry.is_default)
    for phase in ("canonicalize", "quantize", "refine", "lower", "plan")
}
"""Names that stand for several passes in a pipeline."""

PASSES: dict[str, PassEntry] = {entry.name: entry for entry in _TABLE}
"""Every pass by name, in the order in which the default pipeline runs them."""


def pass_class(name: str) -> type[Pass]:
    """Return the class of a pass.

    Raises:
        UnknownNameError: No pass has the name; the message lists the nearest.
    """
    if name not in PASSES:
        raise UnknownNameError("pass", name, PASSES)
    return PASSES[name].load()
