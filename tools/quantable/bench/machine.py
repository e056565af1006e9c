"""What a measurement was made on, without naming the machine."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_VECTORS = {
    "avx2": "AVX2", "avx_vnni": "AVX-VNNI", "avx512f": "AVX-512", "avx512_vnni": "AVX512-VNNI",
    "amx_int8": "AMX", "asimddp": "dot products", "i8mm": "i8mm", "sve": "SVE", "sve2": "SVE2",
}  # fmt: skip
"""Instructions that tools choose kernels by, and with them times and some results: names of
/proc/cpuinfo and ours."""


def describe_machine() -> str:
    """Return processor, number of cores that may be used, and memory, in words."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    cores = len(os.sched_getaffinity(0))
    name = processor(Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    return f"{name}, {cores} cores, {pages / 2**30:.0f} GiB, {platform.system()}"


def processor(listing: str) -> str:
    """Return a processor's name and which vector instructions it has.

    Args:
        listing: What /proc/cpuinfo says.
    """
    facts: dict[str, str] = {}
    for line in listing.splitlines():
        key, _, value = line.partition(":")
        facts.setdefault(key.strip(), value.strip())
    flags = facts.get("flags", facts.get("Features", "")).split()
    vectors = [name for flag, name in _VECTORS.items() if flag in flags]
    name = facts.get("model name", platform.machine())
    return f"{name} with {', '.join(vectors)}" if vectors else name


def installed_version(package: str) -> str:
    """Return the version of a package, "not installed" for one that is absent."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the installed versions of packages, Python's first."""
    found = {name: installed_version(name) for name in packages}
    return {"python": platform.python_version(), **found}


def peak_memory_mb() -> float:
    """Return the most memory that this process has held, in MiB.

    Not what `getrusage` says: there, a process begins with the peak of the one that started it.
    """
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key == "VmHWM":
            return int(value.split()[0]) / 1024
    raise RuntimeError("/proc/self/status has no VmHWM")
