"""Bisection finds every planted fault: the pass, and the rewrite of that pass."""

from __future__ import annotations

from dataclasses import replace

import pytest

from quantable.driver import api, runtime
from quantable.driver.bisect.bisection import bisect
from quantable.driver.bisect.candidates import run_all
from quantable.driver.pipelines import resolve
from quantable.ir import Graph, Profile
from quantable.passes.base import PassContext
from quantable.targets import load_target
from tests.driver.bisect.planting import Fault, NumbersOracle, plant
from tests.driver.conftest import Digits

PIPELINE = "canonicalize,quantize,calibrate,correct-bias,refine,lower,plan"
_TABLE: dict[tuple[str, str], tuple[int, ...]] = {
    ("normalize-reshape", "swapped inputs"): (0,),
    ("merge-linear", "wrong weight"): (0,),
    ("merge-linear", "wrong axis"): (0,),
    ("merge-linear", "swapped inputs"): (0,),
    ("fold-batchnorm", "wrong weight"): (0, 1, 2, 3),
    ("fold-batchnorm", "wrong axis"): (0, 1, 2, 3),
    ("fold-batchnorm", "lost bias"): (0, 1, 2, 3),
    ("fold-batchnorm", "wrong pads"): (0, 1, 2),
    ("fold-batchnorm", "swapped inputs"): (0, 1, 2, 3),
    ("fold-batchnorm", "skipped operation"): (0, 1, 2),
    ("dispatch", "wrong kind"): (0,),
    ("calibrate", "wrong scale"): (0, 2, 5),
    ("calibrate", "wrong zero point"): (0,),
    ("calibrate", "two bits"): (0, 3, 5),
    ("passive-parameters", "wrong scale"): (0, 5),
    ("lower-to-integer", "wrong multiplier"): (0, 1, 3),
    ("lower-to-integer", "lost integer bias"): (0, 2),
    ("lower-to-integer", "wrong integer weight"): (1, 3),
    ("lower-to-integer", "off zero point"): (0, 3),
    ("lower-to-integer", "wrong sum"): (0,),
    ("lower-to-integer", "wrong input zero point"): (0, 3, 5),
    ("assign-layout", "wrong layout"): (0,),
}
FAULTS = [(name, kind, n) for (name, kind), victims in _TABLE.items() for n in victims]
FIRST = [(name, kind, victims[-1]) for (name, kind), victims in _TABLE.items()][::2]


def test_there_are_fifty_faults() -> None:
    assert len(FAULTS) == 50
    assert len(FIRST) >= 11


@pytest.fixture(scope="module")
def float_graph(digits: Digits) -> Graph:
    return api.import_model(digits.model)


@pytest.fixture(scope="module")
def context(profile: Profile) -> PassContext:
    return PassContext(runtime.LazyExecutor(), load_target("x86-vnni"), profile)


@pytest.fixture(scope="module")
def oracle(float_graph: Graph, context: PassContext, digits: Digits) -> NumbersOracle:
    runs = run_all(float_graph, resolve(PIPELINE), replace(context)).done
    (right,) = [run.before for run in runs if run.item.name == "lower-to-integer"]
    samples = list(api.open_samples(digits.test, float_graph, digits.how, samples=8))
    found = NumbersOracle(float_graph, right, samples)
    assert all(run.after.graph is not None and found(run.after.graph) for run in runs)
    return found


def _check(
    graph: Graph,
    context: PassContext,
    oracle: NumbersOracle,
    fault: Fault,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant(monkeypatch, fault)
    found = bisect(graph, resolve(PIPELINE), context, oracle)
    assert found.run.item.name == fault.pass_name
    assert found.suspects == (fault.pass_name,)
    assert (found.first, found.last) == (fault.rewrite, fault.rewrite)
    assert found.operations, "a rewrite touches something"


@pytest.mark.parametrize(("name", "kind", "victim"), FIRST)
def test_a_fault_is_found(
    float_graph: Graph,
    context: PassContext,
    oracle: NumbersOracle,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    kind: str,
    victim: int,
) -> None:
    _check(float_graph, context, oracle, Fault(name, kind, victim), monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind", "victim"), FAULTS)
def test_each_of_fifty_faults_is_found(
    float_graph: Graph,
    context: PassContext,
    oracle: NumbersOracle,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    kind: str,
    victim: int,
) -> None:
    _check(float_graph, context, oracle, Fault(name, kind, victim), monkeypatch)
