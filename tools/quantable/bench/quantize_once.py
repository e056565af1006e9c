"""One quantizer, once, in this process: what the benchmarks start.

``python -m quantable.bench.quantize_once TOOL MODEL IMAGES FOLDER`` prints one line of JSON:
seconds of work after the imports and its processor time (of all cores), processor time and peak
memory of the whole process. The tool is
one of `TOOLS`, one of `quantable.bench.peers.PEERS`, or one of our targets as TARGET/EFFORT.
"""

from __future__ import annotations

import importlib
import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time

import numpy as np

from quantable.bench.machine import peak_memory_mb

Work = Callable[[Path, Path, Path], None]
"""Quantizes (model, images, folder) once the packages are imported."""


def write_images(shared: str, path: str, count: str) -> None:
    """Write the first ImageNet calibration images, normalized, as one [n, 1, 3, 224, 224] file."""
    from quantable.bench.datasets import MEAN, STD, read_image

    files = sorted((Path(shared) / "data" / "imagenet_calibration").glob("*.jpg"))[: int(count)]
    images = []
    for file in files:
        pixels = read_image(file, (224, 224)).astype(np.float32)
        images.append(((pixels / 255 - MEAN) / STD).transpose(2, 0, 1)[None])
    np.save(path, np.stack(images).astype(np.float32))


def _import_passes() -> None:
    """Import what is imported when it is first used: work does not include imports."""
    from quantable.passes.registry import PASSES

    for name in ("quantable.frontend", "quantable.text.match"):
        importlib.import_module(name)
    for entry in PASSES.values():
        entry.load()


def _quantable() -> Work:
    from quantable.driver import api, runtime

    runtime.executor()
    _import_passes()

    def work(model: Path, images: Path, folder: Path) -> None:
        graph = api.canonicalize(api.import_model(model))
        profile = api.observe(graph, list(np.load(images, mmap_mode="r")))
        quantized = api.refine(api.calibrate(api.quantize(graph, "onnxruntime"), profile))
        api.save(graph, folder / "float.qir")
        api.save_profile(profile, folder / "images.qprof")
        api.save(quantized, folder / "onnxruntime.qir")

    return work


def _second_target() -> Work:
    from quantable.driver import api

    _import_passes()

    def work(model: Path, images: Path, folder: Path) -> None:
        del model, images
        graph = api.load(folder / "float.qir")
        profile = api.load_profile(folder / "images.qprof")
        quantized = api.refine(api.calibrate(api.quantize(graph, "x86-vnni"), profile))
        api.save(quantized, folder / "x86-vnni.qir")

    return work


def _peer(tool: str) -> Work:
    from quantable.bench.peers import PEERS

    _, quantize = PEERS[tool]
    for name in _PEER_PACKAGES[tool.partition("-")[0]]:
        importlib.import_module(name)
    return lambda model, images, folder: quantize(model, np.load(images, mmap_mode="r"), folder)


def _onnxruntime() -> Work:
    from onnxruntime.quantization import quantize_static

    from quantable.bench.peers import batch_reader, input_name

    def work(model: Path, images: Path, folder: Path) -> None:
        reader = batch_reader(input_name(model), np.load(images, mmap_mode="r"))
        quantize_static(str(model), str(folder / "onnxruntime.onnx"), reader)

    return work


TOOLS: dict[str, Callable[[], Work]] = {
    "quantable": _quantable,
    "second-target": _second_target,
    "onnxruntime": _onnxruntime,
}


"""Tools with stages of their own."""
_PEER_PACKAGES = {
    "nncf": ("nncf", "openvino"),
    "ort": ("onnxruntime.quantization", "onnxruntime.quantization.shape_inference"),
}
"""What is imported before the clock starts, by the first word of a peer's name."""


def work_of(tool: str) -> Work:
    """Return what runs a tool; everything that it needs is imported."""
    if tool in TOOLS:
        return TOOLS[tool]()
    if "/" in tool:
        from quantable.bench.own import work_of_target

        work = work_of_target(tool)
        _import_passes()
        return work
    return _peer(tool)


def is_own(tool: str) -> bool:
    """Whether a tool is ours, and ends as the command line ends."""
    return "/" in tool or tool in ("quantable", "second-target")


def main(tool: str, model: str, images: str, folder: str) -> None:
    """Run one tool and print what it took."""
    work = work_of(tool)
    start, used = perf_counter(), process_time()
    work(Path(model), Path(images), Path(folder))
    elapsed, spent = perf_counter() - start, process_time() - used
    usage = resource.getrusage(resource.RUSAGE_SELF)
    facts = {
        "work_s": elapsed,
        "work_cpu_s": spent,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_mb": peak_memory_mb(),
    }
    sys.stdout.write(json.dumps(facts) + "\n")
    if is_own(tool):
        from quantable.cli.main import leave

        leave(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
