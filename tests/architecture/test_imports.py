"""The arrows between the folders, and where torch and onnx may be imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TREES = ("ir_schema", "compiler", "runtime", "tools")

IR = {"ir", "schema", "text"}
COMPILER = {"frontend", "passes", "targets", "backends", "driver"}
RUNTIME = {"reference", "training", "kernels", "adapters", "exporters"}
TOOLS = {"cli", "report", "bench", "demo"}
ALLOWED: dict[str, set[str]] = {
    **dict.fromkeys(IR, IR),
    **dict.fromkeys(COMPILER, IR | COMPILER | {"kernels"}),
    **dict.fromkeys(RUNTIME, IR | RUNTIME),
    **dict.fromkeys(TOOLS, IR | COMPILER | RUNTIME | TOOLS),
}
"""What each package may import of `quantable`. The C backend reads the kernels' sources, which are
text; no other package of the compiler knows the runtime."""
KERNELS_FOR = {"backends"}

EXTERNAL: dict[str, tuple[str, ...]] = {
    "torch": ("runtime/", "tools/quantable/bench/", "tools/quantable/demo/train.py"),
    "onnx": (
        "compiler/quantable/frontend/", "compiler/quantable/backends/onnx/",
        "tools/quantable/bench/",
    ),
    "onnxruntime": ("runtime/quantable/adapters/", "tools/quantable/bench/"),
    "sklearn": ("tools/quantable/demo/train.py",),
    "lark": ("ir_schema/",),
    "click": ("tools/quantable/cli/",),
    "rich": ("tools/",),
}  # fmt: skip
"""Where a package from outside may be imported. The demo's training script makes its network;
nothing imports it. Benchmarks run the peers, which are made of torch and onnx."""
BANNED = ("pickle", "random")


def sources() -> list[Path]:
    """Every Python file of the product, generated ones left out."""
    found = [path for tree in TREES for path in sorted((ROOT / tree).rglob("*.py"))]
    return [path for path in found if "generated" not in path.parts]


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports anywhere, type-checking blocks included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""


def package_of(path: Path) -> str:
    """`compiler/quantable/passes/...` -> `passes`."""
    return path.relative_to(ROOT).parts[2]


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_arrows_run_one_way(path: Path) -> None:
    package = package_of(path)
    assert package in ALLOWED, f"unknown package '{package}': add it to the table"
    for module in imported(path):
        parts = module.split(".")
        if parts[0] != "quantable" or len(parts) == 1:
            continue
        assert parts[1] in ALLOWED[package], f"{package} imports {module}"
        if parts[1] == "kernels" and package in COMPILER:
            assert package in KERNELS_FOR, f"{package} imports {module}"


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_heavy_packages_stay_in_their_places(path: Path) -> None:
    place = path.relative_to(ROOT).as_posix()
    for module in imported(path):
        top = module.split(".")[0]
        assert top not in BANNED, f"{place} imports {top}"
        if top in EXTERNAL:
            assert place.startswith(EXTERNAL[top]), f"{place} imports {top}"


def test_the_rule_sees_imports_inside_functions(tmp_path: Path) -> None:
    path = tmp_path / "planted.py"
    path.write_text("def f():\n    import torch.nn\n    from quantable.driver import api\n")
    assert list(imported(path)) == ["torch.nn", "quantable.driver"]


def test_nothing_imports_the_training_script() -> None:
    assert not [
        path for path in sources() for module in imported(path) if module == "quantable.demo.train"
    ]


@pytest.mark.parametrize("tree", TREES)
def test_quantable_is_a_namespace_package(tree: str) -> None:
    assert not (ROOT / tree / "quantable" / "__init__.py").exists()
