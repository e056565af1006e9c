"""What is asked of each row, beside what others have published.

Published figures are those of a survey of the same networks (10,000 CIFAR images, 900 keywords, 872
photos), in which each tool ran once with its own defaults unless its name says more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from quantable.bench.accuracy.suites import ALL, RESNETS


@dataclass(frozen=True)
class Published:
    """The best figure of each kind that a survey of other quantizers found.

    Attributes:
        float_top_1: Of the float network on the survey's samples, percent.
        top_1: Percent; of the tool with the best SQNR where tools differ within noise.
        agreement: Percent of samples with the float network's answer.
        sqnr: Decibels, at the logits.
        tools: Whose figures these are.
    """

    float_top_1: float
    top_1: float
    agreement: float
    sqnr: float
    tools: str


@dataclass(frozen=True)
class Bar:
    """What a row has to reach.

    Attributes:
        efforts: Efforts that are held to it.
        top_1: Least percent. Where the float network itself scores less on our samples, the same
            distance from float counts: see `float_top_1`.
        float_top_1: Score of the float network on the samples that `top_1` was set with.
        within: Most points between top-1 and the float network's, up or down.
        agreement: Least percent.
        ahead: Decibels over the best peer, with at least its agreement; None asks nothing.
        bits: Most bits on average, of weights and of activations.
        no_loss: Whether top-1 must not be less than the float network's beyond noise.
    """

    efforts: tuple[str, ...]
    top_1: float | None = None
    float_top_1: float = 0.0
    within: float | None = None
    agreement: float | None = None
    ahead: float | None = None
    bits: float | None = None
    no_loss: bool = False


PUBLISHED: dict[str, dict[str, Published]] = {
    "w8a8": {
        "resnet8": Published(75.48, 75.66, 96.68, 29.40, "esp-ppq with LSQ"),
        "resnet20": Published(81.03, 81.16, 98.30, 28.43, "ONNX Runtime Percentile"),
        "resnet56": Published(83.42, 83.56, 98.54, 27.49, "ONNX Runtime Percentile"),
        "dscnn_kws": Published(
            90.22, 90.78, 99.11, 31.31, "ONNX Runtime Percentile; agreement: MinMax"
        ),
        "mobilenetv1_0.25_128": Published(
            43.81, 44.15, 91.28, 24.09, "NNCF, accurate bias correction"
        ),
        "mobilenetv2_keras": Published(
            88.30, 88.99, 98.51, 22.64, "ONNX Runtime Percentile; agreement: MinMax"
        ),
    },
    "w8a8-per-tensor": {
        "resnet8": Published(75.48, 75.69, 93.68, 23.84, "ONNX Runtime MinMax"),
        "resnet20": Published(81.03, 81.23, 97.95, 26.27, "ONNX Runtime MinMax"),
        "resnet56": Published(83.42, 83.42, 97.88, 25.69, "ONNX Runtime MinMax"),
        "mobilenetv1_0.25_128": Published(43.81, 20.76, 29.24, 4.68, "ONNX Runtime MinMax"),
        "mobilenetv2_keras": Published(88.30, 6.88, 7.34, -3.23, "ONNX Runtime MinMax"),
    },
    "w4a8": {
        "resnet8": Published(75.48, 73.59, 90.70, 20.36, "esp-ppq with LSQ"),
        "resnet20": Published(81.03, 80.95, 95.16, 19.56, "esp-ppq with LSQ"),
        "resnet56": Published(83.42, 83.76, 90.90, 12.81, "rounding to nearest"),
        "dscnn_kws": Published(90.22, 89.56, 97.00, 22.42, "AIMET SeqMSE and AdaRound"),
        "mobilenetv1_0.25_128": Published(
            43.81, 24.54, 31.54, 5.95, "AIMET SeqMSE and AdaRound; SQNR: esp-ppq with LSQ"
        ),
        "mobilenetv2_keras": Published(
            88.30, 0.57, 0.57, -2.98, "esp-ppq; SQNR: rounding to nearest"
        ),
    },
}  # fmt: skip
"""By suite and network; networks that are missing were not in the survey."""

_BEST = ("best",)
_SLOWER = ("balanced", "best")
_EIGHT = (
    Bar(("balanced",), ahead=0.0, no_loss=True),
    Bar(_BEST, ahead=2.0, no_loss=True),
)  # fmt: skip

BARS: Mapping[str, Mapping[str, tuple[Bar, ...]]] = {
    "w8a8": {
        **dict.fromkeys(ALL, _EIGHT),
        "cct_cifar": (*_EIGHT, Bar(_SLOWER, within=0.3)),
    },
    "w8a8-per-tensor": {
        **dict.fromkeys(RESNETS, (Bar(_SLOWER, within=0.3),)),
        "mobilenetv1_0.25_128": (Bar(_SLOWER, top_1=42.5, float_top_1=43.81),),
        "mobilenetv2_keras": (Bar(_SLOWER, top_1=85.0, float_top_1=88.30),),
    },
    "w4a8": {
        "resnet8": (Bar(_BEST, top_1=74.5, float_top_1=75.48, agreement=92.0),),
        "resnet20": (Bar(_BEST, top_1=81.0, float_top_1=81.03, agreement=96.5),),
        "resnet56": (Bar(_BEST, within=0.6),),
        "dscnn_kws": (Bar(_BEST, top_1=90.4, float_top_1=90.22, agreement=97.5),),
        "mobilenetv1_0.25_128": (Bar(_BEST, top_1=36.0, float_top_1=43.81),),
        "mobilenetv2_keras": (Bar(_BEST, top_1=82.0, float_top_1=88.30),),
        "cct_cifar": (Bar(_BEST, within=1.0),),
    },
    "w4a4": {
        "resnet8": (Bar(_BEST, within=6.0),),
        "resnet20": (Bar(_BEST, within=2.0),),
        "resnet56": (Bar(_BEST, within=2.0),),
        "cct_cifar": (Bar(_BEST, within=4.0),),
    },
    "mixed": {
        "mobilenetv2_keras": (Bar(_BEST, top_1=85.0, float_top_1=88.30, bits=5.0),),
    },
}  # fmt: skip
"""By suite and network; `fast` is held to one of its own, see `FAST`."""

_ROUNDING = 1e-9
"""Of percentages of samples, and of their differences."""
FAST_PEER = "ort-minmax"
"""`fast` at 8 bits per channel: at least this peer on SQNR and agreement."""


def fast_within(samples: int, network: str) -> float:
    """Return the most points that top-1 of `fast` may be away from float at 8 bits."""
    return 1.0 if samples < 1000 or network == "cct_cifar" else 0.5


@dataclass(frozen=True)
class Verdict:
    """One figure against its bar.

    Attributes:
        figure: Which.
        found, wanted: The figure, and the least (or, for a distance, the most) that is asked for.
        margin: How far on the right side; negative where the bar is missed.
        relation: How the figure has to stand to the one that is wanted.
    """

    figure: str
    found: float
    wanted: float
    margin: float
    relation: str = "≥"

    @property
    def holds(self) -> bool:
        """Whether the bar is reached; differences of percentages are exact to many digits only."""
        return self.margin >= -_ROUNDING


def at_least(figure: str, found: float, wanted: float) -> Verdict:
    """Return the verdict on a figure that must not be smaller."""
    same = found == wanted  # infinities included
    return Verdict(figure, found, wanted, 0.0 if same else found - wanted)


def at_most(figure: str, found: float, wanted: float) -> Verdict:
    """Return the verdict on a distance that must not be larger."""
    return Verdict(figure, found, wanted, wanted - found, "≤")


def least_top_1(bar: Bar, float_top_1: float) -> float:
    """Return the least top-1 on our samples.

    The bars were set on other samples. Where the float network reaches the figure here, it is taken
    literally; where it does not (no quantized network could be asked to), the distance to float is.
    """
    assert bar.top_1 is not None
    if float_top_1 >= bar.top_1:
        return bar.top_1
    return float_top_1 + bar.top_1 - bar.float_top_1
