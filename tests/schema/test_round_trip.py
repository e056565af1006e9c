"""Saving and loading give back an equal graph, and saving that gives the same bytes."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantable.ir import DType, Graph, InternalError, Operation, Profile, Value, graph_digest
from quantable.schema import load, load_profile, save, save_profile

PATHS = settings(
    max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


def check_round_trip(graph: Graph, folder: Path, inline_limit: int | None) -> None:
    first, second = folder / "first.qir", folder / "second.qir"
    save(graph, first, inline_limit=inline_limit)
    loaded = load(first)
    assert loaded == graph
    assert loaded.history == graph.history
    assert graph_digest(loaded) == graph_digest(graph)
    for digest in graph.contents():
        assert loaded.store.raw(digest) == graph.store.raw(digest)
    save(loaded, second, inline_limit=inline_limit)
    assert second.read_bytes() == first.read_bytes()


@PATHS
@given(data=st.data())
def test_random_graphs(any_graph: st.SearchStrategy[Graph], data: st.DataObject,
                       tmp_path: Path) -> None:  # fmt: skip
    limit = data.draw(st.sampled_from([None, 0, 100]))
    check_round_trip(data.draw(any_graph), tmp_path, limit)


@pytest.mark.fuzz
@settings(PATHS, max_examples=3000)
@given(data=st.data())
def test_many_random_graphs(any_graph: st.SearchStrategy[Graph], data: st.DataObject,
                            tmp_path: Path) -> None:  # fmt: skip
    check_round_trip(data.draw(any_graph), tmp_path, data.draw(st.sampled_from([None, 0, 100])))


@PATHS
@given(data=st.data())
def test_random_profiles(any_profile: st.SearchStrategy[Profile], data: st.DataObject,
                         tmp_path: Path) -> None:  # fmt: skip
    profile = data.draw(any_profile)
    first, second = tmp_path / "first.qprof", tmp_path / "second.qprof"
    save_profile(profile, first)
    assert load_profile(first) == profile
    save_profile(load_profile(first), second)
    assert second.read_bytes() == first.read_bytes()


@pytest.mark.parametrize("inline_limit", [None, 0, 4096])
def test_a_graph_with_everything(graph: Graph, tmp_path: Path, inline_limit: int | None) -> None:
    check_round_trip(graph, tmp_path, inline_limit)


def test_floats_keep_their_sign_and_nan(tmp_path: Path) -> None:
    op = Operation("o", "K", (), (), {"zero": -0.0, "nan": float("nan"), "list": (-0.0, 5e-324)})
    save(Graph("g", operations=(op,)), tmp_path / "g.qir")
    held = load(tmp_path / "g.qir").operations[0].attributes
    assert repr(held["zero"]) == "-0.0"
    assert repr(held["nan"]) == "nan"
    assert repr(held["list"]) == "(-0.0, 5e-324)"


def test_equal_graphs_built_in_another_order_give_the_same_bytes(
    graph: Graph, tmp_path: Path
) -> None:
    backwards = {
        name: dict(reversed(getattr(graph, name).items())) for name in ("values", "parameters")
    }
    assert graph.plan is not None
    plan = replace(graph.plan, offsets=dict(reversed(graph.plan.offsets.items())))
    attributes = dict(reversed(graph.operations[0].attributes.items()))
    first = replace(graph.operations[0], attributes=attributes)
    other = replace(graph, **backwards, plan=plan, operations=(first, *graph.operations[1:]))
    save(graph, tmp_path / "a.qir")
    save(other, tmp_path / "b.qir")
    assert (tmp_path / "a.qir").read_bytes() == (tmp_path / "b.qir").read_bytes()


def test_hash_seed_and_working_directory_do_not_matter(graph: Graph, tmp_path: Path) -> None:
    save(graph, tmp_path / "a.qir", inline_limit=None)
    code = (
        "import sys; from quantable.schema import load, save\n"
        "save(load(sys.argv[1]), sys.argv[2], inline_limit=None)"
    )
    for seed, folder in (("0", "one"), ("77", "two")):
        (tmp_path / folder).mkdir()
        subprocess.run(
            [sys.executable, "-c", code, "../a.qir", "b.qir"], check=True,
            env={**os.environ, "PYTHONHASHSEED": seed}, cwd=tmp_path / folder,
        )  # fmt: skip
        assert (tmp_path / folder / "b.qir").read_bytes() == (tmp_path / "a.qir").read_bytes()


def test_what_a_file_cannot_hold_is_our_fault_and_leaves_no_file(tmp_path: Path) -> None:
    for value in (Value("v", DType.FLOAT32, (-1,)), Value("v", DType.FLOAT32, ("",))):
        with pytest.raises(InternalError, match="expected dimensions"):
            save(Graph("g", values={"v": value}), tmp_path / "g.qir")
    with pytest.raises(InternalError, match="'v' is held under the name 'k'"):
        save(Graph("g", values={"k": Value("v", DType.FLOAT32)}), tmp_path / "g.qir")
    assert list(tmp_path.iterdir()) == []


def test_loading_needs_neither_torch_nor_onnx() -> None:
    code = (
        "import sys, quantable.schema, quantable.text.printer\n"
        "sys.exit('torch' in sys.modules or 'onnx' in sys.modules or 'lark' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_int4_stays_int4_on_disk(tmp_path: Path) -> None:
    graph = Graph("g")
    ref = graph.store.put(np.tile([1, -2], 5000), DType.INT4)
    graph = replace(graph, parameters={"w": ref}, values={"w": Value("w", ref.dtype, ref.shape)})
    save(graph, tmp_path / "g.qir")
    segment = tmp_path / "segments" / ref.digest
    assert segment.read_bytes() == bytes([0xE1]) * 5000
    assert load(tmp_path / "g.qir").array("w").tolist() == [1, -2] * 5000
