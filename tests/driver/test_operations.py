"""Where user operations come from, and the page that shows how to write them."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from quantable.cli.main import main
from quantable.driver import api
from quantable.driver.operations import library_of, with_library
from quantable.ir import Graph, OptionError, UnsupportedError, UserError

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/user-operations.md").read_text(encoding="utf-8")
KIND = "com.example.SoftStep"


def _blocks(page: str) -> list[str]:
    """The indented blocks of a page that are Python, in order."""
    blocks = re.findall(r"(?:^    .*\n|^\n(?=    ))+", page, re.MULTILINE)
    texts = [re.sub(r"^    ", "", block, flags=re.MULTILINE).strip("\n") for block in blocks]
    return [text for text in texts if "import" in text and not text.startswith("quantable ")]


def _network(path: Path, **attributes: float) -> None:
    node = helper.make_node(
        "SoftStep", ["x"], ["y"], name="step", domain="com.example", **attributes
    )
    graph = helper.make_graph(
        [node], "steps", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )  # fmt: skip
    imports = [helper.make_opsetid("", 21), helper.make_opsetid("com.example", 1)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=10), path)


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the page shows."""
    monkeypatch.chdir(tmp_path)
    Path("softstep.py").write_text(_blocks(PAGE)[0])
    _network(Path("net.onnx"))
    x = np.linspace(-8, 8, 64, dtype=np.float32).reshape(16, 4)
    np.savez("test.npz", x=x)
    np.savez("data.npz", x=x)
    return tmp_path


def test_the_python_of_the_page_runs(page: Path) -> None:
    definition, code, *_ = _blocks(PAGE)
    assert definition.startswith("# softstep.py")
    names: dict[str, object] = {}
    exec(compile(code, "docs/user-operations.md", "exec"), names)
    results = names["results"]
    assert isinstance(results, dict)
    x = np.load("test.npz")["x"]
    assert np.allclose(results["y"], 0.5 + np.arctan(x) / np.pi, atol=1e-6)


def test_the_commands_of_the_page_work(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line for line in PAGE.splitlines() if line.startswith("    quantable ")]
    for line in lines:
        capsys.readouterr()
        assert main(line.split()[1:]) == 0, capsys.readouterr().err
    out = capsys.readouterr().out
    assert KIND in out
    assert "softstep 0" in out
    assert main(["run", "build/00-import.qir", "--data", "test.npz"]) == 1
    assert "expected operation package softstep 0, found none" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "text", "message"),
    [
        ("missing.py", None, "missing.py: no such file"),
        ("empty.py", "", "expected an attribute 'OPERATIONS', found none"),
        ("odd.py", "OPERATIONS = [1]", "expected user operations, found list"),
        ("faulty.py", "1 / 0", "raises ZeroDivisionError: division by zero"),
        ("no_such_module", None, "raises ModuleNotFoundError"),
        ("named.py:OTHER", "OPERATIONS = ()", "expected an attribute 'OTHER', found none"),
    ],
)
def test_sources_that_hold_none_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, text: str | None, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if text is not None:
        Path(source.partition(":")[0]).write_text(text)
    with pytest.raises(UserError, match=message):
        library_of([source])


def _distribution(folder: Path, package: str, entry: str) -> None:
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[quantable.operations]\n{package} = {entry}\n")


def test_two_packages_that_define_one_operation_are_named(
    page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(page / "site")
    for package in ("first", "second"):
        _distribution(page / "site", package, f"{package}_steps:OPERATIONS")
        (page / f"site/{package}_steps.py").write_text(Path("softstep.py").read_text())
    with pytest.raises(
        UserError, match=r"expected one definition, found those of first 1\.0 and sec"
    ):
        library_of()
    with pytest.raises(UserError, match="expected one definition"):
        api.import_model("net.onnx")


def test_a_package_that_breaks_is_named_where_it_is_needed_alone(
    page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(page / "site")
    _distribution(page / "site", "broken", "no_such_module:OPERATIONS")
    with pytest.raises(
        UserError, match=r"(?s)entry point 'broken' of package broken 1\.0.*No module"
    ):
        api.import_model("net.onnx")
    assert not with_library(Graph("none")).library
    assert not any(name.startswith("no_such") for name in sys.modules)


def test_what_is_given_comes_before_what_is_installed(
    page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(page / "site")
    _distribution(page / "site", "installed", "installed_steps:OPERATIONS")
    (page / "site/installed_steps.py").write_text(Path("softstep.py").read_text())
    assert library_of()[KIND].package == "installed"
    given = library_of(["softstep.py"])
    assert given[KIND].package == "softstep"
    definition = given[KIND].definition
    assert library_of([definition])[KIND].digest == given[KIND].digest
    sys.modules.pop("installed_steps")


def test_an_operation_without_integers_is_refused_before_calibration(page: Path) -> None:
    text = Path("softstep.py").read_text().replace(", integer=Table()", "")
    Path("softstep.py").write_text(text)
    graph = api.import_model("net.onnx", library_of(["softstep.py"]))
    message = "cannot run this user operation: its definition has no integer semantics"
    with pytest.raises(UnsupportedError, match=message):
        api.quantize(graph, "c-portable")
    assert not api.quantize(graph, "onnxruntime").quantable_operations


def test_faults_of_semantics_name_the_operation(page: Path) -> None:
    source = Path("softstep.py").read_text()
    for old, new, message in (
        (
            "return 0.5 +",
            "return 0.5 + missing +",
            "step' .*its semantics: NameError: name 'missing' is not",
        ),
        (
            "torch.atan(x / width)",
            "torch.atan(x.double())",
            "TypeError: expected torch.float32, found torch.float64",
        ),
        ("shape=SAME", "shape=lambda call: 1 / 0", "its shape function raises ZeroDivisionError"),
    ):
        Path("softstep.py").write_text(source.replace(old, new))
        with pytest.raises(UserError, match=message):
            api.run(api.import_model("net.onnx", library_of(["softstep.py"])), "test.npz")


def test_a_lowering_that_writes_nothing_is_told_so(page: Path) -> None:
    text = Path("softstep.py").read_text().replace("Table()", "Decomposition(lambda op, low: None)")
    Path("softstep.py").write_text(text.replace("import SAME,", "import SAME, Decomposition,"))
    graph = api.canonicalize(api.import_model("net.onnx", library_of(["softstep.py"])))
    profile = api.observe(graph, "data.npz")
    refined = api.refine(api.calibrate(api.quantize(graph, "c-portable"), profile))
    with pytest.raises(OptionError, match="its definition writes nothing for y when it is lowered"):
        api.lower(refined)
