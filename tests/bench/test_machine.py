"""What is measured about a process."""

from __future__ import annotations

import platform
import subprocess
import sys

import numpy as np

from quantable.bench.machine import peak_memory_mb, versions

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
