"""Run emitted C code in a program of its own, under an emulator: for other machines than this."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from quantable.adapters.c_compiler import (
    STRICT,
    Array,
    CompiledModel,
    TensorInfo,
    border_tensors,
    compile_c,
    integer_of,
    read_manifest,
    sample_batches,
)
from quantable.adapters.c_entry import entry_text, thread_flags
from quantable.adapters.c_runner import LINKED, find_runner, run_program
from quantable.ir import InternalError

_STATUS = 100
"""The program's exit code is this and the negated status where the emitted code fails."""


def open_model(
    build_dir: str | os.PathLike[str],
    *,
    compiler: str = "gcc",
    flags: Sequence[str] = ("-O2",),
    threads: int = 1,
    runner: Sequence[str] = (),
) -> CompiledModel | ProgramModel:
    """Compile emitted C code, to run in this process, or under the emulator that is given."""
    if runner:
        return ProgramModel(
            build_dir, compiler=compiler, flags=flags, threads=threads, runner=runner
        )
    return CompiledModel(build_dir, compiler=compiler, flags=flags, threads=threads)


class ProgramModel:
    """Emitted C code in a program that another one runs.

    Args:
        build_dir: Where it was emitted.
        compiler: Name or path of the compiler, for instance ``aarch64-linux-gnu-gcc``.
        flags: Optimization and machine flags.
        runner: The emulator and its options, for instance ``["qemu-aarch64", "-cpu", "max"]``.
        threads: How many share a run.

    Attributes:
        manifest: ``manifest.json``.
        inputs, outputs: The border tensors.
        program: The program's path.
        runner: The command that runs it, with the emulator's path.

    Raises:
        UserError: No such compiler or emulator, or the compiler rejects the code.
        FormatError: The directory does not hold emitted C code, or not of a kind for threads.
        OptionError: Not a number of threads.
    """

    def __init__(
        self,
        build_dir: str | os.PathLike[str],
        *,
        compiler: str,
        flags: Sequence[str] = ("-O2",),
        runner: Sequence[str],
        threads: int = 1,
    ) -> None:
        root = Path(build_dir)
        self.manifest = read_manifest(root)
        more = thread_flags(self.manifest, threads)
        self.inputs = border_tensors(self.manifest, "inputs")
        self.outputs = border_tensors(self.manifest, "outputs")
        self.runner = find_runner(runner)
        self._folder = Path(tempfile.mkdtemp(prefix="quantable-"))
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        main, self.program = self._folder / "main.c", self._folder / "program"
        text = entry_text(self.manifest, threads) + self._main_text()
        main.write_text(text, encoding="utf-8")
        sources = [root / "model.c", root / "model_weights.c", main]
        arguments = [*STRICT, *flags, *more, *LINKED, f"-I{root}"]
        compile_c(compiler, arguments, sources, self.program)

    def run(self, inputs: Mapping[str, Array], options: Sequence[str] = ()) -> dict[str, Array]:
        """Run integer inputs through the code.

        Args:
            inputs: Integers by value name, each of the manifest's shape, or with a leading axis
                of samples (all of them the same number).
            options: More options of the emulator.

        Returns:
            Integers by value name, with a leading axis where the inputs have one.

        Raises:
            DataError: An input is missing, or has the wrong shape or type.
            UserError: The program has instructions that the emulated processor has not.
        """
        batches, count = sample_batches(self.inputs, inputs)
        is_stacked = any(np.ndim(inputs[t.value]) > len(t.shape) for t in self.inputs)
        data = b"".join(batch[i].tobytes() for i in range(count) for batch in batches)
        given, made = self._folder / "inputs.bin", self._folder / "outputs.bin"
        given.write_bytes(data)
        arguments = [str(given), str(made), str(count)]
        done = run_program([*self.runner, *options], self.program, arguments)
        if done.returncode:
            raise InternalError(
                f"the program ended with code {done.returncode}: {done.stdout}{done.stderr}"
            )
        found = self._split(made.read_bytes(), count)
        return found if is_stacked else {name: array[0] for name, array in found.items()}

    def _split(self, results: bytes, count: int) -> dict[str, Array]:
        sizes = [_bytes(t) for t in self.outputs]
        rows = np.frombuffer(results, np.uint8).reshape(count, sum(sizes))
        found, at = {}, 0
        for tensor, size in zip(self.outputs, sizes, strict=True):
            part = np.ascontiguousarray(rows[:, at : at + size]).view(tensor.dtype)
            found[tensor.value] = part.reshape(count, *tensor.shape)
            at += size
        return found

    def _main_text(self) -> str:
        """Return a program that runs samples of a file, and writes what they give to another."""
        arena = max(integer_of(self.manifest, "arena_bytes"), 1)
        alignment = integer_of(self.manifest, "arena_alignment")
        tensors = [*self.inputs, *self.outputs]
        names = ", ".join(f"tensor{i}" for i in range(len(tensors)))
        lines = [
            "#include <stdio.h>", "#include <stdlib.h>",
            f"static _Alignas({alignment}) unsigned char arena[{arena}];",
            *(f"static _Alignas(8) unsigned char tensor{i}[{max(_bytes(t), 1)}];"
              for i, t in enumerate(tensors)),
            f"static void *const all[] = {{{names or 'arena'}}};",
            "int main(int argc, char **argv) {",
            '  FILE *from = argc == 4 ? fopen(argv[1], "rb") : NULL;',
            '  FILE *to = argc == 4 ? fopen(argv[2], "wb") : NULL;',
            "  if (from == NULL || to == NULL || quantable_open() == 0) {",
            "    return 2;", "  }",
            "  for (long n = strtol(argv[3], NULL, 10); n > 0; n--) {",
            *_transfers("fread", "from", range(len(self.inputs)), tensors),
            "    const int status = quantable_run(arena, sizeof arena, all);",
            "    if (status != 0) {", f"      return {_STATUS} - status;", "    }",
            *_transfers("fwrite", "to", range(len(self.inputs), len(tensors)), tensors),
            "  }",
            "  quantable_close();",
            "  return fclose(to) != 0;",
            "}",
        ]  # fmt: skip
        return "\n".join(lines) + "\n"


def _bytes(tensor: TensorInfo) -> int:
    return int(np.prod(tensor.shape, dtype=np.int64)) * tensor.dtype.itemsize


def _transfers(
    function: str, file: str, indices: Sequence[int], tensors: Sequence[TensorInfo]
) -> list[str]:
    lines = []
    for i in indices:
        size = _bytes(tensors[i])
        lines.append(f"    if ({function}(tensor{i}, 1, {size}, {file}) != {size}) {{")
        lines += ["      return 3;", "    }"]
    return lines
