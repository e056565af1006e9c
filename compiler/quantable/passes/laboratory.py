"""What a pass may ask for that needs calibration samples: protocols, met by the runtime.

The driver hands in objects of `quantable.training` (or test doubles); no pass knows torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from quantable.ir import DataError, Graph
from quantable.passes.base import PassContext

Array = npt.NDArray[np.generic]
Reals = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
HOLD_OUT = 4
"""Every so many-th sample is held out: it judges what was fitted on the others."""


class SecondMoments(Protocol):
    """Sums of products of what a layer multiplies its weights with, over rows of many samples.

    A row holds what the weights of one output position meet, in the order of these weights: input
    channels of the group, then taps; and a last 1. Matrices are [groups, k + 1, k + 1].
    """

    @property
    def quantized(self) -> Reals:
        """X^T X, X of the quantized network."""
        ...

    @property
    def cross(self) -> Reals:
        """X^T F, F of the float network."""
        ...

    @property
    def count(self) -> int:
        """Number of rows."""
        ...


class LayerRows(Protocol):
    """Rows of a layer as `SecondMoments` sums them, [groups, rows, k + 1], float32."""

    @property
    def quantized(self) -> Floats:
        """X, of the quantized network."""
        ...

    @property
    def original(self) -> Floats:
        """F, of the float network."""
        ...


@dataclass(frozen=True, eq=False)
class FitTask:
    """Part of a quantable graph, and what of it is to be fitted by gradients.

    Attributes:
        graph: The part.
        feeds: Its inputs in the quantized network, [samples, *shape].
        targets: What values of it should be, [samples, *shape].
        samples: Which entries of feeds and targets to fit on.
        weights: How the contents of a parameter are found, by (operation, slot): 'rounding' chooses
            between the two integers around each weight, 'free' takes any integers, 'offset'
            those at most one away from the present ones, 'fixed' leaves the contents as they are.
        scales: Ids of the rows whose scales are fitted; of those with a power-of-two policy the
            scales stay powers of two.
        biases: (operation, slot) of the parameters that are fitted without being quantized.
        begins_anew: Whether weights begin as they were in the float network, not as they are.
        originals: The inputs in the float network, where `drop` mixes them in; else empty.
        drop: Probability that an element of an activation is not quantized (QDrop).
        steps, batch: How many steps of how many samples.
        weight_rate, scale_rate, bias_rate: Learning rates at the beginning: in quantization steps,
            as a share of a scale, as a share of a typical bias.
        hardening: How hard weights are pushed to one of two integers at the end, in steps of the
            optimizer.
        seed, stream: Key of the random numbers; `stream` tells the tasks of one pass apart.
    """

    graph: Graph
    feeds: Mapping[str, Array]
    targets: Mapping[str, Array]
    samples: Sequence[int]
    weights: Mapping[tuple[str, int], str] = field(default_factory=dict)
    scales: frozenset[str] = frozenset()
    biases: frozenset[tuple[str, int]] = frozenset()
    begins_anew: bool = False
    originals: Mapping[str, Array] = field(default_factory=dict)
    drop: float = 0.0
    steps: int = 200
    batch: int = 32
    weight_rate: float = 0.02
    scale_rate: float = 1e-3
    bias_rate: float = 1e-3
    hardening: float = 4.0
    seed: int = 0
    stream: int = 0


class Fitted(Protocol):
    """What fitting found, hardened: what the target would compute with."""

    @property
    def contents(self) -> Mapping[str, Array]:
        """Contents of parameters by name; those of weights lie exactly on the grid of their row."""
        ...

    @property
    def scales(self) -> Mapping[str, Array]:
        """Scales by id of the row, float32."""
        ...

    @property
    def losses(self) -> tuple[float, float]:
        """The mean loss of the first and of the last steps, not hardened."""
        ...

    @property
    def failure(self) -> str:
        """Why there is nothing, naming the operation; '' where all went well."""
        ...


class Laboratory(Protocol):
    """Runs graphs on the calibration samples.

    Sample i is the i-th of the data; a tensor of all samples has shape [samples, *shape of the
    value], sample i at index i of the samples that were asked for.
    """

    @property
    def digest(self) -> str:
        """sha256 over the samples as the network is given them."""
        ...

    @property
    def count(self) -> int:
        """Number of samples."""
        ...

    def values(
        self,
        graph: Graph,
        names: Sequence[str],
        samples: Sequence[int],
        feeds: Mapping[str, Array] | None = None,
    ) -> dict[str, Array]:
        """Return values of a graph; large ones lie on disk.

        Args:
            graph: Float or quantable; quantable ones run with simulated quantization.
            names: Names of values of the graph.
            samples: Indices of samples.
            feeds: Tensors [samples, ...] for the graph's inputs; by default the samples' own.
        """
        ...

    def noise(
        self,
        graph: Graph,
        targets: Mapping[str, Array],
        samples: Sequence[int],
        feeds: Mapping[str, Array] | None = None,
    ) -> dict[str, float]:
        """Return by name the squared error of a graph's values, divided by that of zeros.

        Args:
            graph: As for `values`.
            targets: What the values should be, [samples, ...].
            samples, feeds: As for `values`.

        Returns:
            sum((value - target)**2) / sum(target**2), float64; infinity where a value is not
            finite; the plain squared error where all targets are zero.
        """
        ...

    def second_moments(
        self,
        graph: Graph,
        operation: str,
        quantized: Array,
        original: Array,
        samples: Sequence[int],
        *,
        rows: int | None = None,
        sums_only: bool = False,
    ) -> SecondMoments:
        """Return the second moments of the inputs of a layer, over evenly spread positions.

        Args:
            graph: A quantable graph.
            operation: A Conv, ConvTranspose or quantable.Linear of it.
            quantized: Its input 0 in the quantized network, before its slot, [samples, ...].
            original: The same in the float network.
            samples: Which entries of both to sum over.
            rows: About how many positions of all samples take part; by default just enough for
                matrices of full rank.
            sums_only: Return the last rows of the matrices alone, [groups, 1, k + 1].
        """
        ...

    def layer_rows(
        self,
        graph: Graph,
        operation: str,
        quantized: Array,
        original: Array,
        samples: Sequence[int],
    ) -> LayerRows:
        """Return rows of the inputs of a layer themselves; arguments as for `second_moments`."""
        ...

    def fit(self, task: FitTask) -> Fitted:
        """Fit weights, scales and biases of a part of a graph to targets; the same bytes always."""
        ...


Judge = Callable[[Graph], float]
"""Returns the error of a float graph's outputs once it is quantized for the target at hand: its
noise (see `Laboratory.noise`) on the held-out samples, averaged over the outputs. It does not call
for a particular graph: any graph with the same inputs and outputs can be judged."""


class Checkpoint(Protocol):
    """Keeps the results of the steps of one pass, by name, across processes."""

    def load(self, key: str) -> Mapping[str, Array] | None:
        """Return what was kept under a key, None where nothing is (whole)."""
        ...

    def store(self, key: str, arrays: Mapping[str, Array]) -> None:
        """Keep arrays under a key, in one step."""
        ...


def fitting_samples(count: int) -> list[int]:
    """Return the samples that passes fit on: all that are not held out."""
    return [index for index in range(count) if index % HOLD_OUT != HOLD_OUT - 1] or [0]


def held_out_samples(count: int) -> list[int]:
    """Return the samples that judge: every `HOLD_OUT`-th one."""
    return [index for index in range(count) if index % HOLD_OUT == HOLD_OUT - 1]


def needed_laboratory(context: PassContext, name: str) -> Laboratory:
    """Return the laboratory of a context.

    Raises:
        DataError: None was handed in, or it has too few samples to hold any out.
    """
    if context.laboratory is None:
        raise DataError(
            f"pass '{name}' needs calibration samples, found none",
            help="give them with --data (quantable calibrate, quantable opt), or --calibration "
            "(quantable compile); a profile alone is not enough",
        )
    if context.laboratory.count < HOLD_OUT:
        raise DataError(
            f"pass '{name}' judges on held-out samples: expected at least {HOLD_OUT} samples, "
            f"found {context.laboratory.count}",
            help="give more calibration samples; 64 are a good start, 512 are better",
        )
    return context.laboratory
