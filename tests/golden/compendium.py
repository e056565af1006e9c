"""Graphs and a profile that use everything a file can hold.

``python -m tests.golden.compendium`` is run once, when a version is released: it writes the folder
of that version, whose .qir and .qprof files never change again. The texts follow the printer:
``python -m tests.golden.compendium --texts`` writes them again, and nothing else.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np

from quantable.ir import (
    LEGAL_POLICIES,
    Attribute,
    BakedParameter,
    ChannelMeans,
    Container,
    ContentRef,
    ContentStore,
    Decision,
    DType,
    Graph,
    Level,
    MemoryPlan,
    Operation,
    OperationQuantizationConfig,
    Profile,
    QuantableOperation,
    QuantizationParameters,
    Region,
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
)  # fmt: skip
from quantable.schema import load, save, save_profile
from quantable.schema.versions import Version, current, spelled
from quantable.text.printer import print_graph

FOLDER = Path(__file__).parent
INT4, INT8 = f"all.{DType.INT4.value}", f"all.{DType.INT8.value}"


SINCE = {
    (1, 2): (DType.FLOAT8E4M3FN, DType.FLOAT8E5M2, DType.FLOAT4E2M1),
    (1, 3): (
        DType.FLOAT8E4M3FNUZ, DType.FLOAT8E5M2FNUZ, DType.FLOAT8E8M0, DType.INT2, DType.UINT2,
    ),
}  # fmt: skip


def dtypes(version: Version) -> list[DType]:
    """Return every element type that a version has."""
    later = {dtype for first, added in SINCE.items() if version < first for dtype in added}
    return [dtype for dtype in DType if dtype not in later]


def contents(store: ContentStore, version: Version) -> dict[str, ContentRef]:
    """Contents of every element type, of no element, of one, and large ones."""
    refs = {}
    for dtype in dtypes(version):
        if dtype is DType.STRING:
            continue
        count = 5
        raw = bytes(range(1, 1 + ContentRef("", dtype, (count,)).size_bytes))
        raw = bytes([1, 0, 1, 1, 0]) if dtype is DType.BOOL else raw
        # Elements that do not fill the last byte are followed by zero bits.
        used = count * dtype.bits % 8
        raw = raw[:-1] + bytes([raw[-1] & ((1 << used) - 1)]) if used else raw
        refs[f"all.{dtype.value}"] = store.put_bytes(raw, dtype, (count,))
    refs["empty"] = store.put(np.zeros((0, 3), np.float32))
    refs["scalar"] = store.put(np.float32(0.1))
    refs["large"] = store.put((np.arange(1200, dtype=np.int64) * 37 % 251).astype(np.float32))
    return refs


def configs(version: Version) -> list[TensorQuantizationConfig]:
    """Every state, policy, rounding, relation, visibility and suspended state at least once.

    Blocks came with version 1.2.
    """
    policies = [p for p in LEGAL_POLICIES if version >= (1, 2) or not p.is_per_block]
    columns = zip(
        range(len(policies) * len(State)),
        itertools.cycle(policies), itertools.cycle(State), itertools.cycle(Rounding),
        itertools.cycle(Relation), itertools.cycle(Visibility),
        itertools.cycle([None, *State]), itertools.cycle(range(2, 33)),
    )  # fmt: skip
    return [
        TensorQuantizationConfig(
            policy, bits, bits // 2 if policy.is_floating else 0, -(1 << (bits - 1)),
            (1 << (bits - 1)) - 1, rounding, number % 4 if policy.has_axis else None,
            ("", "minmax", "kl")[number % 3], visibility, state, relation,
            ("", "row.0", "row.1")[number % 3], suspended,
            (2, 32, 1 << 31)[number % 3] if policy.is_per_block else 0,
        )
        for number, policy, state, rounding, relation, visibility, suspended, bits in columns
    ]  # fmt: skip


def operations(refs: dict[str, ContentRef], version: Version) -> tuple[Operation, ...]:
    """Every kind of attribute, absent operands, and every config."""
    attributes = {
        "int": -(2**63), "int.max": 2**63 - 1, "float": 0.1, "float.negative.zero": -0.0,
        "float.tiny": 5e-324, "float.infinite": float("inf"), "string": "Grüße, 世界", "empty": (),
        "ints": (0, -1, 2**40), "floats": (0.5, float("-inf"), -0.0), "strings": ("", "a b", "%"),
        "tensor": refs["large"], "tensor.int4": refs[INT4],
    }  # fmt: skip
    slots = configs(version)
    first = QuantableOperation(
        "quantable", "com.microsoft.Gelu", ("x", "", "large"), ("y", ""), {"group": 1},
        ("/a/Gelu", "/b/Mul"),
        OperationQuantizationConfig(tuple(slots[::2]), tuple(slots[1::2])),
        "c-portable", ((2, refs["large"]),), (BakedParameter(2, refs[INT8], "ab" * 32),),
    )  # fmt: skip
    control: tuple[Operation, ...] = ()
    if version >= (1, 3):
        control = (Operation("branch", "If", ("c", "x"), ("s",), regions(refs)),)
    return (
        *control,
        Operation("plain", "Identity", ("x",), ("z",), attributes, ("/node one",)),
        first,
        Operation("no operands", "int.Conv", (), ()),
    )


def regions(refs: dict[str, ContentRef]) -> dict[str, Attribute]:
    """Return the attributes of an If with regions: of parameters, of nothing, in one another."""
    value = Value("x", DType.FLOAT32, (2,))
    empty = Region("", ("x",), ("x",), {"x": value})
    inner = Region(
        "inner", ("x",), ("y",), {"x": value, "y": Value("y", DType.FLOAT32)},
        (Operation("in", "Relu", ("x",), ("y",)),),
    )  # fmt: skip
    held = {name: Value(name, refs[name].dtype, refs[name].shape) for name in ("large", "scalar")}
    then = Region(
        "ветвь", ("x",), ("q",),
        {"x": value, "q": Value("q", DType.FLOAT32, (2, "?1"), Container.SEQUENCE), **held},
        (
            Operation("if", "If", ("scalar", "x"), ("q",),
                      {"then_branch": inner, "else_branch": empty, "captures": 1}),
        ),
        {name: refs[name] for name in held},
    )  # fmt: skip
    return {"then_branch": then, "else_branch": empty, "captures": 1}


def records(version: Version) -> tuple[StageRecord, ...]:
    """Return a history; from version 1.2 on it has decisions, of errors that are no numbers too."""
    decisions = (
        Decision(("plain", "größe"), "rounding, 30 steps", "noise", 0.1, 5e-324, True, "kept"),
        Decision((), "", "", float("nan"), float("inf"), False),
        Decision(("quantable",), "again", "noise", -0.0, float("-inf"), False, "not better"),
    )
    return (
        StageRecord("import", 1, "", "", "aa" * 32, "bb" * 32, "0.1.0"),
        StageRecord(
            "quantize", 3, "{target=c-portable}", "aa" * 32, "cc" * 32, "", "0.1.0",
            decisions if version >= (1, 2) else (),
        ),
    )  # fmt: skip


def plan(version: Version) -> MemoryPlan:
    """Return a memory plan; from version 1.4 on it has streams."""
    streams = (
        Stream(("plain", "quantable"), 3, {"y": Ring(4, 1), "z": Ring(2**32 - 1)}),
        Stream(("no operands",), 0, {}),
    )
    offsets = {"x": 0, "y": 64, "z": 2**32}
    if version < (1, 4):
        return MemoryPlan(2**33, 64, offsets)
    return MemoryPlan(2**33, 64, offsets, True, streams)


def graph(level: Level, version: Version) -> Graph:
    """Return the compendium at a level; only the file's rules hold in it, not those of networks."""
    store = ContentStore()
    refs = contents(store, version)
    values = [
        Value("x", DType.FLOAT32, ("N", 3, "H", 224)), Value("y", DType.BFLOAT16),
        Value("z", DType.STRING, ()), Value("name with spaces", DType.INT64, (0, 2**40)),
    ]  # fmt: skip
    values += [Value(f"v.{d.value}", d, (1,)) for d in dtypes(version)]
    values += [Value(name, ref.dtype, ref.shape) for name, ref in refs.items()]
    if version >= (1, 3):
        kinds = enumerate(Container)
        values += [Value(f"container {n}", DType.INT2, ("N",), kind) for n, kind in kinds]
        values += [Value("c", DType.BOOL, ()), Value("s", DType.FLOAT32, None, Container.SEQUENCE)]
    rows = [
        QuantizationParameters("row.0", (0.1, 2.0**-126, 3.4e38), (0, -(2**63), 2**63 - 1)),
        QuantizationParameters("row.1", (0.5,), (128,), ("row.0", "row.2"), "calibrate kl"),
        QuantizationParameters("row.2"),
    ]
    return Graph(
        f"compendium-{level.value}", level, 21, ("x", "name with spaces"), ("y", "z"),
        {v.name: v for v in values}, operations(refs, version), refs,
        {r.id: r for r in rows}, "c-portable",
        plan(version) if level is Level.PLANNED else None,
        {"key": "text", "ключ": "", "": "of no name"}, records(version),
        store,
    )  # fmt: skip


