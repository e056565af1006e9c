"""Programs for emulated machines: build them, run them, and count their instructions.

Code is compiled for a row of `quantable.adapters.processors` and linked with the start-up code in
``boards/``. The emulator's clock counts instructions, so counts are the same in every run; it knows
nothing of cycles, and a vector instruction counts as one, however long its vectors are.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import numpy.typing as npt

from quantable.adapters import bochs
from quantable.adapters.c_compiler import STRICT, TensorInfo, compile_c
from quantable.adapters.processors import BOCHS, Processor
from quantable.ir import InternalError, UserError

SMALL_LIBRARY = "--specs=nano.specs"
"""The C library of Cortex-M made for size: its memcpy copies byte by byte."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What a run counted.

    Attributes:
        instructions: Of each sample; on Cortex-M to within two, where a tick of the clock is up to
            1.25 instructions.
        stack_bytes: The most that was in use, board and network.
        steps: Instructions by step number, over all samples; empty without steps.h.
    """

    instructions: tuple[int, ...]
    stack_bytes: int
    steps: dict[int, int]


def elements(tensor: TensorInfo) -> int:
    """Return how many elements a border tensor has."""
    return int(np.prod(tensor.shape, dtype=np.int64))


class Program:
    """A program in the making, in a folder of its own; board.h is to be had there.

    Args:
        folder: Where all files go.
        processor: The core.
        flags: Optimization flags; the processor says all others.
    """

    def __init__(self, folder: Path, processor: Processor, flags: Sequence[str]) -> None:
        self.folder = folder
        self._processor = processor
        self._compile_flags = processor.compile_flags()
        self._flags = tuple(flags)
        self._objects: dict[Path, None] = {}
        for name in processor.files:
            source = files("quantable.adapters") / "boards" / name
            (folder / Path(name).name).write_text(source.read_text("utf-8"), "utf-8")

    def add(self, source: Path, more: Iterable[str] = (), *, is_strict: bool = True) -> None:
        """Compile a file; its name says into which section of the program it goes.

        A file of the same name that was added before gives way.

        Args:
            source: The file.
            more: Flags of its own.
            is_strict: Whether it has to be free of warnings.

        Raises:
            UserError: The compiler rejects it.
        """
        target = self.folder / f"{source.stem}.o"
        flags = [*(STRICT if is_strict else ("-w",)), *self._compile_flags, *self._flags, *more]
        flags += [f"-I{self.folder}", "-ffunction-sections", "-fdata-sections", "-c"]
        compile_c(self._processor.compiler, flags, [source], target, libraries=())
        self._objects[target] = None

    def link(self, *, library: str = SMALL_LIBRARY) -> None:
        """Link all that was added with the machine's code.

        Args:
            library: A flag that chooses the C library, where the machine has one; '' for the one
                made for speed.

        Raises:
            UserError: Something is missing, or does not fit the machine.
        """
        processor = self._processor
        for name in processor.files:
            if name.endswith((".c", ".S")):
                self.add(self.folder / Path(name).name, processor.machine_flags)
        chosen = [library] if library and "-nostdlib" not in processor.linker else []
        linker, *flags = processor.linker
        flags += [*chosen, "-Wl,--gc-sections", f"-L{self.folder}"]
        compile_c(linker, flags, list(self._objects), self._path, libraries=processor.libraries)

    def run(self, data: bytes, samples: int, timeout: float) -> tuple[bytes, Counts]:
        """Run the linked program on the inputs of all samples; return their outputs, and counts.

        Raises:
            UserError: The emulator does not end in time.
            InternalError: The program ends with a status of its own.
        """
        (self.folder / "inputs.bin").write_bytes(data)
        self._emulate(timeout)
        words = np.frombuffer((self.folder / "counts.bin").read_bytes(), np.uint32)
        scaled = [round(int(word) * self._processor.tick) for word in words]
        steps = {i: n for i, n in enumerate(scaled[samples + 1 :]) if n}
        counts = Counts(tuple(scaled[:samples]), int(words[samples]), steps)
        return (self.folder / "outputs.bin").read_bytes(), counts

    def section_sizes(self) -> dict[str, int]:
        """Return the bytes of the linked program by section."""
        command = [self._processor.size, "-A", str(self._path)]
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        rows = [line.split() for line in listed.splitlines()]
        return {row[0]: int(row[1]) for row in rows if len(row) == 3 and row[1].isdigit()}

    @property
    def _path(self) -> Path:
        return self.folder / "program.elf"

    def _emulate(self, timeout: float) -> None:
        command = self._processor.command
        if command[0] == BOCHS:
            emulator, model = command
            bochs.emulate(self._path, emulator, model, timeout)
            return
        try:
            done = subprocess.run(
                [*command, self._path.name], cwd=self.folder, capture_output=True, text=True,
                check=False, timeout=timeout, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise UserError(
                f"the emulator did not end within {timeout:g} s", help="give it fewer samples"
            ) from error
        if done.returncode:
            raise InternalError(
                f"the emulated program ended with code {done.returncode}: {done.stderr.strip()}"
            )


def network_text(
    inputs: Sequence[TensorInfo],
    outputs: Sequence[TensorInfo],
    samples: int,
    steps: int,
    call: str,
) -> str:
    """Return network.c: the border tensors ``in0``, ``out0`` .. and the call of the code.

    Args:
        inputs: Read for every sample.
        outputs: Written for every sample.
        samples: How many there are.
        steps: How many steps may be counted.
        call: A C expression over the tensors; the status of the code.
    """
    lines = ['#include "model.h"', '#include "board.h"', ""]
    for side, tensors in (("in", inputs), ("out", outputs)):
        for i, tensor in enumerate(tensors):
            lines.append(f"static {tensor.dtype.name}_t {side}{i}[{elements(tensor)}];")
    for word, side, tensors in (("input", "in", inputs), ("output", "out", outputs)):
        rows = ", ".join(f"{{{side}{i}, sizeof {side}{i}}}" for i in range(len(tensors)))
        lines.append(f"const board_tensor board_{word}s[] = {{{rows or '{0, 0}'}}};")
        lines.append(f"const uint32_t board_{word}_count = {len(tensors)};")
    lines += [
        f"const uint32_t board_samples = {samples};",
        f"const uint32_t board_steps = {steps};",
        f"uint32_t board_step_ticks[{steps}];",
        f"int board_network(void) {{ return {call}; }}",
    ]
    return "\n".join(lines) + "\n"


def split_outputs(
    tensors: Sequence[TensorInfo], results: bytes, samples: int
) -> dict[str, npt.NDArray[np.generic]]:
    """Return outputs.bin by value name, with a leading axis of samples."""
    sizes = [elements(t) * t.dtype.itemsize for t in tensors]
    rows = np.frombuffer(results, np.uint8).reshape(samples, sum(sizes))
    found, at = {}, 0
    for tensor, size in zip(tensors, sizes, strict=True):
        part = np.ascontiguousarray(rows[:, at : at + size]).view(tensor.dtype)
        found[tensor.value] = part.reshape(samples, *tensor.shape)
        at += size
    return found
