"""Build the programs, run them, and count."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from quantable.adapters.c_compiler import Array, TensorInfo, integer_of
from quantable.adapters.emulated import EmulatedModel
from quantable.adapters.emulator import (
    Counts,
    Program,
    network_text,
    split_outputs,
)
from quantable.adapters.processors import processor_named, require_tools
from quantable.bench.cmsis_nn.driver import SCRATCH_BYTES, Driver, weights_header
from quantable.bench.cmsis_nn.scales import signed_offset
from quantable.ir import UserError

_FAST_LIBRARY = ""
"""newlib, not newlib-nano: CMSIS-NN copies windows with memcpy."""
_SKIPPED = ("_f16", "_f32", "_flt", "_s4", "_svdf", "_lstm", "_s16.c")
"""Files of CMSIS-NN for other types or layers, by parts of their names."""
_NEEDED = ("_s8_s16",)


@dataclass(frozen=True, slots=True)
class Count:
    """What one program takes.

    Attributes:
        instructions: Of one inference; of several samples, the most.
        code_bytes: Code and its constants, without weights.
        activation_bytes: Memory for activations, without input and output.
        scratch_bytes: Memory for a layer's own use, beside the stack.
        stack_bytes: The most that was in use.
        steps: Instructions by step, if asked for.
    """

    instructions: int
    code_bytes: int
    activation_bytes: int
    scratch_bytes: int
    stack_bytes: int
    steps: dict[int, int]


def sources(root: Path) -> list[Path]:
    """Return the C files of a checkout of CMSIS-NN that layers of bytes may need.

    Raises:
        UserError: The folder is no checkout.
    """
    found = [
        path
        for path in sorted((root / "Source").glob("*/*.c"))
        if any(part in path.name for part in _NEEDED)
        or not any(part in path.name for part in _SKIPPED)
    ]
    if not found or not (root / "Include" / "arm_nnfunctions.h").is_file():
        raise UserError(
            "expected a checkout of CMSIS-NN, with Include/arm_nnfunctions.h and Source",
            where=str(root),
        )
    return found


class Theirs:
    """CMSIS-NN with the calls of one network.

    Args:
        root: The checkout.
        includes: Further folders of headers (CMSIS-Core).
        driver: The calls.
        processor: A name of `quantable.adapters.processors.PROCESSORS`.
    """

    def __init__(
        self, root: Path, includes: Sequence[Path], driver: Driver, processor: str
    ) -> None:
        require_tools(processor)
        self._sources = sources(root)
        self._flags = [f"-I{path}" for path in (root / "Include", *includes)]
        self._driver = driver
        self._processor = processor_named(processor)

    def count(self, samples: Array, level: str, *, is_profiled: bool) -> tuple[Array, Count]:
        """Run bytes [samples, ...]; return the outputs, and what was counted."""
        count, driver = len(samples), self._driver
        offset = signed_offset(samples.dtype)
        data = (samples.astype(np.int16) - offset).astype(np.int8).tobytes()
        call = "cmsis_nn_run(in0, out0)"
        with tempfile.TemporaryDirectory(prefix="quantable-") as name:
            program = self._build(Path(name), level, is_profiled=is_profiled)
            text = network_text(driver.inputs, driver.outputs, count, driver.steps + 2, call)
            results, counts = _run(program, text, data, count)
            (output,) = split_outputs(driver.outputs, results, count).values()
            code = program.section_sizes()[".text"]
            scratch = self._scratch(program)
        return output, Count(
            max(counts.instructions), code, driver.live_bytes, scratch, counts.stack_bytes,
            counts.steps,
        )  # fmt: skip

    def _build(self, folder: Path, level: str, *, is_profiled: bool) -> Program:
        driver = self._driver
        for name, text in (
            ("model.c", driver.model), ("model.h", driver.header),
            ("model_weights.c", driver.weights),
            ("model_weights.h", weights_header(driver.weights)),
        ):  # fmt: skip
            (folder / name).write_text(text, "utf-8")
        program = Program(folder, self._processor, [level, *self._flags])
        hook = ["-include", str(folder / "steps.h")] if is_profiled else []
        program.add(folder / "model.c", hook, is_strict=False)
        program.add(folder / "model_weights.c")
        for source in self._sources:
            program.add(source, is_strict=False)
        return program

    def _scratch(self, program: Program) -> int:
        """Ask the layers how much scratch they need, in a program of its own."""
        size = TensorInfo("size", "size", np.dtype(np.int32), (1,), None, 0, 0, 0)
        text = network_text((), (size,), 1, 1, "(out0[0] = cmsis_nn_scratch(), 0)")
        results, _ = _run(program, text, b"", 1)
        found = int(np.frombuffer(results, np.int32)[0])
        if found > SCRATCH_BYTES:
            raise UserError(f"expected layers with at most {SCRATCH_BYTES} bytes, found {found}")
        return found


def ours(
    build_dir: Path, samples: Array, level: str, processor: str, *, is_profiled: bool
) -> Count:
    """Return what the code that was emitted for the same network takes."""
    model = EmulatedModel(build_dir, flags=(level,), processor=processor, is_profiled=is_profiled)
    found = model.run({model.inputs[0].value: samples})
    arena = integer_of(model.manifest, "arena_bytes")
    return Count(
        max(found.instructions), model.sizes().code, arena, 0, found.stack_bytes, found.steps
    )


def _run(program: Program, text: str, data: bytes, samples: int) -> tuple[bytes, Counts]:
    path = program.folder / "network.c"
    path.write_text(text, "utf-8")
    program.add(path)
    program.link(library=_FAST_LIBRARY)
    return program.run(data, samples, 600.0)
