"""Are the claims about a compiled network true? Each is stated, tried, and reported.

- The files are those that the manifest names, and those that the last stage gives when it is
  emitted again.
- C: the integers of the compiled code equal those of the planned graph in the reference runtime,
  on every element, for each compiler and set of flags.
- ONNX: with graph optimizations off, ONNX Runtime's result equals simulated quantization except
  where float32 rounding explains the difference; the cause of each is measured, not assumed.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from quantable.backends.c.border import border
from quantable.backends.registry import backend
from quantable.driver import api, runtime
from quantable.driver.data import Samples, Source
from quantable.driver.emission import changed_files, emit_files, read_manifest
from quantable.driver.golden import border_values
from quantable.driver.preprocessing import Preprocessing
from quantable.driver.stages import STAGE
from quantable.ir import FormatError, Graph, OperationLibrary, graph_digest
from quantable.ir.operation_library import recorded_kinds
from quantable.targets.description import Target, load_target


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim: what was claimed, whether it held, and what was found."""

    name: str
    held: bool
    found: str


def validate(
    directory: str | Path,
    data: Source | Samples,
    preprocessing: Preprocessing | None = None,
    *,
    samples: int | None = None,
    target: str | Path | None = None,
    compilers: Sequence[str] = ("gcc",),
    flags: Sequence[str] = (),
    threads: int = 1,
    runner: Sequence[str] = (),
    progress: api.Progress | None = None,
    operations: OperationLibrary | None = None,
    custom_ops: Sequence[str | Path] = (),
) -> list[Claim]:
    """Try every claim about a folder that `compile` made.

    Args:
        directory: The folder, stage files included.
        data, preprocessing, samples: Inputs to compare on, see `open_samples`.
        target: Description file, where the graph's target is none of the shipped ones.
        compilers: For C: names of compilers.
        flags: For C: sets of flags, each tried with each compiler; '-O2', and with it what the
            target's kernels tell apart, where none is given.
        threads: For C: how many share a run.
        runner: For C of another machine: the emulator that runs it, and its options.
        progress: Told about every sample.
        operations: The user operations at hand; by default those of installed packages.
        custom_ops: For ONNX: shared libraries with ONNX Runtime's kernels of user operations.

    Raises:
        FormatError: The folder lacks what `compile` writes, a file is damaged, or the code is not
            of a kind that threads can share.
        DataError: The data cannot be used.
        UserError: There is no such compiler or emulator, or the code does not run there.
    """
    folder = Path(directory)
    manifest = read_manifest(folder)
    claims = list(_files(folder, manifest))
    graph = emitted_graph(folder, manifest, operations)
    found = load_target(target or graph.target)
    claims.append(_emitted_again(graph, found, manifest))
    inputs = _inputs(data, graph, preprocessing, samples)
    if found.backend == "c":
        tried = flags or [f"-O2 {more}".strip() for more in found.kernels.flags]
        builds = _builds(compilers, tried, threads, runner)
        claims += _compiled_code(folder, graph, inputs, builds, progress)
    else:
        claims.append(_onnx_runtime(graph, inputs, progress, custom_ops))
    return claims


def _inputs(
    data: Source | Samples, graph: Graph, how: Preprocessing | None, samples: int | None
) -> Samples:
    if isinstance(data, Samples):
        return data
    return api.open_samples(data, graph, how, samples=samples)


def _files(folder: Path, manifest: Mapping[str, Any]) -> Iterator[Claim]:
    changed = changed_files(folder, manifest)
    found = f"changed or missing: {', '.join(changed)}" if changed else "all digests agree"
    yield Claim("files are those of the manifest", not changed, found)


def emitted_graph(
    folder: Path, manifest: Mapping[str, Any], operations: OperationLibrary | None = None
) -> Graph:
    """Return the graph that the folder's code was emitted from."""
    for name in (STAGE["plan"].file, STAGE["refine"].file):
        path = folder / name
        if path.is_file():
            graph = api.load(path, operations)
            if graph_digest(graph) == manifest.get("graph_digest"):
                return graph
    raise FormatError(
        "no stage file of the folder is the graph that the code was emitted from",
        where=str(folder), help="validate a folder that `quantable compile` made",
    )  # fmt: skip


