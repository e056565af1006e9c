"""Run emitted C code: compile it, load it, and pass it batches of integers.

Knows nothing of the compiler but the ``manifest.json`` beside the code.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from quantable.adapters.c_entry import entry_text, thread_flags
from quantable.adapters.c_runner import LINKED, find_runner, foreign_code, run_program
from quantable.ir import DataError, FormatError, InternalError, UserError

Array = npt.NDArray[np.generic]
STRICT = ("-std=c11", "-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror")
"""How generated code is always compiled: it has to be clean."""
_FORMAT = "quantable-c"
_ABI_VERSION = 1


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A border tensor, as the manifest describes it."""

    name: str
    value: str
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    scale: float | None
    zero_point: int
    clamp_min: int
    clamp_max: int

    def quantize(self, real: Array) -> Array:
        """Return the integers of real numbers, as the emitted conversion computes them."""
        if self.scale is None:
            return np.asarray(real, self.dtype)
        low, high = self.clamp_min - self.zero_point, self.clamp_max - self.zero_point
        quotient = np.asarray(real, np.float32) / np.float32(self.scale)
        steps = np.rint(np.clip(quotient, np.float32(low), np.float32(high)))
        integers: Array = (steps.astype(np.int64) + self.zero_point).astype(self.dtype)
        return integers

    def dequantize(self, integers: Array) -> Array:
        """Return the real numbers of integers, float32."""
        if self.scale is None:
            return integers
        steps = (integers.astype(np.int64) - self.zero_point).astype(np.float32)
        return np.asarray(steps * np.float32(self.scale), np.float32)


def read_manifest(build_dir: str | os.PathLike[str]) -> dict[str, object]:
    """Return the manifest of an emitted directory.

    Raises:
        FormatError: There is none, or it is not one of emitted C code.
    """
    path = Path(build_dir) / "manifest.json"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FormatError(
            "expected a directory of emitted C code, found no manifest.json",
            where=str(build_dir),
            help="write one with: quantable emit planned.qir -o DIRECTORY",
        ) from error
    except ValueError as error:
        raise FormatError(f"is not valid JSON: {error}", where=str(path)) from error
    found = manifest.get("format") if isinstance(manifest, dict) else None
    if found != _FORMAT or manifest.get("abi_version") != _ABI_VERSION:
        raise FormatError(
            f"expected format {_FORMAT} version {_ABI_VERSION}, found {found} version "
            f"{manifest.get('abi_version') if isinstance(manifest, dict) else None}",
            where=str(path),
        )
    return dict(manifest)


def compile_c(
    compiler: str,
    arguments: Sequence[str],
    sources: Sequence[Path],
    output: Path,
    *,
    libraries: Sequence[str] = ("-lm",),
) -> None:
    """Run a C compiler.

    Raises:
        UserError: The compiler is missing, or does not accept the code; the message holds what it
            said.
    """
    program = shutil.which(compiler)
    if program is None:
        raise UserError(
            f"no C compiler '{compiler}' on this machine",
            help="install one, for instance gcc or clang, or name another one",
        )
    command = [program, *arguments, *map(str, sources), "-o", str(output), *libraries]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(
            f"exit code {done.returncode} of: {' '.join([compiler, *command[1:]])}\n{done.stderr}",
            help="is this compiler a C11 one with IEEE floats, for the machine of these flags?",
        )


class CompiledModel:
    """Emitted C code in this process.

    Args:
        build_dir: Where it was emitted.
        compiler: Name or path of the compiler.
        flags: Optimization and machine flags.
        threads: How many share a run.
        by_rows: Hand in the rows of an input one after the other.

    Attributes:
        manifest: ``manifest.json``.
        inputs, outputs: The border tensors.
        library: The loaded shared library.

    Raises:
        UserError: No such compiler, it rejects the code, or there are no threads to be had.
        FormatError: The directory does not hold emitted C code, or not of a kind for threads.
        OptionError: Not a number of threads.
    """

    def __init__(
        self,
        build_dir: str | os.PathLike[str],
        *,
        compiler: str = "gcc",
        flags: Sequence[str] = ("-O2",),
        threads: int = 1,
        by_rows: bool = False,
    ) -> None:
        root = Path(build_dir)
        self.manifest = read_manifest(root)
        more = thread_flags(self.manifest, threads)
        self.inputs = border_tensors(self.manifest, "inputs")
        self.outputs = border_tensors(self.manifest, "outputs")
        private = tempfile.mkdtemp(prefix="quantable-")
        self._finalizer = weakref.finalize(self, shutil.rmtree, private, ignore_errors=True)
        entry, path = Path(private) / "entry.c", Path(private) / "model.so"
        entry.write_text(entry_text(self.manifest, threads, by_rows=by_rows), encoding="utf-8")
        sources = [root / "model.c", root / "model_weights.c", entry]
        arguments = [*STRICT, *flags, *more, "-shared", "-fPIC", f"-I{root}"]
        compile_c(compiler, arguments, sources, path)
        try:
            self.library = ctypes.CDLL(str(path))
        except OSError as error:
            raise foreign_code() from error
        self._function = self.library.quantable_run
        self._function.restype = ctypes.c_int
        open_library(self.library, threads)
        weakref.finalize(self, self.library.quantable_close)
        self._arena_bytes = integer_of(self.manifest, "arena_bytes")
        self._alignment = integer_of(self.manifest, "arena_alignment")

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run integer inputs through the code.

        Args:
            inputs: Integers by value name, each of the manifest's shape, or with a leading axis
                of samples (all of them the same number).

        Returns:
            Integers by value name, with a leading axis where the inputs have one.

        Raises:
            DataError: An input is missing, or has the wrong shape or type.
        """
        batches = [_batch(tensor, inputs) for tensor in self.inputs]
        counts = {len(batch) for batch, _ in batches}
        stacked = {is_stacked for _, is_stacked in batches}
        if len(counts) > 1 or len(stacked) > 1:
            raise DataError(f"expected as many samples of every input, found {sorted(counts)}")
        count = counts.pop() if counts else 1
        results = [np.zeros((count, *tensor.shape), tensor.dtype) for tensor in self.outputs]
        arena = self._arena()
        for sample in range(count):
            one = slice(sample, sample + 1)  # a view even of a tensor without dimensions
            self._run_one(arena, [b[one] for b, _ in batches], [r[one] for r in results])
        if stacked != {True}:
            results = [result.reshape(result.shape[1:]) for result in results]
        return {t.value: result for t, result in zip(self.outputs, results, strict=True)}

    def run_real(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run real inputs by graph input name; return real outputs by graph output name."""
        integers = {t.value: t.quantize(inputs[t.name]) for t in self.inputs}
        results = self.run(integers)
        return {t.name: t.dequantize(results[t.value]) for t in self.outputs}

    def _arena(self) -> Array:
        room = np.zeros(self._arena_bytes + self._alignment, np.uint8)
        start = -room.ctypes.data % self._alignment
        return room[start : start + self._arena_bytes]

    def _run_one(self, arena: Array, inputs: list[Array], outputs: list[Array]) -> None:
        addresses = [array.ctypes.data for array in (*inputs, *outputs)]
        tensors = (ctypes.c_void_p * len(addresses))(*addresses)
        size = ctypes.c_size_t(self._arena_bytes)
        status = self._function(ctypes.c_void_p(arena.ctypes.data), size, tensors)
        if status:
            raise InternalError(f"the generated code returned status {status}")


