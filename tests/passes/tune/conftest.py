"""Calibrated networks with their samples: one layer of any kind, and real ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from quantable.bench.datasets import NETWORKS
from quantable.driver import api
from quantable.driver.pipelines import resolve
from quantable.ir import ContentStore, Decision, DType, Graph, Level, Operation, Value, verify
from quantable.passes.base import Pass, PassContext, run_passes
from quantable.passes.network_noise import WHOLE
from quantable.reference import ReferenceRuntime
from quantable.targets.description import load_target
from quantable.training import ReferenceLaboratory

SHARED = Path(__file__).resolve().parents[3].parent / "shared"
Floats = npt.NDArray[np.float32]
Sample = dict[str, Floats]
FOUR_BITS = """
extends = "onnxruntime"
name = "four-bits"
summary = "weights of 4 bits"
[schemes.weight]
bits = 4
quant_min = -7
quant_max = 7
symmetry = "symmetric"
granularity = "GRANULARITY"
observer = "minmax"
"""
BLOCKS = """
block_size = 3
otherwise = "kernel"
"""


def layer_decisions(graph: Graph) -> list[Decision]:
    """Return the decisions about single layers of the last pass, without that about all."""
    return [d for d in graph.history[-1].decisions if d.measure != WHOLE]


@dataclass
class Case:
    """A calibrated network.

    Attributes:
        plain: The float network.
        graph: The calibrated one.
        context: What its passes are given.
        others: Samples that nothing was fitted on.
        target: Path of the target's file.
    """

    plain: Graph
    graph: Graph
    context: PassContext
    others: list[Sample]
    target: Path

    @property
    def decisions(self) -> list[Decision]:
        return self.context.decisions

    def after(self, *passes: str | Pass) -> Graph:
        """Return what passes make of the calibrated network, verified."""
        items = [p for item in passes for p in (resolve(item) if isinstance(item, str) else [item])]
        done = run_passes(self.graph, items, self.context)
        verify(done)
        return done

    def noise(self, graph: Graph) -> float:
        """Return the noise of a graph's outputs on the other samples, biases and all refined."""
        done = api.refine(graph, target=self.target)
        mine, its = ReferenceRuntime(done), ReferenceRuntime(self.plain)
        error = signal = 0.0
        for sample in self.others:
            for name, expected in its.run(sample).items():
                found = mine.run(sample)[name].astype(np.float64)
                error += float(np.square(found - expected).sum())
                signal += float(np.square(expected.astype(np.float64)).sum())
        return error / signal


def calibrated(plain: Graph, samples: list[Sample], others: Iterable[Sample], target: Path) -> Case:
    """Return a network calibrated on samples."""
    profile = api.observe(plain, samples, threads=1)
    context = PassContext(
        target=load_target(target), profile=profile, laboratory=ReferenceLaboratory(samples)
    )
    ready = run_passes(api.quantize(plain, target), resolve("calibrate"), context)
    return Case(plain, ready, context, list(others), target)


@pytest.fixture(scope="session")
def four_bits(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the path of a target with weights of 4 bits, by granularity."""

    def path(granularity: str = "channel") -> Path:
        found = tmp_path_factory.mktemp("targets") / "four-bits.toml"
        text = FOUR_BITS.replace("GRANULARITY", granularity)
        if granularity == "block":
            text = text.replace('"onnxruntime"', '"onnxruntime-int4-block"') + BLOCKS
        found.write_text(text, encoding="utf-8")
        return found

    return path


WEIGHT_SHAPES: dict[str, Callable[[int], tuple[int, ...]]] = {
    "Conv": lambda group: (8, 4 // group, 3, 3),
    "ConvTranspose": lambda group: (4, 8 // group, 3, 3),
    "quantable.Linear": lambda group: (4, 8),
}


def one_layer(
    kind: str, group: int = 1, *, bias: bool = True, weights: Floats | None = None
) -> Graph:
    """Return a float graph of one layer: 4 channels in, 8 out."""
    rng = np.random.Generator(np.random.Philox(group))
    store = ContentStore()
    if weights is None:
        weights = rng.standard_normal(WEIGHT_SHAPES[kind](group)).astype(np.float32)
    held = {"w": store.put(weights)}
    if bias:
        held["b"] = store.put(rng.standard_normal(8).astype(np.float32))
    shape = (1, 5, 4) if kind == "quantable.Linear" else (1, 4, 6, 6)
    values = {name: Value(name, ref.dtype, ref.shape) for name, ref in held.items()}
    values |= {"x": Value("x", DType.FLOAT32, shape), "y": Value("y", DType.FLOAT32, None)}
    window = {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1), "strides": (1, 1), "group": group}
    attributes = {} if kind == "quantable.Linear" else window
    op = Operation("y", kind, ("x", *held), ("y",), attributes)  # type: ignore[arg-type]
    graph = Graph("one", Level.FLOAT, 21, ("x",), ("y",), values, (op,), held, store=store)
    return api.optimize(graph, "fold-shapes")


def inputs(kind: str, count: int, seed: int = 1) -> list[Sample]:
    """Return samples of channels and neighbours that depend on each other, behind a Relu."""
    rng = np.random.Generator(np.random.Philox(seed))
    mixed = rng.standard_normal((4, 4)) + 1.0
    size = (count, 1, 5, 4) if kind == "quantable.Linear" else (count, 1, 6, 6, 4)
    drawn = rng.standard_normal(size) @ mixed
    if kind != "quantable.Linear":
        drawn = np.moveaxis(drawn, -1, 2)
        drawn = drawn + np.roll(drawn, 1, axis=3) + np.roll(drawn, 1, axis=4)
    drawn = np.maximum(drawn, 0.0).astype(np.float32, order="C")
    return [{"x": sample} for sample in drawn]


@pytest.fixture(scope="session")
def layer_case(four_bits: Callable[[str], Path]) -> Callable[..., Case]:
    """Return a network of one layer, ready to be tuned."""

    def build(
        kind: str = "Conv", group: int = 1, granularity: str = "channel", count: int = 32,
        samples: list[Sample] | None = None, **graph: object,
    ) -> Case:  # fmt: skip
        plain = one_layer(kind, group, **graph)  # type: ignore[arg-type]
        given = inputs(kind, 2 * count) if samples is None else samples
        half = given[:count] if samples is None else given
        return calibrated(plain, half, given[count:], four_bits(granularity))

    return build


_REAL: dict[tuple[str, str], Case] = {}


@pytest.fixture(scope="session")
def real_case(four_bits: Callable[[str], Path]) -> Callable[..., Case]:
    """Return a shared network calibrated for weights of 4 bits."""

    def build(name: str = "dscnn_kws", granularity: str = "channel") -> Case:
        if not SHARED.is_dir():
            pytest.skip("needs the folder of shared networks beside the project")
        key = (name, granularity)
        if key not in _REAL:
            network = NETWORKS[name]
            plain = api.canonicalize(api.import_model(network.model(SHARED)))
            sets = [
                [{plain.inputs[0]: found.load(index)[None]} for index in range(32)]
                for split in ("calibration", "evaluation")
                for found in [network.samples(SHARED, split)]
            ]
            _REAL[key] = calibrated(plain, sets[0], sets[1], four_bits(granularity))
        held = _REAL[key]
        fresh = replace(held.context, decisions=[], remarks=[])
        return replace(held, context=fresh)

    return build
