"""Faults planted in passes are found on shared networks: the pass, and the rewrite of that pass."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import pytest

from quantable.bench.datasets import NETWORKS
from quantable.driver import api, runtime
from quantable.driver.bisect.bisection import bisect
from quantable.driver.bisect.candidates import run_all
from quantable.driver.data import open_samples
from quantable.driver.pipelines import resolve
from quantable.ir import Graph
from quantable.passes.base import PassContext
from quantable.targets import load_target
from tests.driver.bisect.planting import Fault, NumbersOracle, plant
from tests.driver.bisect.test_planted_faults import PIPELINE
from tests.networks.conftest import SHARED, Case

pytestmark = pytest.mark.slow
# Faults that show in the outputs: on another network the same call may be harmless.
_BOTH = (
    ("merge-linear", "wrong weight", 0), ("merge-linear", "wrong axis", 0),
    ("merge-linear", "swapped inputs", 0), ("calibrate", "wrong scale", 0),
    ("calibrate", "wrong scale", 2), ("calibrate", "wrong zero point", 0),
    ("calibrate", "two bits", 0), ("calibrate", "two bits", 2),
    ("lower-to-integer", "wrong integer weight", 0),
    ("lower-to-integer", "wrong integer weight", 2),
    ("lower-to-integer", "lost integer bias", 2),
    ("lower-to-integer", "wrong input zero point", 2),
    ("assign-layout", "wrong layout", 0), ("assign-layout", "wrong layout", 2),
)  # fmt: skip
FAULTS = [(name, fault) for name in ("resnet8", "dscnn_kws") for fault in _BOTH] + [
    ("resnet8", ("dispatch", "wrong kind", 0)), ("resnet8", ("dispatch", "wrong kind", 2)),
    ("resnet8", ("lower-to-integer", "lost integer bias", 0)),
    ("resnet8", ("lower-to-integer", "off zero point", 2)),
    ("resnet8", ("lower-to-integer", "wrong sum", 0)),
    ("resnet8", ("lower-to-integer", "wrong sum", 2)),
    ("dscnn_kws", ("lower-to-integer", "wrong multiplier", 2)),
    ("dscnn_kws", ("lower-to-integer", "off zero point", 0)),
    ("dscnn_kws", ("lower-to-integer", "wrong input zero point", 0)),
]  # fmt: skip


@dataclass(frozen=True)
class Bench:
    """A network, what its passes are given, and who judges them."""

    graph: Graph
    context: PassContext
    oracle: NumbersOracle


@functools.cache
def bench(name: str) -> Bench:
    """Return a shared network; the oracle takes the result of every pass for good."""
    case = Case(NETWORKS[name])
    graph = api.import_model(case.model)
    canonical = api.canonicalize(graph)
    profile = api.observe(canonical, open_samples(case.inputs("calibration", 32), canonical))
    context = PassContext(runtime.LazyExecutor(), load_target("x86-vnni"), profile)
    runs = run_all(graph, resolve(PIPELINE), replace(context)).done
    (right,) = [run.before for run in runs if run.item.name == "lower-to-integer"]
    oracle = NumbersOracle(graph, right, case.inputs("evaluation", 3))
    assert all(run.after.graph is not None and oracle(run.after.graph) for run in runs)
    return Bench(graph, context, oracle)


@pytest.mark.parametrize(("network", "planted"), FAULTS)
def test_a_planted_fault_is_found(
    monkeypatch: pytest.MonkeyPatch, network: str, planted: tuple[str, str, int]
) -> None:
    if not SHARED.is_dir():
        pytest.skip("needs the folder of shared networks beside the project")
    held, fault = bench(network), Fault(*planted)
    plant(monkeypatch, fault)
    found = bisect(held.graph, resolve(PIPELINE), held.context, held.oracle)
    assert found.suspects == (fault.pass_name,)
    assert (found.first, found.last) == (fault.rewrite, fault.rewrite)
