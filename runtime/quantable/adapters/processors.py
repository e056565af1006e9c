"""The processors that can be emulated: how code is compiled for them, and the machines they are in.

Programs have no operating system. Start-up code, linker scripts and the loop over samples lie in
``boards/``; what QEMU emulates reaches files of the host by semihosting, Bochs is `bochs`.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from quantable.ir import UserError

CLANG = "clang-19"
"""Older ones have other names for vector intrinsics of RISC-V."""
ARM_GCC, ARM_SIZE = "arm-none-eabi-gcc", "arm-none-eabi-size"
RISCV_GCC, RISCV_SIZE = "riscv64-unknown-elf-gcc", "riscv64-unknown-elf-size"
GCC, SIZE, BOCHS = "gcc", "size", "bochs"
_PACKAGES = {
    ARM_GCC: "gcc-arm-none-eabi libnewlib-arm-none-eabi",
    ARM_SIZE: "binutils-arm-none-eabi",
    "qemu-system-arm": "qemu-system-arm",
    RISCV_GCC: "gcc-riscv64-unknown-elf",
    RISCV_SIZE: "binutils-riscv64-unknown-elf",
    "qemu-system-riscv32": "qemu-system-misc",
    "qemu-system-riscv64": "qemu-system-misc",
    CLANG: "clang-19",
    GCC: "gcc",
    SIZE: "binutils",
    BOCHS: "bochs bochs-term bochsbios",
}
"""Of Debian, by tool."""
SHIFT = 5
"""On a machine with a clock of its own an instruction takes 2**5 ns of the emulator's time."""
_COMMON = ("board.c", "board.h", "steps.h")
_SEMIHOSTED = (*_COMMON, "semihosting.h")
_BARE = ("bare/library.c", "bare/math.h", "bare/string.h")


@dataclass(frozen=True, slots=True)
class Processor:
    """A core, and the machine that has it.

    Attributes:
        compiler: What compiles for it.
        flags: What the compiler is told.
        linker: Program and flags that link; the name of a script is in the folder of the files.
        libraries: Behind the files that are linked.
        files: Of ``boards/``; those in C or assembly belong to the program.
        machine_flags: What their compiler is told beside.
        size: What tells the sizes of sections.
        command: The emulator and its options.
        tick: Instructions between two counts of its clock.
        library: The compiler whose C library clang takes the headers of.
    """

    compiler: str
    flags: tuple[str, ...]
    linker: tuple[str, ...]
    libraries: tuple[str, ...]
    files: tuple[str, ...]
    machine_flags: tuple[str, ...]
    size: str
    command: tuple[str, ...]
    tick: float = 1.0
    library: str | None = None

    @property
    def tools(self) -> tuple[str, ...]:
        """Programs that building and running takes."""
        return tuple(dict.fromkeys((self.linker[0], self.compiler, self.size, self.command[0])))

    def compile_flags(self) -> list[str]:
        """Return the flags of the compiler; clang is told where the C library is."""
        if self.library is None:
            return list(self.flags)
        command = [self.library, "-print-file-name=libc.a"]
        found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        headers = Path(found.strip()).resolve().parent.parent / "include"
        return [*self.flags, "-isystem", str(headers)]


def _qemu(program: str, machine: str, *options: str, shift: int) -> tuple[str, ...]:
    return (
        program, "-M", machine, *options, "-nographic", "-monitor", "none", "-serial", "none",
        "-icount", f"shift={shift},sleep=off", "-semihosting-config", "enable=on,target=native",
        "-kernel",
    )  # fmt: skip


def _cortex_m(machine: str, *flags: str, compiler: str = ARM_GCC) -> Processor:
    is_mps3 = machine.startswith("mps3")
    script, ticks = ("mps3.ld", 32) if is_mps3 else ("mps2.ld", 25)  # ticks in a microsecond
    unused = "-Wno-unused-command-line-argument"  # libraries, where only an object is made
    target = ("--target=arm-none-eabi", unused) if compiler == CLANG else ()
    return Processor(
        compiler, (*target, *flags),
        (ARM_GCC, *flags, "-nostartfiles", "--specs=nosys.specs", "-T", script),
        ("-lm",), (*_SEMIHOSTED, "mps2/mps2.c", f"mps2/{script}"),
        ("-DBOARD_MPS3",) if is_mps3 else (), ARM_SIZE,
        _qemu("qemu-system-arm", machine, shift=SHIFT), 1000 / ticks / 2**SHIFT,
        ARM_GCC if compiler == CLANG else None,
    )  # fmt: skip


