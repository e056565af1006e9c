"""The example package of user operations, installed as a user would have it, and a network."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "docs/examples/waveform-operations"
DOMAIN = "com.example.waveform"
KINDS = tuple(f"{DOMAIN}.{name}" for name in ("CenteredDifference", "Snake", "Squareplus"))


def install(folder: Path, version: str = "") -> Path:
    """Build the package and unpack its wheel, with its .dist-info, into a folder for sys.path."""
    source = folder / "source"
    for path in PACKAGE.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            copy = source / path.relative_to(PACKAGE)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    project = source / "pyproject.toml"
    if version:
        project.write_text(project.read_text().replace('version = "1.2"', f'version = "{version}"'))
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=source, check=True, capture_output=True,
    )  # fmt: skip
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as held:
        held.extractall(folder / "site")
    return folder / "site"


def write_network(path: Path, version: int = 1, **attributes: float) -> Path:
    """Write a network of convolutions, and of every operation of the package."""
    rng = np.random.default_rng(0)
    parameters = {
        "w1": rng.normal(size=(8, 2, 5)) * 0.4, "b1": rng.normal(size=8) * 0.1,
        "alpha": rng.uniform(0.5, 3, 8), "w2": rng.normal(size=(8, 8, 3)) * 0.2,
        "beta": rng.uniform(0.5, 2, 8),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], name="first", pads=[2, 2]),
        helper.make_node("Snake", ["c1", "alpha"], ["s1"], name="snake", domain=DOMAIN),
        helper.make_node("Conv", ["s1", "w2"], ["c2"], name="second", pads=[1, 1]),
        helper.make_node("Squareplus", ["c2"], ["p"], name="plus", domain=DOMAIN, **attributes),
        helper.make_node("CenteredDifference", ["p"], ["d"], name="difference", domain=DOMAIN),
        helper.make_node("Snake", ["d", "beta"], ["y"], name="last", domain=DOMAIN),
    ]
    graph = helper.make_graph(
        nodes, "wave", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2, 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(v.astype(np.float32), name) for name, v in parameters.items()],
    )  # fmt: skip
    imports = [helper.make_opsetid("", 17), helper.make_opsetid(DOMAIN, version)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), path)
    return path


def waves() -> np.ndarray:
    """Return twelve inputs."""
    return np.random.default_rng(1).normal(size=(12, 2, 32)).astype(np.float32)
