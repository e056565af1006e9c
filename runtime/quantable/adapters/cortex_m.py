"""Run emitted C code on an emulated Cortex-M board, and count its instructions.

The code is compiled with ``arm-none-eabi-gcc`` and runs under ``qemu-system-arm``, with the
start-up code in ``mps2/``. The emulator's clock counts instructions, so counts are the same in
every run; it knows nothing of cycles.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np

from quantable.adapters.c_compiler import (
    STRICT,
    Array,
    TensorInfo,
    border_tensors,
    compile_c,
    integer_of,
    read_manifest,
    sample_batches,
)
from quantable.ir import InternalError, UserError

COMPILER = "arm-none-eabi-gcc"
EMULATOR = "qemu-system-arm"
_SIZE = "arm-none-eabi-size"
_PACKAGES = {
    COMPILER: "gcc-arm-none-eabi libnewlib-arm-none-eabi",
    _SIZE: "binutils-arm-none-eabi",
    EMULATOR: "qemu-system-arm",
}
_BOARD_FILES = ("board.c", "board.h", "steps.h", "mps2.ld")
_SHIFT = 5
"""An instruction takes 2**5 ns of the emulator's time, a tick of the timer 40 ns."""
_TICK_NS = 40


@dataclass(frozen=True, slots=True)
class Processor:
    """A core that can be emulated: compiler flags, and the board that has it."""

    flags: tuple[str, ...]
    board: str


PROCESSORS: Mapping[str, Processor] = {
    "cortex-m4": Processor(
        ("-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"), "mps2-an386"
    ),
    "cortex-m4-nofp": Processor(("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=soft"), "mps2-an386"),
    "cortex-m7": Processor(
        ("-mcpu=cortex-m7", "-mthumb", "-mfpu=fpv5-d16", "-mfloat-abi=hard"), "mps2-an500"
    ),
}
"""By name."""


