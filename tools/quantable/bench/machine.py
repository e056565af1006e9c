"""What a measurement was made on, without naming the machine."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def describe_machine() -> str:
    """Return processor, number of cores that may be used, and memory, in words."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    cores = len(os.sched_getaffinity(0))
    return f"{_processor()}, {cores} cores, {pages / 2**30:.0f} GiB, {platform.system()}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.machine()


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
