"""Programs for an emulated RISC-V machine: build them, run them, and count their instructions.

Code is compiled for a core of the table `PROCESSORS`, linked without a C library, and runs under
``qemu-system-riscv32`` or ``-riscv64`` on the machine `virt`, with the start-up code in ``virt/``.
A tick of its clock is an instruction, so counts are the same in every run; a vector instruction
counts as one, however long its vectors are.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np

from quantable.adapters.c_compiler import STRICT, compile_c
from quantable.adapters.emulator import Counts
from quantable.ir import InternalError, UserError

GCC = "riscv64-unknown-elf-gcc"
CLANG = "clang-19"
"""Older ones have other names for vector intrinsics."""
_SIZE = "riscv64-unknown-elf-size"
PACKAGES = {
    GCC: "gcc-riscv64-unknown-elf", _SIZE: "binutils-riscv64-unknown-elf", CLANG: "clang-19",
    "qemu-system-riscv32": "qemu-system-misc", "qemu-system-riscv64": "qemu-system-misc",
}  # fmt: skip
"""Of Debian, by tool; gcc links what clang compiled, too."""
_BOARD_FILES = ("board.c", "board.h", "steps.h", "string.h", "math.h", "virt.ld")


@dataclass(frozen=True, slots=True)
class Processor:
    """A core that can be emulated.

    Attributes:
        compiler: What compiles for it.
        bits: Of an address.
        march, mabi: Its instructions, and how functions are called.
        cpu: What the emulator calls it.
    """

    compiler: str
    bits: int
    march: str
    mabi: str
    cpu: str

    @property
    def flags(self) -> tuple[str, ...]:
        """What the compiler is told."""
        target = (f"--target=riscv{self.bits}-unknown-elf",) if self.compiler == CLANG else ()
        # The machine is bare: no C library, but what compilers know of its functions holds.
        return (
            *target, f"-march={self.march}", f"-mabi={self.mabi}", "-mcmodel=medany",
            "-ffreestanding", "-fbuiltin",
        )  # fmt: skip

    @property
    def emulator(self) -> str:
        return f"qemu-system-riscv{self.bits}"


def _vectors(bits: int, length: int) -> str:
    return f"rv{bits},v=true,vlen={length},elen={bits},vext_spec=v1.0"


PROCESSORS: Mapping[str, Processor] = {
    "rv32imac": Processor(GCC, 32, "rv32imac_zicsr", "ilp32", "rv32"),
    "rv32imac-clang": Processor(CLANG, 32, "rv32imac_zicsr", "ilp32", "rv32"),
    "rv32imafc": Processor(GCC, 32, "rv32imafc_zicsr", "ilp32f", "rv32"),
    "rv64gc": Processor(CLANG, 64, "rv64gc", "lp64d", "rv64"),
    **{
        f"rv32imac-zve32x-{n}": Processor(
            CLANG, 32, "rv32imac_zicsr_zve32x_zvl128b", "ilp32", _vectors(32, n)
        )
        for n in (128, 256, 512)
    },
    **{
        f"rv64gcv-{n}": Processor(CLANG, 64, "rv64gcv", "lp64d", _vectors(64, n))
        for n in (128, 256, 512)
    },
}
"""By name; the number behind a core with vectors is their length in bits."""


def missing_tools() -> tuple[str, ...]:
    """Return the programs that this machine lacks."""
    return tuple(name for name in PACKAGES if shutil.which(name) is None)


def require_tools() -> None:
    """Refuse to go on without them.

    Raises:
        UserError: A tool is missing.
    """
    missing = missing_tools()
    if missing:
        packages = " ".join(dict.fromkeys(PACKAGES[name] for name in missing))
        raise UserError(
            f"expected {', '.join(missing)} on this machine, found none",
            help=f"install them; on Debian: apt-get install {packages}",
        )


def processor_named(name: str) -> Processor:
    """Return a row of `PROCESSORS`.

    Raises:
        UserError: There is none of this name.
    """
    if name not in PROCESSORS:
        raise UserError(
            f"expected a processor of {', '.join(PROCESSORS)}, found '{name}'",
            help="name one of them",
        )
    return PROCESSORS[name]


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
        self._flags = tuple(flags)
        self._objects: list[Path] = []
        for name in _BOARD_FILES:
            source = files("quantable.adapters") / "virt" / name
            (folder / name).write_text(source.read_text("utf-8"), "utf-8")

    def add(self, source: Path, more: Iterable[str] = ()) -> None:
        """Compile a file; its name says into which section of the program it goes (virt.ld).

        Args:
            source: The file.
            more: Flags of its own.

        Raises:
            UserError: The compiler rejects it.
        """
        target = self.folder / f"{source.stem}.o"
        flags = [*STRICT, *self._processor.flags, *self._flags, *more, f"-I{self.folder}"]
        flags += ["-ffunction-sections", "-fdata-sections", "-c"]
        compile_c(self._processor.compiler, flags, [source], target, libraries=())
        self._objects.append(target)

    def link(self) -> None:
        """Link all that was added with the board's code.

        Raises:
            UserError: Something is missing, or does not fit the machine.
        """
        self.add(self.folder / "board.c")
        # The linker takes vectors for what they are, gcc 12 does not: it only picks its library.
        march = self._processor.march.split("_")[0].removesuffix("v")
        flags = [
            f"-march={march}", f"-mabi={self._processor.mabi}", "-nostdlib", "-mcmodel=medany",
            "-Wl,--gc-sections", "-T", str(self.folder / "virt.ld"),
        ]  # fmt: skip
        compile_c(GCC, flags, self._objects, self._path, libraries=("-lgcc",))

    def run(self, data: bytes, samples: int, timeout: float) -> tuple[bytes, Counts]:
        """Run the linked program on the inputs of all samples; return their outputs, and counts.

        Raises:
            UserError: The emulator does not end in time.
            InternalError: The program ends with a status of its own.
        """
        (self.folder / "inputs.bin").write_bytes(data)
        self._emulate(timeout)
        words = np.frombuffer((self.folder / "counts.bin").read_bytes(), np.uint32).tolist()
        steps = {i: n for i, n in enumerate(words[samples + 1 :]) if n}
        counts = Counts(tuple(words[:samples]), words[samples], steps)
        return (self.folder / "outputs.bin").read_bytes(), counts

    def section_sizes(self) -> dict[str, int]:
        """Return the bytes of the linked program by section."""
        command = [_SIZE, "-A", str(self._path)]
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        rows = [line.split() for line in listed.splitlines()]
        return {row[0]: int(row[1]) for row in rows if len(row) == 3 and row[1].isdigit()}

    @property
    def _path(self) -> Path:
        return self.folder / "program.elf"

    def _emulate(self, timeout: float) -> None:
        command = [
            self._processor.emulator, "-M", "virt", "-cpu", self._processor.cpu, "-bios", "none",
            "-nographic", "-monitor", "none", "-serial", "none", "-icount", "shift=0,sleep=off",
            "-semihosting-config", "enable=on,target=native", "-kernel", self._path.name,
        ]  # fmt: skip
        try:
            done = subprocess.run(
                command, cwd=self.folder, capture_output=True, text=True, check=False,
                timeout=timeout, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise UserError(
                f"the emulator did not end within {timeout:g} s", help="give it fewer samples"
            ) from error
        if done.returncode:
            raise InternalError(
                f"the emulated program ended with code {done.returncode}: {done.stderr.strip()}"
            )
