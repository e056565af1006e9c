"""What commands print and write."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from quantable.driver.stages import STAGES
from quantable.ir import QuantableOperation, graph_digest
from quantable.passes.registry import PASSES
from quantable.schema import load
from quantable.targets.description import TARGETS
from tests.cli.conftest import DEMO, Run

DATA = ("--data", DEMO / "digits_test.npz", "--recipe", DEMO / "digits.toml", "--samples", 20)


def test_import_prints_facts(run: Run, tmp_path: Path) -> None:
    result = run("import", DEMO / "digits.onnx", "-o", tmp_path / "a.qir", "--json")
    facts = json.loads(result.out)
    assert (facts["level"], facts["rows"]) == ("float", 0)
    assert facts["digest"] == graph_digest(load(tmp_path / "a.qir"))
    assert result.err == ""


@pytest.mark.parametrize("level", ["00-import", "02-quantize", "05-lower", "06-plan"])
def test_print_shows_every_operation(run: Run, build: Path, level: str) -> None:
    graph = load(build / f"{level}.qir")
    text = run("print", build / f"{level}.qir").out
    assert all(op.name in text for op in graph.operations)
    facts = json.loads(run("print", build / f"{level}.qir", "--json").out)
    assert facts["digest"] == graph_digest(graph)


def test_run_gives_the_same_results_at_the_integer_levels(
    run: Run, build: Path, tmp_path: Path
) -> None:
    results = []
    for stage in ("05-lower", "06-plan"):
        facts = run("run", build / f"{stage}.qir", *DATA, "--labels", "label", "--json",
                    "-o", tmp_path / f"{stage}.npz")  # fmt: skip
        assert json.loads(facts.out)["top_1"] >= 0.9
        with np.load(tmp_path / f"{stage}.npz") as held:
            results.append(held["logits"])
    assert results[0].shape == (20, 10)
    assert np.array_equal(results[0], results[1])


def test_run_returns_any_value(run: Run, build: Path, tmp_path: Path) -> None:
    graph = load(build / "05-lower.qir")
    name = graph.operations[0].outputs[0]
    words = ("run", build / "05-lower.qir", *DATA, "--output-value", name, "-o", tmp_path / "o.npz")
    assert run(*words).code == 0
    with np.load(tmp_path / "o.npz") as held:
        assert held.files == [name]
        assert held[name].dtype == graph.values[name].dtype.numpy


def test_validate_prints_claims(run: Run, build: Path) -> None:
    result = run("validate", build, *DATA, "--flags=-O2", "--flags=-O3", "--json")
    claims = json.loads(result.out)
    assert result.code == 0
    assert {claim["result"] for claim in claims} == {"held"}
    assert sum("0 of 200 elements differ" in claim["found"] for claim in claims) == 2


def test_merge_equals_one_pass(run: Run, build: Path, tmp_path: Path) -> None:
    common = ("observe", build / "01-opt.qir", "--data", DEMO / "digits_calibration.npz",
              "--recipe", DEMO / "digits.toml", "--samples", 20)  # fmt: skip
    for part in (1, 2):
        words = (*common, "--shard", f"{part}/2", "-o", tmp_path / f"{part}.qprof")
        assert run(*words).code == 0
    for order in ("12", "21"):
        parts = [tmp_path / f"{part}.qprof" for part in order]
        assert run("merge", *parts, "-o", tmp_path / "all.qprof").code == 0
        merged = (tmp_path / "all.qprof").read_bytes()
        assert merged == (build / "calibration.qprof").read_bytes()


def test_verify_accepts_every_file_of_a_build(run: Run, build: Path) -> None:
    files = [build / stage.file for stage in STAGES if stage.file]
    result = run("verify", *files, "--json")
    assert result.code == 0
    assert [row["result"] for row in json.loads(result.out)] == ["good"] * len(files)


@pytest.mark.parametrize(
    ("what", "key", "names"),
    [
        ("passes", "pass", list(PASSES)),
        ("targets", "target", list(TARGETS)),
        ("stages", "stage", [stage.name for stage in STAGES]),
    ],
)
def test_list_shows_the_tables(run: Run, what: str, key: str, names: list[str]) -> None:
    rows = json.loads(run("list", what, "--json").out)
    assert [row[key] for row in rows] == names
    text = run("list", what).out
    assert all(name in text for name in names)


def test_list_operations(run: Run) -> None:
    rows = json.loads(run("list", "operations", "--json").out)
    assert "int.Conv" in [row["integer operation"] for row in rows]
    rules = json.loads(run("list", "operations", "--target", "x86-vnni", "--json").out)
    assert "Conv" in [row["operation"] for row in rules]


def test_a_recipe_may_hold_every_option(run: Run, build: Path, tmp_path: Path) -> None:
    (tmp_path / "net.toml").write_text(
        f'target = "c-portable"\ncalibration = "{DEMO / "digits_calibration.npz"}"\n'
        'samples = 4\nscale = "1/16"\nlayout = "NCHW"\n'
        "[pipeline]\ncalibrate = 'calibrate{method=\"minmax\"}'\n"
    )
    words = ("compile", DEMO / "digits.onnx", "--recipe", tmp_path / "net.toml", "--json", "-q")
    result = run(*words, "--samples", 6, "-o", tmp_path / "out")
    assert result.code == 0, result.err
    facts = json.loads(result.out)
    assert facts["target"] == "c-portable"
    assert facts["calibration"]["samples"] == 6, "the command line wins"
    history = load(tmp_path / "out/03-calibrate.qir").history
    assert history[-1].options == '{method="minmax"}'


def test_report_names_what_stays_float(run: Run, build: Path) -> None:
    facts = json.loads((build / "report.json").read_text())
    assert facts["float_operations"] == []
    assert facts["integer_parameter_bytes"] < facts["float_parameter_bytes"] / 3
    assert facts["arena_bytes"] > 0
    page = (build / "report.md").read_text()
    assert all(stage["file"] in page for stage in facts["stages"])


def test_operations_are_assigned_by_option_and_by_recipe(
    run: Run, build: Path, tmp_path: Path
) -> None:
    given = ("quantize", build / "01-opt.qir", "--target", "onnxruntime")
    operation = next(op for op in load(build / "01-opt.qir").operations if op.kind == "Conv")
    (tmp_path / "table.toml").write_text(f'[assign]\n"{operation.name}" = "float"\n')
    said = ("--assign", f"{operation.name}=float")
    assert run(*given, *said, "-o", tmp_path / "one.qir").code == 0
    left = load(tmp_path / "one.qir").operation_by_name[operation.name]
    assert not isinstance(left, QuantableOperation)
    recipe = ("--profile", build / "calibration.qprof", "--recipe", tmp_path / "table.toml")
    done = run("compile", DEMO / "digits.onnx", "--target", "onnxruntime", *recipe,
               "-o", tmp_path / "build")  # fmt: skip
    assert done.code == 0
    compiled = (tmp_path / "build" / "02-quantize.qir").read_bytes()
    assert compiled == (tmp_path / "one.qir").read_bytes()
    refused = run(*given, "--assign", "nowhere=float", "-o", tmp_path / "two.qir")
    assert (refused.code, "dispatch table" in refused.err) == (1, True)


def test_schemes_are_assigned_by_option_and_by_recipe(
    run: Run, build: Path, tmp_path: Path
) -> None:
    given = ("quantize", build / "01-opt.qir", "--target", "c-portable")
    operation = next(op for op in load(build / "01-opt.qir").operations if op.kind == "Conv")
    slot = f"{operation.name}.in1"
    assert run(*given, "--assign", f"{slot}=weight-4", "-o", tmp_path / "one.qir").code == 0
    made = load(tmp_path / "one.qir").operation_by_name[operation.name]
    assert isinstance(made, QuantableOperation)
    assert made.config.inputs[1].bits == 4
    (tmp_path / "table.toml").write_text(f'[assign]\n"{slot}" = "weight-4"\n')
    recipe = ("--profile", build / "calibration.qprof", "--recipe", tmp_path / "table.toml")
    done = run("compile", DEMO / "digits.onnx", "--target", "c-portable", *recipe,
               "-o", tmp_path / "build")  # fmt: skip
    assert done.code == 0
    compiled = (tmp_path / "build" / "02-quantize.qir").read_bytes()
    assert compiled == (tmp_path / "one.qir").read_bytes()
    refused = run(*given, "--assign", f"{slot}=wait-4", "-o", tmp_path / "three.qir")
    assert (refused.code, "did you mean weight-4" in refused.err) == (1, True)
