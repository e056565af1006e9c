"""Random graphs of every level, valid as files though not as networks, and one with everything."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from quantable.ir import (
    LEGAL_POLICIES,
    BakedParameter,
    ContentRef,
    ContentStore,
    Decision,
    DType,
    Granularity,
    Graph,
    Level,
    MemoryPlan,
    Operation,
    OperationQuantizationConfig,
    Profile,
    QuantableOperation,
    QuantizationParameters,
    QuantizationPolicy,
    Relation,
    Ring,
    Rounding,
    StageRecord,
    State,
    Stream,
    TensorQuantizationConfig,
    Value,
    ValueStatistics,
    Visibility,
)


def thawed(table: Any) -> Any:
    """Tables as objects and lists that a test can change."""
    if isinstance(table, tuple) and hasattr(table, "_fields"):
        held = {name: thawed(value) for name, value in table._asdict().items()}
        return SimpleNamespace(table=type(table), **held)
    return [thawed(item) for item in table] if isinstance(table, tuple) else table


def frozen(table: Any) -> Any:
    """What `thawed` was given, with the changes."""
    if isinstance(table, SimpleNamespace):
        held = {name: frozen(value) for name, value in vars(table).items()}
        return held.pop("table")(**held)
    return tuple(frozen(item) for item in table) if isinstance(table, list) else table


STORE = ContentStore()
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
INT64 = st.integers(-(2**63), 2**63 - 1)
FLOAT32 = st.floats(width=32, allow_nan=False)
STORED = [d for d in DType if d is not DType.STRING]
SHAPES = st.none() | st.lists(st.integers(0, 2**62) | NAMES.filter(bool), max_size=4).map(tuple)


@st.composite
def contents(draw: st.DrawFn) -> ContentRef:
    dtype = draw(st.sampled_from(STORED))
    shape = tuple(draw(st.lists(st.integers(0, 9), max_size=4)))
    ref = ContentRef("", dtype, shape)
    data = np.random.default_rng(draw(st.integers(0, 3))).bytes(ref.size_bytes)
    return STORE.put_bytes(data, dtype, shape)


ATTRIBUTES = st.dictionaries(
    NAMES,
    INT64 | st.floats(allow_nan=False) | NAMES | contents()
    | st.lists(INT64).map(tuple) | st.lists(st.floats(allow_nan=False)).map(tuple)
    | st.lists(NAMES).map(tuple),
    max_size=4,
)  # fmt: skip


@st.composite
def configs(draw: st.DrawFn) -> TensorQuantizationConfig:
    policy = draw(st.sampled_from(LEGAL_POLICIES))
    bits = draw(st.integers(2, 32))
    low = draw(st.integers(-(2**31), 0))
    return TensorQuantizationConfig(
        policy,
        bits,
        draw(st.integers(1, bits - 1)) if policy.is_floating else 0,
        low,
        low + draw(st.integers(1, (1 << bits) - 1)),
        draw(st.sampled_from(Rounding)),
        draw(st.integers(0, 9)) if policy.has_axis else None,
        draw(NAMES),
        draw(st.sampled_from(Visibility)),
        draw(st.sampled_from(State)),
        draw(st.sampled_from(Relation)),
        draw(NAMES),
        draw(st.none() | st.sampled_from(State)),
        draw(st.integers(2, 2**31)) if policy.is_per_block else 0,
    )


@st.composite
def operations(draw: st.DrawFn) -> Operation:
    names = st.lists(NAMES, max_size=3).map(tuple)
    plain: tuple[Any, ...] = (
        draw(NAMES), draw(NAMES), draw(names), draw(names), draw(ATTRIBUTES), draw(names),
    )  # fmt: skip
    if draw(st.booleans()):
        return Operation(*plain)
    slots = st.lists(configs(), max_size=3).map(tuple)
    held = st.tuples(st.integers(0, 9), contents())
    baked = st.builds(BakedParameter, st.integers(0, 9), contents(), NAMES)
    return QuantableOperation(
        *plain,
        OperationQuantizationConfig(draw(slots), draw(slots)),
        draw(NAMES),
        tuple(draw(st.lists(held, max_size=2))),
        tuple(draw(st.lists(baked, max_size=2))),
    )


ROWS = st.builds(
    QuantizationParameters, NAMES, st.lists(FLOAT32, max_size=3).map(tuple),
    st.lists(INT64, max_size=3).map(tuple), st.lists(NAMES, max_size=2).map(tuple), NAMES,
)  # fmt: skip
VALUES = st.builds(Value, NAMES, st.sampled_from(DType), SHAPES)
SIZES = st.integers(0, 2**32 - 1)
STREAMS = st.builds(
    Stream, st.lists(NAMES, max_size=3).map(tuple), SIZES,
    st.dictionaries(NAMES, st.builds(Ring, SIZES, SIZES), max_size=2),
)  # fmt: skip
PLANS = st.builds(
    MemoryPlan, st.integers(0, 2**63), st.integers(0, 2**31),
    st.dictionaries(NAMES, st.integers(0, 2**63), max_size=3), st.booleans(),
    st.lists(STREAMS, max_size=2).map(tuple),
)  # fmt: skip
DECISIONS = st.builds(
    Decision, st.lists(NAMES, max_size=3).map(tuple), NAMES, NAMES, st.floats(), st.floats(),
    st.booleans(), NAMES,
)  # fmt: skip
RECORDS = st.builds(
    StageRecord, NAMES, st.integers(0, 99), NAMES, NAMES, NAMES, NAMES, NAMES,
    st.lists(DECISIONS, max_size=2).map(tuple),
)  # fmt: skip


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    names = st.lists(NAMES, max_size=3).map(tuple)
    return Graph(
        draw(NAMES), draw(st.sampled_from(Level)), draw(st.integers(0, 99)), draw(names),
        draw(names), {v.name: v for v in draw(st.lists(VALUES, max_size=4))},
        tuple(draw(st.lists(operations(), max_size=4))),
        draw(st.dictionaries(NAMES, contents(), max_size=3)),
        {r.id: r for r in draw(st.lists(ROWS, max_size=3))}, draw(NAMES),
        draw(st.none() | PLANS), draw(st.dictionaries(NAMES, NAMES, max_size=3)),
        tuple(draw(st.lists(RECORDS, max_size=3))), STORE,
    )  # fmt: skip


@st.composite
def statistics(draw: st.DrawFn) -> ValueStatistics:
    histogram = draw(st.dictionaries(st.integers(0, 65535), st.integers(1, 2**40), max_size=5))
    bins = tuple(sorted(histogram))
    counts = tuple(histogram[b] for b in bins)
    low, high = sorted((draw(FLOAT32), draw(FLOAT32)))
    return ValueStatistics(sum(counts), low, high, bins, counts)


PROFILES = st.builds(
    Profile, NAMES, st.integers(0, 2**40), st.dictionaries(NAMES, statistics(), max_size=4)
)


@pytest.fixture(scope="session")
def any_graph() -> st.SearchStrategy[Graph]:
    return graphs()


@pytest.fixture(scope="session")
def any_profile() -> st.SearchStrategy[Profile]:
    return PROFILES


@pytest.fixture(scope="session")
def graph() -> Graph:
    """A graph that uses every table of the schema, with small and large contents."""
    store = ContentStore()
    rng = np.random.default_rng(5)
    w = store.put(rng.normal(size=(16, 8, 3, 3)).astype(np.float32))
    b = store.put(np.arange(16, dtype=np.float32))
    w4 = store.put(rng.integers(-7, 8, w.shape), DType.INT4)
    config = TensorQuantizationConfig(
        QuantizationPolicy(Granularity.PER_CHANNEL), 4, 0, -7, 7, channel_axis=0, observer="minmax",
        state=State.BAKED, relation=Relation.OWN, row="conv.in1",
    )  # fmt: skip
    free = TensorQuantizationConfig()
    row = QuantizationParameters("conv.in1", (0.1,) * 16, (0,) * 16, ("a",), "calibrate")
    conv = QuantableOperation(
        "conv", "Conv", ("x", "w", "b", ""), ("y",),
        {"pads": (1, 1, 1, 1), "alpha": -0.0, "f": (0.5, 1.5), "s": "t", "ss": ("a", "b"),
         "group": 1, "table": b},
        ("/conv/Conv:0",), OperationQuantizationConfig((free.suspend(), config, free, free),
        (free,)), "c-portable", ((1, w), (2, b)), (BakedParameter(1, w4, row.digest),),
    )  # fmt: skip
    values = {"x": Value("x", DType.FLOAT32, ("N", 8, 4, 4)), "y": Value("y", DType.FLOAT32)}
    values |= {"w": Value("w", w.dtype, w.shape), "b": Value("b", b.dtype, b.shape)}
    return Graph(
        "all", Level.QUANTABLE, 21, ("x",), ("y",), values,
        (conv, Operation("relu", "Relu", ("y",), ("z",))), {"w": w, "b": b},
        {row.id: row}, "c-portable", MemoryPlan(128, 64, {"x": 0, "y": 64}), {"key": "text"},
        (StageRecord("import", 1, "{a=1}", "", "ab", "cd", "0.1.0"),), store,
    )  # fmt: skip


@pytest.fixture(scope="session")
def profile() -> Profile:
    held = {"x": ValueStatistics(7, -1.5, 2.0, (3, 400, 65535), (1, 2, 4))}
    return Profile("ab" * 32, 3, held | {"y": ValueStatistics(1, 0.0, 0.0, (0,), (1,))})