def _emitted_again(graph: Graph, target: Target, manifest: Mapping[str, Any]) -> Claim:
    with tempfile.TemporaryDirectory() as scratch:
        again = emit_files(graph, Path(scratch), target)["files"]
    differing = sorted(
        name
        for name in {*again, *manifest["files"]}
        if again.get(name) != manifest["files"].get(name)
    )
    found = f"differ: {', '.join(differing)}" if differing else "the same bytes"
    return Claim("emitting the last stage again gives the files", not differing, found)


def _builds(
    compilers: Sequence[str], flags: Sequence[str], threads: int, runner: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Return how to build the code, by what a person calls it."""
    more = f", {threads} threads" if threads != 1 else ""
    more += f", {runner[0]}" if runner else ""
    return {
        f"{compiler} {flag}{more}": {
            "compiler": compiler, "flags": tuple(flag.split()), "threads": threads,
            "runner": runner,
        }
        for compiler, flag in itertools.product(compilers, flags)
    }  # fmt: skip


def _compiled_code(
    folder: Path,
    graph: Graph,
    inputs: Samples,
    builds: Mapping[str, Mapping[str, Any]],
    progress: api.Progress | None,
) -> Iterator[Claim]:
    edges = border(graph)
    outputs = [tensor.value for tensor in edges.outputs]
    models = {}
    for label, how in builds.items():
        passed, said = runtime.run_selftest()(folder, **how)
        yield Claim(f"self test, {label}", passed, said.strip())
        models[label] = runtime.compiled_model()(folder, **how)
    differing = dict.fromkeys(models, 0)
    elements = 0
    reference = runtime.reference(graph, threads=2)
    for done, values in enumerate(reference.run_each(inputs, border_values(edges)), 1):
        given = {tensor.value: values[tensor.value] for tensor in edges.inputs}
        elements += sum(values[name].size for name in outputs)
        for label, model in models.items():
            results = model.run(given)
            differing[label] += sum(
                int(np.count_nonzero(results[name] != values[name])) for name in outputs
            )
        if progress is not None:
            progress(done, len(inputs))
    for label, count in differing.items():
        found = f"{count} of {elements} elements differ, {len(inputs)} inputs"
        yield Claim(f"integers equal the reference, {label}", count == 0, found)


def _onnx_runtime(
    graph: Graph,
    inputs: Samples,
    progress: api.Progress | None,
    custom_ops: Sequence[str | Path],
) -> Claim:
    claim = "ONNX Runtime equals simulation up to float32 rounding"
    user = recorded_kinds(graph.metadata)
    used = sorted({op.kind for op in graph.operations}.intersection(user))
    if used and not custom_ops:
        found = (
            f"not checked: ONNX Runtime has no {', '.join(used)}; give its kernels: --custom-ops"
        )
        return Claim(claim, False, f"{found} LIBRARY.so")
    compare = runtime.comparison()
    with tempfile.TemporaryDirectory() as scratch:
        probed = backend("onnx").emit(graph, scratch, every_value=True)  # type: ignore[call-arg] # only this backend has it
        theirs = runtime.ort_model()(Path(scratch) / "model.onnx", custom_ops=custom_ops)
        report = compare(
            graph, runtime.reference(graph), theirs, probed["real_values"],
            _counted(inputs, progress),
        )  # fmt: skip
    causes = ", ".join(f"{cause.value}: {count}" for cause, count in report.causes.items())
    found = (
        f"{report.differing} of {report.elements} elements differ (largest {report.largest:.3g}), "
        f"{report.quantized_differing} of {report.quantized} quantized ones; samples: {causes}"
    )
    return Claim(claim, report.is_explained, found)


def _counted(inputs: Samples, progress: api.Progress | None) -> Iterator[Any]:
    for done, sample in enumerate(inputs, 1):
        yield sample
        if progress is not None:
            progress(done, len(inputs))
