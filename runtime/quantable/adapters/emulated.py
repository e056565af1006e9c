"""Run emitted C code on an emulated machine, and count its instructions."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from quantable.adapters.c_compiler import (
    Array,
    border_tensors,
    integer_of,
    read_manifest,
    sample_batches,
)
from quantable.adapters.c_entry import push_text
from quantable.adapters.emulator import Program, network_text, split_outputs
from quantable.adapters.processors import processor_named, require_tools


@dataclass(frozen=True, slots=True)
class EmulatedRun:
    """What a run gave.

    Attributes:
        outputs: Integers by value name, with a leading axis of samples.
        instructions: Of each sample; on Cortex-M to within two.
        stack_bytes: The most that was in use, board and network.
        steps: Instructions by step number, over all samples; empty without `is_profiled`.
    """

    outputs: dict[str, Array]
    instructions: tuple[int, ...]
    stack_bytes: int
    steps: dict[int, int]


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of the linked program: code with its constants but weights, weights, arena."""

    code: int
    weights: int
    arena: int


class EmulatedModel:
    """Emitted C code on an emulated machine.

    Args:
        build_dir: Where it was emitted.
        flags: Optimization flags; the processor says all others.
        processor: A name of `quantable.adapters.processors.PROCESSORS`.
        is_profiled: Count the instructions of every step; adds about ten to each.
        by_rows: Hand in the rows of an input one after the other.

    Attributes:
        manifest: ``manifest.json``.
        inputs, outputs: The border tensors.

    Raises:
        UserError: A tool is missing, or the processor is unknown.
        FormatError: The directory does not hold emitted C code.
    """

    def __init__(
        self,
        build_dir: str | os.PathLike[str],
        *,
        flags: Sequence[str] = ("-O2",),
        processor: str,
        is_profiled: bool = False,
        by_rows: bool = False,
    ) -> None:
        self._root = Path(build_dir).absolute()
        self._processor = processor_named(processor)
        require_tools(processor)
        self._flags = tuple(flags)
        self._is_profiled = is_profiled
        self._by_rows = by_rows
        self.manifest = read_manifest(self._root)
        self.inputs = border_tensors(self.manifest, "inputs")
        self.outputs = border_tensors(self.manifest, "outputs")

    def run(self, inputs: Mapping[str, Array], *, timeout: float = 300.0) -> EmulatedRun:
        """Run integer inputs through the code.

        Args:
            inputs: Integers by value name, with a leading axis of samples.
            timeout: Seconds that the emulator may take.

        Raises:
            DataError: An input is missing, or has the wrong shape or type.
            UserError: The compiler rejects the code, or the emulator does not end in time.
        """
        batches, count = sample_batches(self.inputs, inputs)
        data = b"".join(batch[i].tobytes() for i in range(count) for batch in batches)
        with tempfile.TemporaryDirectory(prefix="quantable-") as name:
            results, counts = self._build(Path(name), count).run(data, count, timeout)
        outputs = split_outputs(self.outputs, results, count)
        return EmulatedRun(outputs, counts.instructions, counts.stack_bytes, counts.steps)

    def sizes(self) -> Sizes:
        """Link the program and return what it takes.

        Raises:
            UserError: The compiler rejects the code.
        """
        with tempfile.TemporaryDirectory(prefix="quantable-") as name:
            found = self._build(Path(name), 1).section_sizes()
        arena = integer_of(self.manifest, "arena_bytes")
        return Sizes(found.get(".text", 0), found.get(".weights", 0), arena)

    def _build(self, folder: Path, samples: int) -> Program:
        program = Program(folder, self._processor, [*self._flags, f"-I{self._root}"])
        (folder / "network.c").write_text(self._network_text(samples), "utf-8")
        program.add(folder / "network.c")
        hook = ["-include", str(folder / "steps.h")] if self._is_profiled else []
        program.add(self._root / "model.c", hook)
        program.add(self._root / "model_weights.c")
        program.link()
        return program

    def _network_text(self, samples: int) -> str:
        prefix = str(self.manifest["prefix"])
        arena = max(integer_of(self.manifest, "arena_bytes"), 1)
        alignment = integer_of(self.manifest, "arena_alignment")
        steps = self.manifest["layers"]
        assert isinstance(steps, list)
        names = [f"in{i}" for i in range(len(self.inputs))]
        names += [f"out{i}" for i in range(len(self.outputs))]
        call = f"{prefix}_run({', '.join(['arena', 'sizeof arena', *names])})"
        head = f"#include <stdint.h>\nstatic _Alignas({alignment}) uint8_t arena[{arena}];\n"
        if self._by_rows:
            head = f'#include "model.h"\n{head}{push_text(self.manifest)}'
            call = f"quantable_push(arena, sizeof arena, (void *const[]){{{', '.join(names)}}})"
        text = network_text(self.inputs, self.outputs, samples, len(steps) + 2, call)
        return head + text
