"""Sizes of emitted C code, as a compiler makes it: code and constants of every step, and stack."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from quantable.adapters.c_compiler import compile_c, read_manifest
from quantable.ir import UserError

FLAGS = ("-O2",)
_NODE = re.compile(r'node: \{ title: "([^"]*)" label: "([^"]*)"')
_EDGE = re.compile(r'edge: \{ sourcename: "([^"]*)" targetname: "([^"]*)"')
_ASSEMBLY_STACK = re.compile(r"^#define Q_STACK_(\w+) (\d+)$", re.MULTILINE)
_STACK = re.compile(r"(\d+) bytes \(([\w,]+)\)")
_PROGRAM = re.compile(r"^(.*?)(gcc|clang)(-\d+(?:\.\d+)*)?$")


@dataclass(frozen=True, slots=True)
class StepSize:
    """Bytes of one step.

    Attributes:
        step: Its number.
        code: Of its function; kernels that several steps call are not in it.
        constants: Of its weights and other constants; what several steps share counts in each.
    """

    step: int
    code: int
    constants: int


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of a network.

    Attributes:
        code: Functions.
        shared: The part of it that no step has alone.
        constants: Read-only data.
        data: Data that is written to: always 0.
        arena: Working memory that the caller gives.
        stack: The most that a run can take, without library functions; None where the compiler
            cannot tell.
        steps: Every step.
    """

    code: int
    shared: int
    constants: int
    data: int
    arena: int
    stack: int | None
    steps: tuple[StepSize, ...]


def measure_sizes(build_dir: Path, *, compiler: str = "gcc", flags: Sequence[str] = FLAGS) -> Sizes:
    """Compile emitted code and return its sizes.

    Args:
        build_dir: Where it was emitted.
        compiler: Name or path of the compiler; ``nm`` and ``size`` are those of its kind.
        flags: Optimization and machine flags.

    Raises:
        UserError: A program is missing, or the compiler rejects the code.
        FormatError: The directory does not hold emitted C code.
    """
    manifest: Mapping[str, Any] = read_manifest(build_dir)
    with tempfile.TemporaryDirectory(prefix="quantable-") as private:
        folder = Path(private)
        base = ["-std=c11", *flags, f"-I{build_dir}", "-c"]
        for name in ("model", "model_weights"):
            compile_c(compiler, base, [build_dir / f"{name}.c"], folder / f"{name}.o")
        sections = [_sections(compiler, folder / f"{n}.o") for n in ("model", "model_weights")]
        symbols = _symbols(compiler, folder / "model.o")
        stack = _stack(compiler, base, build_dir, folder, f"{manifest['prefix']}_run")
    code, constants, data = (sum(held) for held in zip(*sections, strict=True))
    steps = tuple(
        StepSize(
            layer["step"], symbols.get(f"{manifest['prefix']}_step_{layer['step']}", 0),
            layer["weight_bytes"],
        )
        for layer in manifest["layers"]
    )  # fmt: skip
    shared = code - sum(step.code for step in steps)
    return Sizes(code, shared, constants, data, int(manifest["arena_bytes"]), stack, steps)


def _program(compiler: str, name: str) -> str:
    """Return `nm` or `size` of a compiler's kind: that of its prefix, llvm's, or the system's."""
    found = _PROGRAM.match(compiler)
    prefix, kind, version = (found[1], found[2], found[3] or "") if found else ("", "", "")
    tries = [f"{prefix}{name}", *([f"llvm-{name}{version}"] if kind == "clang" else []), name]
    for program in tries:
        if shutil.which(program):
            return program
    raise UserError(
        f"no program '{tries[0]}' on this machine", help="install the binutils of the compiler"
    )


def _sections(compiler: str, path: Path) -> tuple[int, int, int]:
    """Return the bytes of code, of constants, and of other data of an object file."""
    code = constants = data = 0
    for line in _output(_program(compiler, "size"), "-A", str(path)).splitlines():
        words = line.split()
        if len(words) != 3 or not words[1].isdigit():
            continue
        name, size = words[0], int(words[1])
        if name.startswith(".text"):
            code += size
        elif name.startswith((".rodata", ".data.rel.ro")):
            constants += size
        elif name.startswith((".data", ".bss")):
            data += size
    return code, constants, data


def _symbols(compiler: str, path: Path) -> dict[str, int]:
    """Return the bytes of functions; what a compiler makes of one (name.isra.0) counts for it."""
    found: dict[str, int] = {}
    for line in _output(_program(compiler, "nm"), "-S", str(path)).splitlines():
        words = line.split()
        if len(words) == 4 and words[2] in "tT":
            name = words[3].split(".")[0]
            found[name] = found.get(name, 0) + int(words[1], 16)
    return found


def _output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"exit code {done.returncode} of: {' '.join(command)}\n{done.stderr}")
    return done.stdout


def _stack(
    compiler: str, base: Sequence[str], build_dir: Path, folder: Path, entry: str
) -> int | None:
    """Return the bytes of stack along the longest chain of calls; gcc alone can tell."""
    path = folder / "stack.o"
    try:
        compile_c(compiler, [*base, "-fcallgraph-info=su"], [build_dir / "model.c"], path)
    except UserError:
        return None
    graph = path.with_suffix(".ci")
    if not graph.is_file():
        return None
    flags = [flag for flag in base if flag != "-c"]
    macros = _output(compiler, *flags, "-E", "-dM", str(build_dir / "model.c"))
    assembly = {name: int(size) for name, size in _ASSEMBLY_STACK.findall(macros)}
    return longest_chain(graph.read_text("utf-8"), entry, assembly)


def longest_chain(
    graph: str, entry: str, assembly: Mapping[str, int] = MappingProxyType({})
) -> int | None:
    """Return the stack of a function with all that it calls, of gcc's call graph.

    None where a function takes an amount that is not known before it runs, or calls itself.

    Args:
        graph: The text of a ``.ci`` file.
        entry: The function.
        assembly: Bytes that functions in assembly push, which gcc cannot tell, by name without
            what instances of a template have behind it. Kernels define them: ``Q_STACK_<name>``.
    """
    stacks: dict[str, int] = {}
    calls: dict[str, list[str]] = {}
    for name, label in _NODE.findall(graph):
        found = _STACK.search(label)
        if found is not None and found[2] not in ("static", "dynamic,bounded"):
            return None
        function = name.split(":")[-1]
        pushed = [n for stem, n in assembly.items() if f"{function}_".startswith(f"{stem}_")]
        stacks[name] = (int(found[1]) if found else 0) + max(pushed, default=0)
    for source, target in _EDGE.findall(graph):
        calls.setdefault(source, []).append(target)
    known: dict[str, int] = {}
    open_: set[str] = set()

    def of(name: str) -> int | None:
        if name in open_:
            return None
        if name not in known:
            open_.add(name)
            inner = [of(called) for called in calls.get(name, [])]
            open_.discard(name)
            depths = [depth for depth in inner if depth is not None]
            if len(depths) < len(inner):
                return None
            known[name] = stacks.get(name, 0) + max(depths, default=0)
        return known[name]

    start = next((name for name in stacks if name.split(":")[-1] == entry), None)
    return None if start is None else of(start)
