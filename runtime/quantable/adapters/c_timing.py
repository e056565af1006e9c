"""Time emitted C code: whole runs, every step of them, and what the processor could do at best.

The code is compiled as it was emitted; its hook `QUANTABLE_STEP` is defined for the steps only.
"""

from __future__ import annotations

import ctypes
import hashlib
import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from quantable.adapters.c_compiler import compile_c, open_library, read_manifest
from quantable.adapters.c_entry import entry_text, thread_flags
from quantable.kernels import header

Reals = npt.NDArray[np.float64]
FLAGS = ("-O3", "-march=native")
"""What a measurement on this machine is compiled with."""
_PRODUCTS_A_LANE = 4
_CLOCK = """\
#ifndef QUANTABLE_CLOCK_H
#define QUANTABLE_CLOCK_H
#define _POSIX_C_SOURCE 200809L
#include <time.h>
static inline double quantable_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
#endif
"""
_HOOK = """\
#include "clock.h"
extern double quantable_seconds[];
#define QUANTABLE_STEP(number, call)                    \\
  do {                                                  \\
    const double started = quantable_now();             \\
    call;                                               \\
    quantable_seconds[number] += quantable_now() - started; \\
  } while (0)
"""
_PEAK = """\
#include "clock.h"
#include "q_x86.h"
double quantable_peak(const uint8_t *x, const int8_t *w, int32_t *y, long count) {
#if Q_LANES
  /* As many sums as hide how long one takes, and as there are registers for. */
  enum { sums = Q_WIDENS ? 8 : 12 };
  q_lanes acc[sums];
  const q_spread values = q_values_of(q_bytes_at(x, 64));
  const q_quads weights = q_quads_at(w);
  Q_UNROLL /* an index that is not a constant would keep sums in memory */
  for (int i = 0; i < sums; i++) {
    acc[i] = q_lanes_at(y + 16 * i);
  }
  const double started = quantable_now();
  for (long n = 0; n < count; n++) {
    Q_UNROLL
    for (int i = 0; i < sums; i++) {
      acc[i] = q_dot(acc[i], values, weights);
      __asm__ volatile("" : "+x"(acc[i]));
    }
  }
  const double seconds = quantable_now() - started;
  Q_UNROLL
  for (int i = 0; i < sums; i++) {
    memcpy(y + 16 * i, &acc[i], sizeof(acc[i]));
  }
  return (double)count * sums * Q_LANES / seconds;
#else
  (void)x, (void)w, (void)y, (void)count;
  return 0.0;
#endif
}
"""


