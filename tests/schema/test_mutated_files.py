"""Whatever bytes come in: a FormatError that names the file, or a graph that can be used."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from quantable.cli.main import main
from quantable.ir import FormatError, Graph, Profile, graph_digest
from quantable.ir.invariants import violations
from quantable.ir.profile import bin_edges
from quantable.schema import load, load_profile, save, save_profile
from quantable.text.printer import print_graph
from tests.cli.conftest import DEMO
from tests.schema.fuzz_files import fuzz
from tests.schema.mutations import mutants
from tests.schema.sealing import most_resealed, resealed


def use_graph(path: Path, again: Path) -> None:
    """Load and do what any command would; only a FormatError may come."""
    graph = load(path)
    for name in graph.parameters:
        graph.array(name)
    print_graph(graph)
    save(graph, again)
    assert graph_digest(load(again)) == graph_digest(graph)
    assert all(where and what for _, where, what in violations(graph))


def use_profile(path: Path, again: Path) -> None:
    profile = load_profile(path)
    for item in profile.statistics.values():
        assert sum(item.counts.tolist()) == item.count
        bin_edges(item.bins)
    save_profile(profile, again)
    assert load_profile(again) == profile


def check(
    data: bytes, use: Callable[[Path, Path], None], folder: Path, count: int, seed: int
) -> None:
    """Run `use` on mutants, and demand that both verdicts come up."""
    path, errors = folder / "mutant", []
    for mutant in most_resealed(mutants(data, count, seed)):
        path.write_bytes(mutant)
        try:
            use(path, folder / "again")
        except FormatError as error:
            errors.append(error)
    assert all(str(path) in error.where and error.message for error in errors)
    assert count // 2 < len(errors) < count


@pytest.fixture(scope="module")
def graph_bytes(graph: Graph, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("graph") / "g.qir"
    save(graph, path, inline_limit=None)
    return path.read_bytes()


@pytest.fixture(scope="module")
def profile_bytes(profile: Profile, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("profile") / "p.qprof"
    save_profile(profile, path)
    return path.read_bytes()


@pytest.mark.parametrize("seed", range(3))
def test_mutated_graphs(graph_bytes: bytes, tmp_path: Path, seed: int) -> None:
    check(graph_bytes, use_graph, tmp_path, 200, seed)


def test_mutated_heads(graph_bytes: bytes, tmp_path: Path) -> None:
    """Nearly all mutations hit the FlatBuffer when the contents are files of their own."""
    head = int.from_bytes(graph_bytes[:4], "little") + 4
    path, errors = tmp_path / "head", []
    for mutant in mutants(graph_bytes[:head], 200, 9):
        path.write_bytes(resealed(mutant + graph_bytes[len(mutant) :]))
        try:
            use_graph(path, tmp_path / "again")
        except FormatError as error:
            errors.append(error)
    assert all(str(path) in error.where for error in errors)
    assert 100 < len(errors) < 200


def test_mutated_profiles(profile_bytes: bytes, tmp_path: Path) -> None:
    check(profile_bytes, use_profile, tmp_path, 300, 0)


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", range(100, 110))
def test_many_mutated_graphs(graph_bytes: bytes, tmp_path: Path, seed: int) -> None:
    check(graph_bytes, use_graph, tmp_path, 1000, seed)


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", range(100, 105))
def test_many_mutated_profiles(profile_bytes: bytes, tmp_path: Path, seed: int) -> None:
    check(profile_bytes, use_profile, tmp_path, 1000, seed)


@pytest.fixture(scope="module")
def network_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A network that can be run, at every level, self-contained, and its profile."""
    folder = tmp_path_factory.mktemp("network")
    words = [
        "compile", DEMO / "digits.onnx", "--target", "x86-vnni", "--samples", 20, "--calibration",
        DEMO / "digits_calibration.npz", "--recipe", DEMO / "digits.toml", "-o", folder, "--quiet",
    ]  # fmt: skip
    assert main([str(word) for word in words]) == 0
    for path in folder.glob("*.qir"):
        save(load(path), path, inline_limit=None)
    return {path.name: path.read_bytes() for path in folder.glob("*.q*")}


@pytest.mark.fuzz
def test_what_is_accepted_can_be_run_or_is_refused_by_the_runtime(
    network_files: dict[str, bytes], tmp_path: Path
) -> None:
    tally = fuzz(network_files, 3000, 0, tmp_path)
    assert tally.failures == []
    assert tally.outcomes["refused"] > 2000
    assert tally.outcomes["ran"] > 100


@pytest.mark.parametrize("kind", ["graph", "profile"])
def test_no_flipped_bit_of_a_head_is_taken_for_another_file(
    graph_bytes: bytes, profile_bytes: bytes, tmp_path: Path, kind: str
) -> None:
    data, read = (graph_bytes, load) if kind == "graph" else (profile_bytes, load_profile)
    end = 4 + int.from_bytes(data[:4], "little")
    path, rng = tmp_path / "flipped", random.Random(5)
    for place in rng.sample(range(8 * end), 400):
        flipped = bytearray(data)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        with pytest.raises(FormatError):
            read(path)


@pytest.mark.parametrize("kind", ["graph", "profile"])
def test_every_truncation_is_refused(
    graph_bytes: bytes, profile_bytes: bytes, tmp_path: Path, kind: str
) -> None:
    data, read = (graph_bytes, load) if kind == "graph" else (profile_bytes, load_profile)
    path = tmp_path / "cut"
    for size in [*range(0, len(data), 97), len(data) - 1]:
        path.write_bytes(data[:size])
        with pytest.raises(FormatError, match=r"truncated|expected at least"):
            read(path)


def test_trailing_bytes_are_refused(graph_bytes: bytes, tmp_path: Path) -> None:
    path = tmp_path / "long.qir"
    path.write_bytes(graph_bytes + bytes(64))
    with pytest.raises(FormatError, match=f"expected {len(graph_bytes)} bytes"):
        load(path)


def test_random_bytes_with_a_good_beginning_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "noise.qir"
    rng = random.Random(1)
    for size in (12, 16, 64, 500, 5000):
        noise = rng.randbytes(size - 12)
        path.write_bytes((size - 4).to_bytes(4, "little") + rng.randbytes(4) + b"QIR1" + noise)
        with pytest.raises(FormatError):
            load(path)
