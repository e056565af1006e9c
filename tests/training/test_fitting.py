"""Fitting: losses fall, contents lie on the grid, and what has no gradient or number is named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from quantable.driver import api
from quantable.driver.pipelines import resolve
from quantable.ir import ContentStore, DType, Graph, Level, Operation, QuantableOperation, Value
from quantable.ir.numerics import dequantize, quantize
from quantable.passes.base import PassContext, run_passes
from quantable.passes.laboratory import FitTask
from quantable.passes.tune.trainable import trainable_biases, trainable_scales, trainable_weights
from quantable.targets.description import load_target
from quantable.training import ReferenceLaboratory

COUNT = 16
WINDOW = {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1), "strides": (1, 1)}
Floats = npt.NDArray[np.float32]


def _network(*behind: Operation, batch: int | str = "N") -> Graph:
    """Return a float graph of a Conv and what comes behind."""
    rng = np.random.Generator(np.random.Philox(1))
    store = ContentStore()
    held = {
        "w": store.put(rng.standard_normal((8, 4, 3, 3)).astype(np.float32)),
        "b": store.put(rng.standard_normal(8).astype(np.float32)),
    }
    ops = (Operation("c", "Conv", ("x", "w", "b"), ("c",), WINDOW), *behind)
    values = {name: Value(name, ref.dtype, ref.shape) for name, ref in held.items()}
    values["x"] = Value("x", DType.FLOAT32, (batch, 4, 6, 6))
    for op in ops:
        shape = (batch, 8, 6, 6)
        values[op.name] = Value(op.name, DType.FLOAT32, shape)
    end = ops[-1].name
    return Graph("net", Level.FLOAT, 21, ("x",), (end,), values, ops, held, store=store)


def _samples() -> Floats:
    """Return samples whose channels depend on each other, so that rounding together pays."""
    rng = np.random.Generator(np.random.Philox(2))
    mixed = rng.standard_normal((4, 4)) + 1.0
    drawn = np.maximum(rng.standard_normal((COUNT, 1, 6, 6, 4)) @ mixed, 0.0)
    return np.ascontiguousarray(np.moveaxis(drawn, -1, 2), np.float32)


def _task(plain: Graph, kind: str = "free", **options: object) -> FitTask:
    """Return the task to fit a calibrated network to its float form."""
    x = _samples()
    samples = [{"x": sample} for sample in x]
    target = load_target("onnxruntime-w4a8")
    context = PassContext(target=target, profile=api.observe(plain, samples, threads=1))
    graph = run_passes(api.quantize(plain, "onnxruntime-w4a8"), resolve("calibrate"), context)
    graph = _with_four_bits(graph)
    laboratory = ReferenceLaboratory(samples)
    targets = laboratory.values(plain, plain.outputs, range(COUNT))
    task = FitTask(
        graph, {"x": x}, targets, range(COUNT),
        dict.fromkeys(trainable_weights(graph, graph), kind),
        trainable_scales(graph, graph, weights=kind != "rounding", inputs=True),
        trainable_biases(graph, graph), steps=40, batch=8,
        weight_rate=0.3 if kind == "rounding" else 0.02,
    )  # fmt: skip
    return replace(task, **options)  # type: ignore[arg-type] # fields of the task


def _with_four_bits(graph: Graph) -> Graph:
    """Return the graph with a coarse weight, which the target would give to inner layers only."""
    op = graph.operation_by_name["c"]
    assert isinstance(op, QuantableOperation)
    config = replace(op.config.inputs[1], bits=4, quant_min=-7, quant_max=7)
    row = graph.rows[config.row]
    coarse = row.filled(row.scale_array * np.float32(127 / 7), row.zero_point_array, "")
    return graph.with_operation(op.with_slot("in", 1, config)).with_rows([coarse])


RELU = Operation("r", "Relu", ("c",), ("r",))


@pytest.mark.parametrize("kind", ["free", "rounding", "offset", "fixed"])
@pytest.mark.parametrize("batch", ["N", 1], ids=["batched", "one by one"])
def test_the_hardened_error_falls_and_contents_lie_on_the_grid(kind: str, batch: int | str) -> None:
    wider = {"scale_rate": 1e-2, "steps": 100} if kind == "fixed" else {}
    task = _task(_network(RELU, batch=batch), kind, **wider)
    laboratory = ReferenceLaboratory([{"x": sample} for sample in _samples()])
    found = laboratory.fit(task)
    assert found.failure == ""
    graph = task.graph
    contents = {name: graph.store.put(array) for name, array in found.contents.items()}
    rows = [
        graph.rows[n].filled(s, graph.rows[n].zero_point_array, "") for n, s in found.scales.items()
    ]
    fitted = replace(graph.with_rows(rows), parameters={**graph.parameters, **contents})
    before, after = (
        laboratory.noise(item, task.targets, range(COUNT))["r"] for item in (graph, fitted)
    )
    assert after < before
    op = graph.operation_by_name["c"]
    assert isinstance(op, QuantableOperation)
    config = op.config.inputs[1]
    assert ("w" in found.contents) == (kind != "fixed")
    if kind != "fixed":
        weights, row = fitted.array("w"), fitted.rows[config.row]
        assert weights.dtype == np.float32
        assert np.array_equal(dequantize(quantize(weights, config, row), config, row), weights)
    assert set(found.scales) == task.scales
    assert all(np.isfinite(array).all() and (array > 0).all() for array in found.scales.values())


def test_a_task_gives_the_same_bytes_again_and_others_with_another_seed() -> None:
    task, laboratory = _task(_network(RELU), drop=0.5), ReferenceLaboratory([{"x": _samples()[0]}])
    once, twice = laboratory.fit(task), laboratory.fit(task)
    other = laboratory.fit(replace(task, seed=1))
    assert once.contents.keys() == twice.contents.keys()
    for name, array in once.contents.items():
        assert np.array_equal(array, twice.contents[name])
    assert once.losses == twice.losses
    assert once.losses != other.losses


def test_an_operation_without_gradient_is_named() -> None:
    task = _task(_network(RELU))
    whole = Operation("whole", "Cast", ("r",), ("whole",), {"to": 6})
    again = Operation("again", "Cast", ("whole",), ("again",), {"to": 1})
    values = {
        **task.graph.values,
        "whole": Value("whole", DType.INT32, ("N", 8, 6, 6)),
        "again": Value("again", DType.FLOAT32, ("N", 8, 6, 6)),
    }
    operations = (*task.graph.operations, whole, again)
    graph = replace(task.graph, operations=operations, values=values, outputs=("again",))
    dull = replace(task, graph=graph, targets={"again": task.targets["r"]})
    failure = ReferenceLaboratory([{"x": _samples()[0]}]).fit(dull).failure
    assert failure == "operation 'whole' (Cast): no gradient reaches what is to be fitted"


def test_a_target_that_is_not_finite_is_named() -> None:
    task = _task(_network(RELU))
    broken = task.targets["r"].copy()
    broken[3, 0, 0, 0, 0] = np.nan
    laboratory = ReferenceLaboratory([{"x": _samples()[0]}])
    failure = laboratory.fit(replace(task, targets={"r": broken})).failure
    assert failure == "float value 'r' is not finite: operation 'r' (Relu)"


def test_a_gradient_that_is_not_finite_is_named() -> None:
    """The root of nothing is finite, its slope is not."""
    behind = Operation("d", "Sub", ("c", "c"), ("d",)), Operation("s", "Sqrt", ("d",), ("s",))
    plain = _network(*behind)
    failure = ReferenceLaboratory([{"x": _samples()[0]}]).fit(_task(plain)).failure
    assert "the gradient is not finite in step 0: " in failure
    assert "operation 'c' (Conv)" in failure or "row '" in failure


def test_a_loss_that_is_not_finite_is_named() -> None:
    task = _task(_network(RELU, Operation("e", "Exp", ("r",), ("e",))))
    hot = replace(task, feeds={"x": task.feeds["x"] * np.float32(1e6)}, scales=frozenset())
    wide = {row.id: row.filled(row.scale_array * 1e6, row.zero_point_array, "") for row in
            hot.graph.rows.values() if row.is_filled and len(row.scale) == 1}  # fmt: skip
    hot = replace(hot, graph=hot.graph.with_rows(wide.values()))
    failure = ReferenceLaboratory([{"x": _samples()[0]}]).fit(hot).failure
    assert failure == "the loss is not finite in step 0: operation 'e' (Exp)"
