"""What is measured about a process."""

from __future__ import annotations

import platform
import subprocess
import sys

import numpy as np

from quantable.bench.machine import peak_memory_mb, processor, versions

CODE = "from quantable.bench.machine import peak_memory_mb; print(peak_memory_mb())"


def test_the_peak_holds_what_was_allocated_and_given_back() -> None:
    before = peak_memory_mb()
    np.ones(int((before + 200) * 2**20 // 8)).sum()
    assert peak_memory_mb() > before + 190


def test_a_process_does_not_begin_with_the_peak_of_its_parent() -> None:
    held = np.ones(400 * 2**20 // 8)
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 200 < held.nbytes / 2**20


def test_a_package_that_is_absent_does_not_stop_a_page() -> None:
    assert versions(("numpy", "no-such-package")) == {
        "python": platform.python_version(), "numpy": np.__version__,
        "no-such-package": "not installed",
    }  # fmt: skip


def test_a_processor_is_named_with_what_kernels_are_chosen_by() -> None:
    x86 = "model name\t: A B\nflags\t\t: fpu avx avx2 avx512f avx512_vnni\n"
    assert processor(x86 * 2) == "A B with AVX2, AVX-512, AVX512-VNNI"
    assert processor("model name\t: A B\nflags\t\t: fpu sse2\n") == "A B"
    arm = "processor\t: 0\nFeatures\t: fp asimd asimddp i8mm\n"
    assert processor(arm) == f"{platform.machine()} with dot products, i8mm"
