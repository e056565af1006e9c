"""Fixtures for quantizers that become configs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from quantable.driver.pipelines import resolve
from quantable.driver.quantized_models import with_kept_weights
from quantable.frontend import import_model
from quantable.ir import Graph, verify
from quantable.passes.base import PassContext, run_passes
from quantable.passes.quantize.adopt_quantizers import AdoptQuantizers
from quantable.reference import FloatExecutor, ReferenceRuntime
from quantable.targets.description import load_target
from tests.passes.quantize.adopting import Adopt, Remarks, parsed


@pytest.fixture
def adopt(tmp_path: Path) -> Adopt:
    """Import a model given as text, adopt its quantizers, and check that no result changes."""

    def run(
        text: str, *, target: str = "onnxruntime", canonical: bool = False,
        partial: bool = False, remarks: Remarks | None = None,
    ) -> Graph:  # fmt: skip
        path = tmp_path / "model.onnx"
        onnx.save(parsed(text), path)
        context = PassContext(FloatExecutor(), load_target(target), None, remarks or [])
        graph = import_model(path)
        if canonical:
            graph = run_passes(graph, resolve(with_kept_weights("canonicalize")), context)
        made = run_passes(graph, [AdoptQuantizers(partial)], context)
        verify(made)
        if remarks is not None:
            remarks[:] = context.remarks
        rng = np.random.default_rng(3)
        given = {
            name: rng.normal(0, 30, [int(d) for d in graph.values[name].shape or ()]).astype("f4")
            for name in graph.inputs
        }
        before, after = ReferenceRuntime(graph).run(given), ReferenceRuntime(made).run(given)
        for name in graph.outputs:
            np.testing.assert_array_equal(after[name], before[name], strict=True)
        return made

    return run
