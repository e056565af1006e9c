"""The embedded network, compiled once a session for each target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from quantable.driver import api
from quantable.driver.compile import Calibration, Compilation, compile_model
from quantable.ir import Graph, Profile

DEMO = Path(__file__).resolve().parents[2] / "tools/quantable/demo"
HOW = api.Preprocessing(scale=1 / 16, layout="NCHW")
SAMPLES = 40


@dataclass(frozen=True)
class Digits:
    """The embedded network and its inputs."""

    model: Path = DEMO / "digits.onnx"
    recipe: Path = DEMO / "digits.toml"
    calibration: Path = DEMO / "digits_calibration.npz"
    test: Path = DEMO / "digits_test.npz"
    how: api.Preprocessing = HOW
    samples: int = SAMPLES


@pytest.fixture(scope="session")
def digits() -> Digits:
    """The embedded network."""
    return Digits()


@pytest.fixture(scope="session")
def canonical_graph(digits: Digits) -> Graph:
    """The network's canonical float graph."""
    return api.canonicalize(api.import_model(digits.model))


@pytest.fixture(scope="session")
def profile(digits: Digits, canonical_graph: Graph) -> Profile:
    """Statistics of the canonical float graph."""
    return api.observe(canonical_graph, digits.calibration, digits.how, samples=digits.samples)


@pytest.fixture(scope="session")
def compiled(
    digits: Digits, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[Path, Compilation]]:
    """Return the folder that the network was compiled into for a target, and what was made."""
    done: dict[str, tuple[Path, Compilation]] = {}

    def build(target: str) -> tuple[Path, Compilation]:
        if target not in done:
            folder = tmp_path_factory.mktemp(target)
            calibration = Calibration(
                digits.calibration, preprocessing=digits.how, samples=digits.samples
            )
            made = compile_model(digits.model, folder, target=target, calibration=calibration)
            done[target] = folder, made
        return done[target]

    return build
