"""The text of ``docs/benchmark.md``."""

from __future__ import annotations

from typing import Any

_HEAD = """# Quantizer benchmark

Written by `python -m quantable.bench.quantizers`; do not edit. ResNet-50 and MobileNetV2 with
random weights, 64 images of 224x224, from the ONNX file to a calibrated, baked file on disk. Every
measurement is a fresh process, tools take turns, medians are shown. "process" includes starting
Python and importing packages, "work" does not; "processor" adds
up all cores over the process, "peak" is its resident memory. Quantable's processes end as its
command line does, without taking down the interpreter (0.4 s here); the others as Python ends.

- **quantable**: import, canonicalize, observe, quantize for `onnxruntime`, calibrate, refine, save.
- **second-target**: the saved float graph and profile, quantized for `x86-vnni`, saved.
- **onnxruntime/fast**, **balanced**, **best**: import, `quantize_network` at that effort, save;
  `best`, which takes minutes, is measured once.
- **nncf**: `openvino.convert_model`, `nncf.quantize` with defaults, `openvino.save_model`;
  **nncf-accurate** with `fast_bias_correction=False`.
- **onnxruntime**: `quantize_static` with defaults (QDQ, MinMax, per tensor).

The bars: both times of `quantable` and of `fast` at most those of the faster of NNCF and ONNX
Runtime, those of `balanced` at most those of NNCF with accurate bias correction; the second target
in under a quarter of the time; peak memory of `quantable` at most 1 GB, of every effort 1.5 GB.
"""


def page(facts: dict[str, Any]) -> str:
    """Return the page; facts as `quantable.bench.quantizers.main` gathers them."""
    packages = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    lines = [
        _HEAD,
        f"Machine: {facts['machine']}. Versions: {packages}. Median of {facts['runs']} runs.\n",
        "| network | tool | process s | work s | processor s | peak MB |",
        "|---|---|---|---|---|---|",
        *(
            f"| {row['network']} | {row['tool']} | {row['process_s']:.2f} | {row['work_s']:.2f} "
            f"| {row['cpu_s']:.2f} | {row['peak_mb']:.0f} |"
            for row in facts["rows"]
        ),
        "",
        *([f"- missed: {miss}" for miss in facts["misses"]] or ["Every bar holds."]),
    ]
    return "\n".join(lines) + "\n"
