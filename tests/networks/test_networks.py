"""The main job on every shared network: same floats, same integers, explained differences."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from quantable.driver import api
from quantable.driver.validate import Claim, validate
from tests.networks.conftest import Case

pytestmark = pytest.mark.slow
Compiled = Callable[[Case, str], Path]


def _broken(claims: list[Claim]) -> list[str]:
    return [f"{claim.name}: {claim.found}" for claim in claims if not claim.held]


def test_float_reference_equals_onnx_runtime(case: Case) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(case.model, providers=["CPUExecutionProvider"])
    graph = api.canonicalize(api.import_model(case.model))
    inputs = case.inputs("evaluation", 16)
    ours = api.run(graph, inputs)
    for index, item in enumerate(session.get_outputs()):
        theirs = np.concatenate([session.run(None, sample)[index] for sample in inputs])
        error = np.linalg.norm(ours[item.name] - theirs) / np.linalg.norm(theirs)
        assert error <= 1e-4


def test_compiled_code_gives_the_integers_of_the_reference(
    case: Case, compiled: Compiled, compilers: list[str]
) -> None:
    flags = ("-O2", "-O2 -march=native", "-O3 -march=native")
    claims = validate(
        compiled(case, "x86-vnni"), case.evaluation(), compilers=compilers, flags=flags
    )
    assert sum("integers equal" in claim.name for claim in claims) == 3 * len(compilers)
    assert _broken(claims) == []


def test_portable_code_gives_the_integers_of_the_reference(case: Case, compiled: Compiled) -> None:
    flags = ("-O2", "-O3")
    claims = validate(compiled(case, "c-portable"), case.inputs("evaluation", 16), flags=flags)
    assert sum("integers equal" in claim.name for claim in claims) == 2
    assert _broken(claims) == []


def test_onnx_runtime_differs_only_where_it_is_explained(case: Case, compiled: Compiled) -> None:
    claims = validate(compiled(case, "onnxruntime"), case.inputs("evaluation", 32))
    assert _broken(claims) == []
