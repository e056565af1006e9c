"""What is measured: suites of networks and tools, as one table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from quantable.bench.datasets import NETWORKS
from quantable.driver import efforts
from quantable.ir import UnknownNameError

EFFORTS = tuple(efforts.EFFORTS)
CHEAP = ("fast",)
ALL = tuple(NETWORKS)
RESNETS = ("resnet8", "resnet20", "resnet56")
CLASSIFIERS = (*RESNETS, "cct_cifar", "dscnn_kws", "mobilenetv1_0.25_128", "mobilenetv2_keras")


@dataclass(frozen=True)
class Suite:
    """Bit widths, with the tools and networks that are measured at them.

    Attributes:
        name: How the command line calls it.
        title: Heading in the page.
        networks: Names of shared networks.
        peers: Other quantizers, run again; see `quantable.bench.peers.PEERS`.
        targets: Ours, each with its efforts; TARGET@BITS asks for mixed precision of so many bits
            on average.
    """

    name: str
    title: str
    networks: tuple[str, ...]
    peers: tuple[str, ...]
    targets: dict[str, tuple[str, ...]]

    @property
    def tools(self) -> tuple[str, ...]:
        """Peers, then ours as TARGET/EFFORT."""
        own = (f"{target}/{effort}" for target, found in self.targets.items() for effort in found)
        return (*self.peers, *own)


@dataclass(frozen=True, order=True)
class Case:
    """One measurement: a tool on a network in a suite."""

    suite: str
    network: str
    tool: str

    @property
    def is_own(self) -> bool:
        """Whether the tool is one of our targets at an effort."""
        return "/" in self.tool

    def __str__(self) -> str:
        return f"{self.suite} {self.network} {self.tool}"


SUITES: dict[str, Suite] = {
    suite.name: suite
    for suite in (
        Suite(
            "w8a8", "8 bits, weights per channel", ALL,
            ("ort-minmax", "ort-percentile", "nncf", "nncf-accurate"),
            {"onnxruntime": EFFORTS, "x86-vnni": EFFORTS},
        ),
        Suite(
            "w8a8-per-tensor", "8 bits, one symmetric scale a weight",
            (*RESNETS, "mobilenetv1_0.25_128", "mobilenetv2_keras"),
            ("ort-per-tensor",), {"onnxruntime-per-tensor": EFFORTS, "c-per-tensor": CHEAP},
        ),
        Suite(
            "w4a8", "4-bit weights, 8-bit activations (first and last layer 8 bits)", CLASSIFIERS,
            (), {"onnxruntime-w4a8": EFFORTS, "c-w4a8": CHEAP},
        ),
        Suite(
            "w4a4", "4-bit weights and activations (first and last layer 8 bits)",
            (*RESNETS, "cct_cifar"), (), {"onnxruntime-w4a4": EFFORTS, "c-w4a4": CHEAP},
        ),
        Suite(
            "mixed", "Mixed precision, 5 bits on average", ("mobilenetv2_keras",), (),
            {"onnxruntime-w4a4@5": ("best",)},
        ),
    )
}  # fmt: skip
"""Every suite, in the order of the page."""


def cases(
    suites: Sequence[str] | None = None,
    networks: Sequence[str] | None = None,
    tools: Sequence[str] | None = None,
) -> Iterator[Case]:
    """Yield the measurements of a selection, in the order of the page.

    Args:
        suites: Names of suites; None for all.
        networks: Names of networks; None for all.
        tools: Names or patterns of tools (``*/fast``); None for all.

    Raises:
        UnknownNameError: A name is no suite or network, or a pattern fits no tool.
    """
    _require("suite", suites, SUITES)
    _require("network", networks, NETWORKS)
    known = tuple(dict.fromkeys(tool for suite in SUITES.values() for tool in suite.tools))
    for pattern in tools or ():
        if not any(fnmatchcase(tool, pattern) for tool in known):
            raise UnknownNameError("tool", pattern, known)
    for suite in SUITES.values():
        if suites is not None and suite.name not in suites:
            continue
        for network in suite.networks:
            if networks is not None and network not in networks:
                continue
            for tool in suite.tools:
                if tools is None or any(fnmatchcase(tool, pattern) for pattern in tools):
                    yield Case(suite.name, network, tool)


def _require(kind: str, names: Sequence[str] | None, known: Mapping[str, object]) -> None:
    for name in names or ():
        if name not in known:
            raise UnknownNameError(kind, name, known)