@dataclass(frozen=True, slots=True)
class EmulatedRun:
    """What a run gave.

    Attributes:
        outputs: Integers by value name, with a leading axis of samples.
        instructions: Of each sample, to within two: a tick is 1.25 instructions.
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


def missing_tools() -> tuple[str, ...]:
    """Return the programs that this machine lacks."""
    return tuple(name for name in _PACKAGES if shutil.which(name) is None)


class EmulatedModel:
    """Emitted C code on an emulated board.

    Args:
        build_dir: Where it was emitted.
        flags: Optimization flags; the processor says all others.
        processor: A name of `PROCESSORS`.
        is_profiled: Count the instructions of every step; adds about ten to each.

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
        processor: str = "cortex-m4",
        is_profiled: bool = False,
    ) -> None:
        _require_tools()
        if processor not in PROCESSORS:
            raise UserError(
                f"expected a processor of {', '.join(PROCESSORS)}, found '{processor}'",
                help="name one of them",
            )
        self._root = Path(build_dir).absolute()
        self._processor = PROCESSORS[processor]
        self._flags = tuple(flags)
        self._is_profiled = is_profiled
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
        with tempfile.TemporaryDirectory(prefix="quantable-") as name:
            folder = Path(name)
            self._build(folder, count)
            data = b"".join(batch[i].tobytes() for i in range(count) for batch in batches)
            (folder / "inputs.bin").write_bytes(data)
            _emulate(self._processor.board, folder, timeout)
            words = np.frombuffer((folder / "counts.bin").read_bytes(), np.uint32)
            results = (folder / "outputs.bin").read_bytes()
        scaled = [round(int(word) * _TICK_NS / 2**_SHIFT) for word in words]
        steps = {i: n for i, n in enumerate(scaled[count + 1 :]) if n}
        outputs = self._split(results, count)
        return EmulatedRun(outputs, tuple(scaled[:count]), int(words[count]), steps)

    def sizes(self) -> Sizes:
        """Link the program and return what it takes.

        Raises:
            UserError: The compiler rejects the code.
        """
        with tempfile.TemporaryDirectory(prefix="quantable-") as name:
            program = self._build(Path(name), 1)
            command = [_SIZE, "-A", str(program)]
            listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        rows = [line.split() for line in listed.splitlines()]
        found = {row[0]: int(row[1]) for row in rows if len(row) == 3 and row[1].isdigit()}
        arena = integer_of(self.manifest, "arena_bytes")
        return Sizes(found.get(".text", 0), found.get(".weights", 0), arena)

    def _build(self, folder: Path, samples: int) -> Path:
        for name in _BOARD_FILES:
            source = files("quantable.adapters") / "mps2" / name
            (folder / name).write_text(source.read_text("utf-8"), "utf-8")
        (folder / "network.c").write_text(self._network_text(samples), "utf-8")
        common = [*STRICT, *self._processor.flags, *self._flags, f"-I{self._root}", f"-I{folder}"]
        common += ["-ffunction-sections", "-fdata-sections"]
        hook = ["-include", str(folder / "steps.h")] if self._is_profiled else []
        for source_path, more in (
            (folder / "board.c", []), (folder / "network.c", []),
            (self._root / "model.c", hook), (self._root / "model_weights.c", []),
        ):  # fmt: skip
            target = folder / f"{source_path.stem}.o"
            compile_c(COMPILER, [*common, *more, "-c"], [source_path], target)
        link = [
            *self._processor.flags, "-nostartfiles", "--specs=nano.specs", "--specs=nosys.specs",
            "-Wl,--gc-sections", "-T", str(folder / "mps2.ld"),
        ]  # fmt: skip
        objects = [folder / f"{stem}.o" for stem in ("board", "network", "model", "model_weights")]
        compile_c(COMPILER, link, objects, folder / "program.elf")
        return folder / "program.elf"

    def _network_text(self, samples: int) -> str:
        """Return network.c: the tensors, and the call of the generated code."""
        prefix = str(self.manifest["prefix"])
        arena = max(integer_of(self.manifest, "arena_bytes"), 1)
        alignment = integer_of(self.manifest, "arena_alignment")
        steps = self.manifest["layers"]
        assert isinstance(steps, list)
        lines = ['#include "model.h"', '#include "board.h"', ""]
        lines.append(f"static _Alignas({alignment}) uint8_t arena[{arena}];")
        names = []
        for side, tensors in (("in", self.inputs), ("out", self.outputs)):
            for i, tensor in enumerate(tensors):
                names.append(f"{side}{i}")
                lines.append(f"static {tensor.dtype.name}_t {side}{i}[{_elements(tensor)}];")
        for word, side, tensors in (
            ("input", "in", self.inputs), ("output", "out", self.outputs)
        ):  # fmt: skip
            rows = ", ".join(f"{{{side}{i}, sizeof {side}{i}}}" for i in range(len(tensors)))
            lines.append(f"const board_tensor board_{word}s[] = {{{rows or '{0, 0}'}}};")
            lines.append(f"const uint32_t board_{word}_count = {len(tensors)};")
        lines += [
            f"const uint32_t board_samples = {samples};",
            f"const uint32_t board_steps = {len(steps) + 2};",
            f"uint32_t board_step_ticks[{len(steps) + 2}];",
            "int board_network(void) {",
            f"  return {prefix}_run({', '.join(['arena', 'sizeof arena', *names])});",
            "}",
        ]
        return "\n".join(lines) + "\n"

    def _split(self, results: bytes, count: int) -> dict[str, Array]:
        sizes = [_elements(t) * t.dtype.itemsize for t in self.outputs]
        rows = np.frombuffer(results, np.uint8).reshape(count, sum(sizes))
        found, at = {}, 0
        for tensor, size in zip(self.outputs, sizes, strict=True):
            part = np.ascontiguousarray(rows[:, at : at + size]).view(tensor.dtype)
            found[tensor.value] = part.reshape(count, *tensor.shape)
            at += size
        return found


def _elements(tensor: TensorInfo) -> int:
    return int(np.prod(tensor.shape, dtype=np.int64))


def _require_tools() -> None:
    missing = missing_tools()
    if missing:
        packages = " ".join(dict.fromkeys(_PACKAGES[name] for name in missing))
        raise UserError(
            f"expected {', '.join(missing)} on this machine, found none",
            help=f"install them; on Debian: apt-get install {packages}",
        )


def _emulate(board: str, folder: Path, timeout: float) -> None:
    command = [
        EMULATOR, "-M", board, "-nographic", "-monitor", "none", "-serial", "none",
        "-icount", f"shift={_SHIFT},sleep=off",
        "-semihosting-config", "enable=on,target=native", "-kernel", "program.elf",
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False, timeout=timeout,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise UserError(
            f"the emulator did not end within {timeout:g} s", help="give it fewer samples"
        ) from error
    if done.returncode:
        raise InternalError(
            f"the emulated program ended with code {done.returncode}: {done.stderr.strip()}"
        )