class TimedModel:
    """Emitted C code in this process, with a clock.

    Args:
        build_dir: Where it was emitted.
        compiler: Name or path of the compiler.
        flags: Optimization and machine flags.
        seed: Of the random integers that it is run on.
        threads: How many share a run; steps are timed with one.
        kept: A folder for what is compiled; what was compiled there of the same sources in the
            same way is taken as it is.

    Attributes:
        manifest: ``manifest.json``.

    Raises:
        UserError: No such compiler, it rejects the code, or there are no threads to be had.
        FormatError: The directory does not hold emitted C code, or not of a kind for threads.
        OptionError: Not a number of threads.
    """

    def __init__(
        self, build_dir: Path, *, compiler: str = "gcc", flags: Sequence[str] = FLAGS,
        seed: int = 0, threads: int = 1, kept: Path | None = None,
    ) -> None:  # fmt: skip
        self.manifest: Mapping[str, Any] = read_manifest(build_dir)
        self._root, self._compiler, self._flags = build_dir, compiler, tuple(flags)
        self._folder = Path(tempfile.mkdtemp(prefix="quantable-")) if kept is None else kept
        self._folder.mkdir(exist_ok=True)
        if kept is None:
            private = str(self._folder)
            self._finalizer = weakref.finalize(self, shutil.rmtree, private, ignore_errors=True)
        (self._folder / "clock.h").write_text(_CLOCK, encoding="utf-8")
        (self._folder / "hook.h").write_text(_HOOK, encoding="utf-8")
        (self._folder / "timing.c").write_text(self._timing(), encoding="utf-8")
        more = thread_flags(self.manifest, threads)
        self._weights = self._folder / "weights.o"
        self._compile(["-fPIC", "-c"], [build_dir / "model_weights.c"], self._weights)
        self._arena, self._tensors = self._memory(seed)
        self._plain = self._library(f"plain{threads}", more, threads)

    def runs(self, count: int) -> Reals:
        """Return the seconds that each of some runs took."""
        return self._runs(self._plain, count)

    def steps(self, count: int) -> dict[int, float]:
        """Return the seconds a run that each step takes, by number, the mean of some runs."""
        library = self._library("hooked", ["-include", str(self._folder / "hook.h")], 1)
        numbers = len(self.manifest["layers"]) and self._largest_step() + 1
        seconds = (ctypes.c_double * numbers).in_dll(library, "quantable_seconds")
        self._runs(library, 1)
        for number in range(numbers):
            seconds[number] = 0.0
        self._runs(library, count)
        return {layer["step"]: seconds[layer["step"]] / count for layer in self.manifest["layers"]}

    def peak(self) -> float:
        """Return products of bytes a second at most, one thread; 0 where vectors have none."""
        for name in ("q_base.h", "q_x86.h", "q_avx512.h", "q_avx2.h"):
            (self._folder / name).write_text(header(name), encoding="utf-8")
        source, path = self._folder / "peak.c", self._folder / "peak.so"
        source.write_text(_PEAK, encoding="utf-8")
        self._compile(["-fPIC", "-shared"], [source], path)
        function = ctypes.CDLL(str(path)).quantable_peak
        function.restype = ctypes.c_double
        x, w, y = np.ones(64, np.uint8), np.ones(64, np.int8), np.zeros(192, np.int32)
        arguments = [ctypes.c_void_p(array.ctypes.data) for array in (x, w, y)]
        count = ctypes.c_long(2_000_000)
        return float(max(function(*arguments, count) for _ in range(9))) * _PRODUCTS_A_LANE

    def _largest_step(self) -> int:
        return max(int(layer["step"]) for layer in self.manifest["layers"])

    def _timing(self) -> str:
        numbers = self._largest_step() + 1 if self.manifest["layers"] else 1
        return (
            '#include "clock.h"\n#include "model.h"\n'
            "int quantable_run(void *arena, size_t size, void *const *tensors);\n"
            f"double quantable_seconds[{numbers}];\n"
            "void quantable_time(void *arena, size_t size, void *const *tensors, double *seconds,"
            " long count) {\n"
            "  for (long i = 0; i < count; i++) {\n"
            "    const double started = quantable_now();\n"
            "    quantable_run(arena, size, tensors);\n"
            "    seconds[i] = quantable_now() - started;\n"
            "  }\n}\n"
        )

    def _library(self, name: str, more: list[str], threads: int) -> ctypes.CDLL:
        path, entry = self._folder / f"{name}.so", self._folder / f"{name}.c"
        entry.write_text(entry_text(self.manifest, threads), encoding="utf-8")
        sources = [self._root / "model.c", entry, self._folder / "timing.c", self._weights]
        self._compile([*more, "-fPIC", "-shared"], sources, path)
        library = ctypes.CDLL(str(path))
        open_library(library, threads)
        weakref.finalize(self, library.quantable_close)
        return library

    def _compile(self, more: Sequence[str], sources: Sequence[Path], output: Path) -> None:
        places = [f"-I{self._root}", f"-I{self._folder}"]
        arguments = ["-std=c11", *self._flags, *more, *places]
        stamp, key = output.with_suffix(".key"), self._key(arguments, sources)
        if output.is_file() and stamp.is_file() and stamp.read_text(encoding="utf-8") == key:
            return
        stamp.unlink(missing_ok=True)
        compile_c(self._compiler, arguments, sources, output)
        stamp.write_text(key, encoding="utf-8")

    def _key(self, arguments: Sequence[str], sources: Sequence[Path]) -> str:
        """Return what tells one compilation from others; the manifest has the digests of files."""
        found = hashlib.sha256(repr((self._compiler, *arguments, *sources)).encode())
        own = [path for path in sources if path.parent == self._folder and path.suffix == ".c"]
        headers = [self._folder / name for name in ("clock.h", "hook.h")]
        for path in (self._root / "manifest.json", *own, *headers):
            found.update(path.read_bytes())
        return found.hexdigest()

    def _memory(self, seed: int) -> tuple[npt.NDArray[np.uint8], list[npt.NDArray[np.generic]]]:
        alignment = int(self.manifest["arena_alignment"])
        room = np.zeros(int(self.manifest["arena_bytes"]) + alignment, np.uint8)
        start = -room.ctypes.data % alignment
        random, tensors = np.random.default_rng(seed), []
        for facts in self.manifest["inputs"]:
            bounds = np.iinfo(facts["dtype"])
            drawn = random.integers(bounds.min, bounds.max, facts["shape"], endpoint=True)
            tensors.append(drawn.astype(facts["dtype"]))
        tensors += [np.zeros(f["shape"], f["dtype"]) for f in self.manifest["outputs"]]
        return room[start : start + int(self.manifest["arena_bytes"])], tensors

    def _runs(self, library: ctypes.CDLL, count: int) -> Reals:
        found = np.zeros(count, np.float64)
        pointers = (ctypes.c_void_p * len(self._tensors))(*(t.ctypes.data for t in self._tensors))
        library.quantable_time(
            ctypes.c_void_p(self._arena.ctypes.data), ctypes.c_size_t(self._arena.size), pointers,
            ctypes.c_void_p(found.ctypes.data), ctypes.c_long(count),
        )  # fmt: skip
        return found