def open_library(library: ctypes.CDLL, threads: int) -> None:
    """Start the threads of a library that has the functions of `entry_text`.

    Raises:
        UserError: The system gives fewer.
    """
    found = library.quantable_open()
    if found != threads:
        raise UserError(
            f"expected {threads} threads, found {found}", help="run the code with fewer threads"
        )


def run_selftest(
    build_dir: str | os.PathLike[str],
    *,
    compiler: str = "gcc",
    flags: Sequence[str] = ("-O2",),
    threads: int = 1,
    runner: Sequence[str] = (),
) -> tuple[bool, str]:
    """Compile and run the golden vectors of emitted code.

    Args:
        build_dir, compiler, flags, threads: As for `CompiledModel`.
        runner: An emulator and its options, for instance ``["qemu-aarch64", "-cpu", "max"]``.

    Returns:
        Whether they passed, and what the program printed.

    Raises:
        UserError: No such compiler or emulator, the compiler rejects the code or makes it for
            another machine, or the code has no self test.
        FormatError: The code is not of a kind that threads can share.
        OptionError: Not a number of threads.
    """
    root = Path(build_dir)
    more = thread_flags(read_manifest(root), threads)
    if not (root / "model_test.c").exists():
        raise UserError("has no model_test.c", where=str(root), help="emit with golden vectors")
    sources = [root / name for name in ("model.c", "model_weights.c", "model_test.c")]
    with tempfile.TemporaryDirectory(prefix="quantable-") as private:
        program = Path(private) / "model_test"
        emulator = find_runner(runner)
        linked = LINKED if emulator else ()
        compile_c(compiler, [*STRICT, *flags, *more, *linked, f"-I{root}"], sources, program)
        done = run_program(emulator, program)
    return done.returncode == 0, done.stdout + done.stderr


def sample_batches(
    tensors: Sequence[TensorInfo], inputs: Mapping[str, Array]
) -> tuple[list[Array], int]:
    """Return integers of every tensor with a leading axis of samples, and how many there are.

    Raises:
        DataError: One is missing, or has another shape, type or number of samples.
    """
    batches = [_batch(tensor, inputs)[0] for tensor in tensors]
    counts = {len(batch) for batch in batches}
    if len(counts) > 1:
        raise DataError(f"expected as many samples of every input, found {sorted(counts)}")
    return batches, counts.pop() if counts else 1


def _batch(tensor: TensorInfo, inputs: Mapping[str, Array]) -> tuple[Array, bool]:
    where = f"input '{tensor.value}'"
    if tensor.value not in inputs:
        raise DataError(f"is missing; found {', '.join(sorted(inputs)) or 'none'}", where=where)
    array = np.asarray(inputs[tensor.value])
    is_stacked = array.ndim == len(tensor.shape) + 1
    batch = array if is_stacked else array[np.newaxis]
    if batch.shape[1:] != tensor.shape or batch.dtype != tensor.dtype:
        raise DataError(
            f"expected {tensor.dtype}{list(tensor.shape)}, found {array.dtype}{list(array.shape)}",
            where=where,
        )
    return np.ascontiguousarray(batch), is_stacked


def border_tensors(manifest: Mapping[str, object], side: str) -> tuple[TensorInfo, ...]:
    """Return the ``inputs`` or ``outputs`` of a manifest."""
    rows = manifest[side]
    assert isinstance(rows, list)
    return tuple(
        TensorInfo(
            row["name"], row["value"], np.dtype(row["dtype"]), tuple(row["shape"]), row["scale"],
            row["zero_point"], row["clamp_min"], row["clamp_max"],
        )
        for row in rows
    )  # fmt: skip


def integer_of(manifest: Mapping[str, object], key: str) -> int:
    """Return an integer of a manifest.

    Raises:
        FormatError: It is none.
    """
    value = manifest[key]
    if not isinstance(value, int):
        raise FormatError(f"'{key}' of manifest.json: expected an integer, found {value!r}")
    return value
