"""The cache changes no byte, explains its misses, and survives what happens to a folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from quantable.cli.compile_command import command as compile_command
from quantable.driver import api, cache_keys
from quantable.driver.cache import Cache, changed
from quantable.driver.compile import Calibration, Compilation, compile_model
from quantable.driver.instruments.selection import Selection
from quantable.driver.pipelines import with_dispatch
from quantable.ir import OptionError, Profile
from tests.driver.conftest import Digits
from tests.driver.killed_compiles import check, visible, words

STAGES = (
    "import", "canonicalize", "quantize", "observe", "calibrate", "refine", "lower", "plan", "emit"
)  # fmt: skip


@dataclass
class Workbench:
    """Compiles the embedded network with a cache, from a profile that is at hand."""

    digits: Digits
    profile: Profile
    folder: Path
    said: list[str] = field(default_factory=list)

    def cache(self, limit: int = 1 << 30) -> Cache:
        return Cache(self.folder / "cache", limit, self.said.append)

    def compile(
        self,
        cache: Cache | None,
        *,
        output: str = "build",
        calibration: Calibration | None = None,
        selection: Selection | None = None,
        pipelines: dict[str, str] | None = None,
        target: str = "x86-vnni",
    ) -> Compilation:
        self.said.clear()
        return compile_model(
            self.digits.model, self.folder / output, target=target, cache=cache,
            calibration=calibration or Calibration(profile=self.profile), notice=self.said.append,
            selection=selection, pipelines=pipelines,
        )  # fmt: skip

    @property
    def cached(self) -> list[str]:
        return [text.removesuffix(": cached") for text in self.said if text.endswith(": cached")]

    @property
    def missed(self) -> dict[str, str]:
        split = (text.partition(": not cached ") for text in self.said)
        return {stage: why for stage, found, why in split if found}


@pytest.fixture
def bench(digits: Digits, profile: Profile, tmp_path: Path) -> Workbench:
    return Workbench(digits, profile, tmp_path)


@pytest.mark.parametrize("target", ["x86-vnni", "onnxruntime"])
def test_the_bytes_are_the_same_with_and_without(bench: Workbench, target: str) -> None:
    plain = bench.compile(None, output="plain", target=target)
    for number in range(2):
        done = bench.compile(bench.cache(), output=f"build{number}", target=target)
        assert visible(bench.folder / f"build{number}") == visible(bench.folder / "plain")
        assert done.graphs == plain.graphs
        assert done.facts == plain.facts
    assert not bench.missed
    assert set(bench.cached) >= {
        "import",
        "canonicalize",
        "quantize",
        "calibrate",
        "refine",
        "emit",
    }


_LAZY = """
import sys
from quantable.cli.main import main
assert main(sys.argv[1:]) == 0
print(sorted({"torch", "onnx", "PIL"} & set(sys.modules)))
"""


def test_a_recompile_imports_neither_torch_nor_onnx(bench: Workbench) -> None:
    line = words(4, bench.folder / "build", bench.folder / "cache")
    found = [
        subprocess.run(
            [sys.executable, "-c", _LAZY, *line], check=True, capture_output=True, text=True
        ).stdout.splitlines()[-1]
        for _ in range(2)
    ]
    assert found == ["['onnx', 'torch']", "[]"]


def test_observations_are_cached(bench: Workbench) -> None:
    how, samples = bench.digits.how, 6
    from_file = Calibration(bench.digits.calibration, preprocessing=how, samples=samples)
    first = bench.compile(bench.cache(), calibration=from_file)
    assert bench.missed["observe"] == "(the cache has nothing of this stage)"
    assert bench.compile(bench.cache(), calibration=from_file).profile == first.profile
    assert bench.cached == list(STAGES)
    bench.compile(bench.cache(), calibration=replace(from_file, samples=5))
    assert bench.missed["observe"] == "(changed: samples)"
    assert bench.missed["calibrate"] == "(changed: data)"
    assert bench.cached == ["import", "canonicalize", "quantize"]
    scaled = replace(from_file, preprocessing=replace(how, scale=1 / 8))
    bench.compile(bench.cache(), calibration=scaled)
    assert bench.missed["observe"] == "(changed: preprocessing)"


def test_arrays_iterators_and_samples_are_keyed_by_what_they_hold(
    bench: Workbench, canonical_graph: api.Graph
) -> None:
    arrays = np.load(bench.digits.calibration)["image"][:4]
    images = [np.float32(image / 16).reshape(1, 1, 8, 8) for image in arrays]
    name = canonical_graph.inputs[0]
    opened = api.open_samples(images, canonical_graph)
    forms: list[Callable[[], api.Source | api.Samples]] = [
        lambda: iter(images), lambda: images, lambda: [{name: image} for image in images],
        lambda: opened, lambda: np.concatenate(images), lambda: {name: np.concatenate(images)},
    ]  # fmt: skip
    digests = set()
    for form in forms:
        bench.compile(bench.cache(), calibration=Calibration(form()))
        digests.add(bench.folder.joinpath("build/calibration.qprof").read_bytes())
        bench.compile(bench.cache(), calibration=Calibration(form()))
        assert bench.cached == list(STAGES)
    assert len(digests) == 1
    images[0] = images[0] + 1
    bench.compile(bench.cache(), calibration=Calibration(iter(images)))
    assert bench.missed["observe"] == "(changed: data)"


@pytest.mark.parametrize(
    ("component", "stages"), [("tool", set(STAGES) - {"observe"}), ("target", {"quantize", "emit"})]
)
def test_a_miss_names_the_component_that_changed(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, component: str, stages: set[str]
) -> None:
    bench.compile(bench.cache())
    if component == "tool":
        known = cache_keys.environment()
        monkeypatch.setattr(cache_keys, "environment", lambda: {**known, "tool": "9.9"})
        bench.compile(bench.cache())
    else:
        bench.compile(bench.cache(), target="c-portable")
    assert stages <= set(bench.missed)
    assert all(component in bench.missed[stage] for stage in stages)


def test_another_pipeline_is_missed_from_its_stage_on(bench: Workbench) -> None:
    bench.compile(bench.cache())
    bench.compile(bench.cache(), pipelines={"calibrate": 'calibrate{method="minmax"},correct-bias'})
    assert bench.cached == ["import", "canonicalize", "quantize"]
    assert bench.missed["calibrate"] == "(changed: pipeline)"
    assert bench.missed["refine"] == "(changed: graph, history)"


def test_the_same_graph_with_another_history_is_another_result(bench: Workbench) -> None:
    bench.compile(bench.cache())
    twice = {"canonicalize": "canonicalize,eliminate-dead-code"}
    bench.compile(bench.cache(), pipelines=twice)
    assert bench.missed["quantize"] == "(changed: history)"
    plain = bench.compile(None, output="plain", pipelines=twice)
    assert visible(bench.folder / "build") == visible(bench.folder / "plain")
    assert len(plain.graphs[-1][1].history) > len(STAGES)


def test_a_changed_model_is_another_result(bench: Workbench) -> None:
    bench.compile(bench.cache())
    copy = bench.folder / "net.onnx"
    # Field 15 is unknown to ONNX: other bytes, the same network.
    copy.write_bytes(bench.digits.model.read_bytes() + bytes([0x78, 0x01]))
    bench.digits = replace(bench.digits, model=copy)
    bench.compile(bench.cache())
    assert bench.missed["import"] == "(changed: model)"
    # Its history names another file: not even the folded graph is the same file.
    assert bench.missed["canonicalize"] == "(changed: history)"


def test_sources_are_part_of_every_key() -> None:
    found = cache_keys.environment()
    assert set(found) == {"tool", "schema", "sources", "libraries", "machine"}
    assert len(found["sources"]) == 64
    assert "torch" in found["libraries"]


def test_every_option_of_compile_is_keyed_or_named_as_harmless() -> None:
    options = {param.name for param in compile_command.params}
    keyed, harmless = set(cache_keys.OPTION_COMPONENT), set(cache_keys.NOT_IN_KEY)
    assert not keyed & harmless
    assert options == keyed | harmless


def test_remarks_are_said_again(bench: Workbench) -> None:
    heard: list[list[str]] = []
    for _ in range(2):
        lines: list[str] = []
        bench.compile(bench.cache(), selection=Selection.of(lines.append, remarks=True),
                      target="onnxruntime", pipelines={"quantize": _ONE_FLOAT})  # fmt: skip
        heard.append(lines)
    assert heard[0] == heard[1]
    assert any("the dispatch table says float" in line for line in heard[0])
    assert not bench.missed


_ONE_FLOAT = 'dispatch{table=["/Add=float"]},assign-configs,fuse-overlaps,simplify-overlaps'


def test_a_dump_runs_the_passes(bench: Workbench) -> None:
    bench.compile(bench.cache())
    dumped = Selection.of(print, dump=bench.folder / "dump", dump_filter="bake")
    bench.compile(bench.cache(), selection=dumped)
    assert len(list((bench.folder / "dump").glob("*-bake.*.qir"))) == 2
    assert bench.cached == ["import", "emit"]


def _damage(path: Path, how: str) -> None:
    data = path.read_bytes()
    if how == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif how == "flip":
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    else:
        path.unlink()


@pytest.mark.parametrize("how", ["cut", "flip", "gone"])
@pytest.mark.parametrize("what", ["entries/*.json", "objects/*.qir", "objects/segments/*"])
def test_damage_is_found_and_repaired(bench: Workbench, what: str, how: str) -> None:
    bench.compile(bench.cache())
    whole = visible(bench.folder / "build")
    paths = [path for path in (bench.folder / "cache/quantable-1").glob(what) if path.is_file()]
    assert paths
    for path in paths:
        _damage(path, how)
    bench.compile(bench.cache(), output="again")
    assert visible(bench.folder / "again") == whole
    if (what, how) != ("entries/*.json", "gone"):
        assert any("is damaged and was removed" in text for text in bench.said)
    check(bench.folder / "again", bench.folder / "cache")
    bench.compile(bench.cache(), output="third")
    assert not bench.missed
    assert visible(bench.folder / "third") == whole


def test_the_least_recently_used_goes_first(bench: Workbench) -> None:
    cache = bench.cache()
    bench.compile(cache)
    entries = [entry for entry, _ in cache.entries()]
    assert [entry.stage for entry in entries][-1] == "import"
    for age, entry in enumerate(entries):
        os.utime(cache.root / "entries" / entry.name, (1000 - age, 1000 - age))
    assert cache.graph("import", entries[-1].components) is not None
    latest = [entry for entry, _ in cache.entries()]
    assert latest == [entries[-1], *entries[:-1]]
    limit = cache.size() * 2 // 3
    removed, freed = cache.trim(limit)
    kept = [entry for entry, _ in cache.entries()]
    assert cache.size() <= limit
    assert kept == latest[: len(kept)]
    assert (len(kept) + removed, freed > 0) == (len(latest), True)
    check(bench.folder / "build", bench.folder / "cache")


def test_compile_keeps_to_the_limit_and_clear_empties(bench: Workbench) -> None:
    bench.compile(bench.cache())
    limit = bench.cache().size() // 2
    assert limit > 10000
    bench.cache().clear()
    assert bench.cache().size() == 0
    bench.compile(bench.cache(limit), output="small")
    assert 0 < bench.cache().size() <= limit
    assert visible(bench.folder / "small") == visible(bench.folder / "build")
    bench.compile(bench.cache(0), output="none")
    assert bench.cache().size() == 0
    assert visible(bench.folder / "none") == visible(bench.folder / "build")


def test_what_a_kill_left_is_trimmed_and_foreign_files_stay(bench: Workbench) -> None:
    cache = bench.cache()
    bench.compile(cache)
    size = cache.size()
    (cache.root / "objects/.0123.tmp").write_bytes(bytes(1000))
    (cache.root / "objects/segments/.4567.tmp").write_bytes(bytes(1000))
    foreign = bench.folder / "cache/mine.txt"
    foreign.write_text("mine")
    assert cache.trim() == (0, 2000)
    assert cache.size() == size
    cache.clear()
    assert foreign.read_text() == "mine"


def test_no_path_is_in_the_cache(bench: Workbench) -> None:
    bench.compile(bench.cache())
    place = str(bench.folder).encode()
    assert not [n for n, data in visible(bench.folder / "cache").items() if place in data]


def test_a_folder_that_cannot_be_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(OptionError, match="cannot be written to"):
        Cache(tmp_path / "cache")


def test_a_model_with_external_data_is_imported_every_time(bench: Workbench) -> None:
    import onnx

    model = onnx.load(bench.digits.model)
    copy = bench.folder / "net.onnx"
    onnx.save(model, copy, save_as_external_data=True, location="net.data", size_threshold=0)
    bench.digits = replace(bench.digits, model=copy)
    for _ in range(2):
        bench.compile(bench.cache())
        assert any(text.startswith("import: not kept") for text in bench.said)
    assert bench.cached == [stage for stage in STAGES if stage not in ("import", "observe")]


def test_concurrent_runs_share_a_cache(bench: Workbench) -> None:
    lines = [words(4, bench.folder / f"build{i}", bench.folder / "cache") for i in range(3)]
    # One evicts all the time what the others keep and fetch.
    lines[2] += ["--cache-limit", "0"]
    script = "import sys; from quantable.cli.main import main; sys.exit(main(sys.argv[1:]))"
    runs = [
        subprocess.Popen([sys.executable, "-c", script, *line], stdout=subprocess.DEVNULL)
        for line in lines
    ]
    assert [run.wait() for run in runs] == [0, 0, 0]
    first = visible(bench.folder / "build0")
    assert visible(bench.folder / "build1") == visible(bench.folder / "build2") == first
    check(bench.folder / "build0", bench.folder / "cache")


def test_components_are_compared_in_the_order_of_the_new_ones() -> None:
    assert changed({"b": "1", "a": "2", "c": "3"}, {"a": "1", "c": "3", "z": ""}) == ["b", "a", "z"]


def test_an_entry_is_json_with_a_digest(bench: Workbench) -> None:
    bench.compile(bench.cache())
    for path in (bench.folder / "cache/quantable-1/entries").iterdir():
        _, body = path.read_text(encoding="utf-8").splitlines()
        assert set(json.loads(body)) >= {"stage", "components", "sha256"}


def test_another_dispatch_is_missed_from_quantize_on(bench: Workbench) -> None:
    bench.compile(bench.cache(), target="onnxruntime")
    other = {"quantize": with_dispatch("quantize", table=["/Add=float"])}
    bench.compile(bench.cache(), target="onnxruntime", pipelines=other)
    assert bench.cached == ["import", "canonicalize"]
    assert bench.missed["quantize"] == "(changed: pipeline)"
