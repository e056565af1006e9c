"""A strategy for every operation of PPQ's and esp-ppq's tables: random operands and attributes."""

from __future__ import annotations

from tests.reference.drawn_operators import elementwise, indexing, movement, sums, windows
from tests.reference.drawn_operators.drawing import Strategy

STRATEGIES: dict[str, Strategy] = {
    **elementwise.STRATEGIES,
    **indexing.STRATEGIES,
    **movement.STRATEGIES,
    **sums.STRATEGIES,
    **windows.STRATEGIES,
}


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


PPQ = _names("""
    Abs AdaptiveAvgPool2d Add And ArgMax Attention AveragePool BatchNormalization CaffeArgMax Cast
    ChannelShuffle Clip Concat Constant ConstantOfShape Conv ConvTranspose Cos DepthToSpace Div
    Elu Equal Erf Exp Expand Flatten Floor GRU Gather GatherElements GatherND Gelu Gemm
    GlobalAveragePool GlobalMaxPool Greater HardSigmoid HardSwish Identity InstanceNormalization
    Interp LSTM LayerNorm LayerNormalization LeakyRelu Less Log LogSoftmax MMCVRoiAlign MatMul Max
    MaxPool Min Mul MultiHeadAttention Neg NonMaxSuppression NonZero Not OneHot PPQBiasFusedMatMul
    PPQDeviceSwitch PRelu Pad Parameter Pow Range Reciprocal ReduceL2 ReduceMax ReduceMean
    ReduceSum Relu Reshape Resize RoiAlign Scale ScatterElements ScatterND Shape Sigmoid Sin Slice
    Softmax Softplus SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh Tile TopK Transpose
    Unsqueeze Where grid_sampler skipLayerNormPlugin
""")
ESP_PPQ = _names("""
    GreaterOrEqual InsertZeros LessOrEqual LpNormalization Mod RMSNormalization ReduceL1
    ReduceLogSum ReduceLogSumExp ReduceMin ReduceProd ReduceSumSquare ReverseSequence Swish
""")

ANOTHER_NAME = {
    "Attention": "com.microsoft.Attention", "LayerNorm": "LayerNormalization",
    "MMCVRoiAlign": "RoiAlign", "MultiHeadAttention": "com.microsoft.MultiHeadAttention",
    "Swish": "com.microsoft.QuickGelu", "grid_sampler": "GridSample",
    "skipLayerNormPlugin": "com.microsoft.SkipLayerNormalization",
}  # fmt: skip
"""What a file calls an operation that their tables have under another name."""

NO_STRATEGY = {
    "AdaptiveAvgPool2d": "no operation of ONNX: exporters write AveragePool or GlobalAveragePool",
    "CaffeArgMax": "of the format Caffe, which nothing here reads",
    "ChannelShuffle": "of the format Caffe, which nothing here reads",
    "Constant": "has no operands: the import makes a parameter of it",
    "InsertZeros": "esp-ppq's own, between two of its passes: no file holds it",
    "Interp": "of the format Caffe, which nothing here reads",
    "PPQBiasFusedMatMul": "PPQ's own, between two of its passes: here it is quantable.Linear",
    "PPQDeviceSwitch": "PPQ's own, to move tensors to a GPU: no file holds it",
    "Parameter": "of the format Caffe, which nothing here reads",
    "Scale": "of the format Caffe, which nothing here reads",
}
