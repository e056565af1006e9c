"""How threads are started, woken and placed: programs of their own over emitted code."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from quantable.adapters.c_compiler import STRICT, compile_c
from quantable.backends.c import emit
from quantable.targets.kernel_sets import X86
from tests.kernels.conftest import Network


@pytest.mark.parametrize(("count", "runs"), [(100, 0), (20_000_000, 1)])
def test_a_small_network_leaves_the_other_threads_alone(tmp_path, count, runs):
    """They made networks of some microseconds slower than one thread is."""
    done = _run_main(
        tmp_path,
        count,
        f"static unsigned char a[{count}], b[{count}], y[{count}];\n"
        "static q_threads threads;\n"
        "int main(void) {\n"
        "  const int found = q_threads_start(&threads, 2);\n"
        "  const int status = network_run_threads(&threads, 0, 0, a, b, y);\n"
        f"  const int is_right = found == 2 && status == 0 && threads.run == {runs};\n"
        "  q_threads_stop(&threads);\n"
        "  return !is_right;\n}\n",
    )
    assert done.returncode == 0


def test_a_short_run_does_not_wait_for_sleepers(tmp_path):
    """To wake them took longer than the run: every one that came now and then was slower."""
    count = 400_000
    done = _run_main(
        tmp_path,
        count,
        f"static unsigned char a[{count}], b[{count}], y[{count}];\n"
        "static q_threads threads;\n"
        "int main(void) {\n"
        "  unsigned expected = 0;\n"
        "  int wrong = q_threads_start(&threads, 2) != 2;\n"
        "  while (!__atomic_load_n(&threads.asleep, __ATOMIC_SEQ_CST)) {\n"
        "    sched_yield();\n"
        "  }\n"
        "  for (int i = 1; i <= QUANTABLE_PATIENCE; i++) {\n"
        "    wrong += network_run_threads(&threads, 0, 0, a, b, y) != 0;\n"
        "    expected += i == QUANTABLE_PATIENCE;\n"
        "    wrong += threads.run != expected;\n"
        "  }\n"
        "  wrong += network_run_threads(&threads, 0, 0, a, b, y) != 0; /* awake or not */\n"
        "  q_threads_stop(&threads);\n"
        "  return wrong != 0;\n}\n",
    )
    assert done.returncode == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs functions of Linux")
def test_a_thread_leaves_the_processor_of_the_caller(tmp_path):
    """Both shared one for many runs where another process kept the other one busy.

    It may go back at any time, so it is tried again; that it may run everywhere has to stay.
    """
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two processors")
    done = _run_main(
        tmp_path,
        100,
        "int main(void) {\n"
        "  cpu_set_t before, behind, one;\n"
        "  int moves = 0;\n"
        "  sched_getaffinity(0, sizeof(before), &before);\n"
        "  for (int i = 0; i < 50 && moves == 0; i++) {\n"
        "    const int here = sched_getcpu();\n"
        "    q_threads_leave(here);\n"
        "    moves += sched_getcpu() != here;\n"
        "  }\n"
        "  sched_getaffinity(0, sizeof(behind), &behind);\n"
        "  if (moves == 0 || !CPU_EQUAL(&before, &behind)) {\n"
        "    return 1;\n"
        "  }\n"
        "  CPU_ZERO(&one);\n"
        "  CPU_SET((size_t)sched_getcpu(), &one);\n"
        "  sched_setaffinity(0, sizeof(one), &one);\n"
        "  q_threads_leave(sched_getcpu()); /* there is no other one to go to */\n"
        "  sched_getaffinity(0, sizeof(behind), &behind);\n"
        "  return CPU_EQUAL(&one, &behind) ? 0 : 2;\n}\n",
    )
    assert done.returncode == 0


def _run_main(folder, count, text):
    """Run a program over the code of a network that adds two tensors of so many bytes."""
    network = Network(1)
    network.add_bytes(count, (16384, 9000))
    emit(network.graph(), folder, kernels=X86)
    (folder / "main.c").write_text(f'#include "model.h"\n{text}', encoding="utf-8")
    sources = [folder / name for name in ("model.c", "model_weights.c", "main.c")]
    flags = ["-O1", "-DQUANTABLE_THREADS=2", "-D_GNU_SOURCE", "-pthread"]
    compile_c("gcc", [*STRICT, *flags], sources, folder / "main")
    return subprocess.run([str(folder / "main")], check=False)
