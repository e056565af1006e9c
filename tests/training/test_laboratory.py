"""Runs on all samples: equal to single runs, in parts, on disk, and with wrong inputs."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from quantable.ir import ContentStore, DataError, DType, Graph, Level, Operation, Value
from quantable.reference import ReferenceRuntime
from quantable.training import ReferenceLaboratory, storage

SHAPE = (1, 3, 6, 6)


def _network(batch: int | str = "N", flat: tuple[int, ...] = (-1, 108)) -> Graph:
    store = ContentStore()
    weight = store.put(np.linspace(-1, 1, 27).reshape(3, 3, 3, 1).astype(np.float32))
    shape = store.put(np.asarray(flat, np.int64))
    return Graph(
        "net", Level.FLOAT, 21, ("x",), ("y",),
        {
            "x": Value("x", DType.FLOAT32, (batch, 3, 6, 6)),
            "w": Value("w", DType.FLOAT32, (3, 3, 3, 1)),
            "c": Value("c", DType.FLOAT32, (batch, 3, 6, 6)),
            "shape": Value("shape", DType.INT64, (2,)),
            "y": Value("y", DType.FLOAT32, (batch, 108)),
        },
        (
            Operation("c", "Conv", ("x", "w"), ("c",), {"pads": (1, 0, 1, 0)}),
            Operation("y", "Reshape", ("c", "shape"), ("y",)),
        ),
        {"w": weight, "shape": shape}, store=store,
    )  # fmt: skip


def _samples(count: int) -> list[dict[str, npt.NDArray[np.float32]]]:
    generator = np.random.Generator(np.random.Philox(7))
    return [{"x": generator.standard_normal(SHAPE).astype(np.float32)} for _ in range(count)]


@pytest.mark.parametrize(
    ("batch", "flat"), [("N", (-1, 108)), (1, (1, 108))], ids=["batched", "one by one"]
)
def test_values_are_those_of_single_runs(batch: int | str, flat: tuple[int, ...]) -> None:
    graph, samples = _network(batch, flat), _samples(9)
    found = ReferenceLaboratory(samples).values(graph, ["y", "c"], [1, 2, 5, 8])
    runtime = ReferenceRuntime(graph)
    assert list(found) == ["y", "c"]
    for row, index in enumerate((1, 2, 5, 8)):
        for name, array in runtime.run(samples[index], ["y", "c"]).items():
            np.testing.assert_allclose(found[name][row], array, rtol=1e-5, atol=1e-5)


def test_samples_come_in_the_order_they_are_asked_for() -> None:
    graph, samples = _network(), _samples(6)
    order = [0, 3, 1, 4, 2, 5]  # as many as lie between the first and the last
    found = ReferenceLaboratory(samples).values(graph, ["x"], order)["x"]
    for row, index in enumerate(order):
        np.testing.assert_array_equal(found[row], samples[index]["x"])


def test_a_part_that_is_fed_runs_on_what_it_is_fed() -> None:
    graph, samples = _network(), _samples(4)
    other = np.stack([2 * sample["x"] for sample in samples])
    laboratory = ReferenceLaboratory(samples)
    plain = laboratory.values(graph, ["y"], range(4))["y"]
    fed = laboratory.values(graph, ["y"], [2, 3], {"x": other[2:]})["y"]
    np.testing.assert_allclose(fed, 2 * plain[2:], rtol=1e-5, atol=1e-5)


def test_large_values_on_disk_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, samples = _network(), _samples(70)
    expected = ReferenceLaboratory(samples).values(graph, ["y"], range(70))["y"]
    monkeypatch.setattr(storage, "_IN_MEMORY", 64)
    found = ReferenceLaboratory(samples).values(graph, ["y"], range(70))["y"]
    assert isinstance(found, np.memmap)
    np.testing.assert_array_equal(found, expected)


def test_noise_is_the_share_of_the_signal() -> None:
    graph, laboratory = _network(), ReferenceLaboratory(_samples(6))
    target = laboratory.values(graph, ["y"], range(6))["y"]
    assert laboratory.noise(graph, {"y": target}, range(6)) == {"y": 0.0}
    found = laboratory.noise(graph, {"y": 2 * target}, range(6))["y"]
    assert found == pytest.approx(0.25)
    assert laboratory.noise(graph, {"y": np.full_like(target, np.inf)}, [0])["y"] == math.inf


def test_the_digest_is_of_the_samples() -> None:
    assert ReferenceLaboratory(_samples(3)).digest == ReferenceLaboratory(_samples(3)).digest
    assert ReferenceLaboratory(_samples(3)).digest != ReferenceLaboratory(_samples(4)).digest


def test_unusable_samples_are_refused() -> None:
    with pytest.raises(DataError, match="there are no samples"):
        ReferenceLaboratory([])
    odd = [*_samples(1), {"x": np.zeros((1, 3, 5, 6), np.float32)}]
    with pytest.raises(DataError, match=r"expected the shape of the first sample, \[1, 3, 6, 6\]"):
        ReferenceLaboratory(odd)
    with pytest.raises(DataError, match="hold nothing for input 'x'"):
        ReferenceLaboratory([{"z": np.zeros(1, np.float32)}]).values(_network(), ["y"], [0])