def profile(version: Version) -> Profile:
    """Return a profile with an empty histogram, the largest bin and counts beyond 32 bits.

    From version 1.1 on it has means of channels: of either axis, negative, large, and unknown ones.
    """
    held = {
        "x": ValueStatistics(2**40 + 3, -1.5, 2.0, (3, 400, 65535), (1, 2, 2**40)),
        "größe": ValueStatistics(1, 0.0, 0.0, (0,), (1,)),
        "nothing": ValueStatistics(0, 0.0, 0.0, (), ()),
    }
    means = {
        ("x", 1): ChannelMeans((-1, 0, (1 << 48) + 5, -(1 << 90))),
        ("x", -1): ChannelMeans((7,)),
        ("größe", 1): ChannelMeans(()),
    }
    return Profile("ab" * 32, 1 << 33, held, means if version >= (1, 1) else {})


def write(folder: Path, *, only_texts: bool) -> None:
    """Write the files of a version into its folder."""
    folder.mkdir(exist_ok=True)
    for level in Level:
        path = folder / f"{level.value}.qir"
        if not only_texts:
            made = graph(level, current())
            inline = level in (Level.FLOAT, Level.PLANNED)
            save(made, path, **({"inline_limit": None} if inline else {}))
        path.with_suffix(".txt").write_text(print_graph(load(path)), "utf-8")
    if not only_texts:
        save_profile(profile(current()), folder / "profile.qprof")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", action="store_true", help="print the files again, write no file")
    write(FOLDER / f"v{spelled(current())}", only_texts=parser.parse_args().texts)