def _riscv(bits: int, march: str, mabi: str, cpu: str, compiler: str) -> Processor:
    target = (f"--target=riscv{bits}-unknown-elf",) if compiler == CLANG else ()
    abi = (f"-mabi={mabi}", "-mcmodel=medany")
    # The linker takes vectors for what they are, gcc 12 does not: it only picks its library.
    linked = march.split("_")[0].removesuffix("v")
    return Processor(
        # The machine is bare: no C library, but what compilers know of its functions holds.
        compiler, (*target, f"-march={march}", *abi, "-ffreestanding", "-fbuiltin"),
        (RISCV_GCC, f"-march={linked}", *abi, "-nostdlib", "-T", "virt.ld"), ("-lgcc",),
        (*_SEMIHOSTED, *_BARE, "virt/virt.c", "virt/virt.ld"), (), RISCV_SIZE,
        _qemu(f"qemu-system-riscv{bits}", "virt", "-cpu", cpu, "-bios", "none", shift=0),
    )  # fmt: skip


def _pc(model: str, *flags: str) -> Processor:
    return Processor(
        GCC, (*flags, "-ffreestanding", "-fbuiltin", "-fno-pic"),
        (GCC, "-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none,--no-warn-rwx-segments",
         "-T", "pc.ld"), (),
        (*_COMMON, *_BARE, "pc/boot.S", "pc/pc.c", "pc/pc.ld"), (), SIZE, (BOCHS, model),
    )  # fmt: skip


def _vectors(bits: int, length: int) -> str:
    return f"rv{bits},v=true,vlen={length},elen={bits},vext_spec=v1.0"


_M4, _M55 = (
    (f"-mcpu={core}", "-mthumb", *more)
    for core, *more in (("cortex-m4",), ("cortex-m55", "-mfloat-abi=hard"))
)
_M7 = ("-mcpu=cortex-m7", "-mthumb", "-mfpu=fpv5-d16", "-mfloat-abi=hard")

PROCESSORS: Mapping[str, Processor] = {
    "cortex-m4": _cortex_m("mps2-an386", *_M4, "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"),
    "cortex-m4-nofp": _cortex_m("mps2-an386", *_M4, "-mfloat-abi=soft"),
    "cortex-m7": _cortex_m("mps2-an500", *_M7),
    "cortex-m55": _cortex_m("mps3-an547", *_M55, compiler=CLANG),
    "cortex-m55-gcc": _cortex_m("mps3-an547", *_M55),
    "rv32imac": _riscv(32, "rv32imac_zicsr", "ilp32", "rv32", RISCV_GCC),
    "rv32imac-clang": _riscv(32, "rv32imac_zicsr", "ilp32", "rv32", CLANG),
    "rv32imafc": _riscv(32, "rv32imafc_zicsr", "ilp32f", "rv32", RISCV_GCC),
    "rv64gc": _riscv(64, "rv64gc", "lp64d", "rv64", CLANG),
    **{
        f"rv32imac-zve32x-{n}": _riscv(
            32, "rv32imac_zicsr_zve32x_zvl128b", "ilp32", _vectors(32, n), CLANG
        )
        for n in (128, 256, 512)
    },
    **{
        f"rv64gcv-{n}": _riscv(64, "rv64gcv", "lp64d", _vectors(64, n), CLANG)
        for n in (128, 256, 512)
    },
    "x86-64-avx2": _pc("corei7_icelake_u", "-mavx2"),
    "x86-64-avx512vnni": _pc(
        "corei7_icelake_u", "-mavx512vnni", "-mavx512bw", "-mavx512vl", "-mavx512vbmi"
    ),
}
"""By name. gcc 12 moves predicates of Helium's vectors to and fro, so that clang is what counts;
the number behind a core of RISC-V with vectors is their length in bits."""


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


def missing_tools(*names: str) -> tuple[str, ...]:
    """Return the programs that this machine lacks for processors."""
    tools = dict.fromkeys(tool for name in names for tool in processor_named(name).tools)
    return tuple(tool for tool in tools if shutil.which(tool) is None)


def require_tools(name: str) -> None:
    """Refuse to go on without them.

    Raises:
        UserError: A tool is missing.
    """
    missing = missing_tools(name)
    if missing:
        packages = " ".join(dict.fromkeys(_PACKAGES[tool] for tool in missing))
        raise UserError(
            f"expected {', '.join(missing)} on this machine, found none",
            help=f"install them; on Debian: apt-get install {packages}",
        )
