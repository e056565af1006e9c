"""Which processor a thread runs on, where the system tells and lets threads choose.

A thread that is woken may be put on the processor of the one that wakes it, and stay there for tens
of milliseconds beside an idle one: as long as a run of a small network. Threads of Python wake each
other at many operations, for its lock.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

UNKNOWN = -1


def _found() -> Callable[[], int]:
    """Return what tells the processor of the calling thread, or UNKNOWN where nothing does."""
    asked = getattr(ctypes.CDLL(None), "sched_getcpu", None) if os.name == "posix" else None
    if asked is None or not hasattr(os, "sched_setaffinity"):
        return lambda: UNKNOWN
    asked.restype, asked.argtypes = ctypes.c_int, ()
    return lambda: int(asked())


processor = _found()
"""Returns the number of the processor that the calling thread runs on, or UNKNOWN."""


@contextmanager
def elsewhere(number: int) -> Iterator[None]:
    """Keep the calling thread off a processor for a while, if it may run on another one.

    Afterwards it may run everywhere that it might before. Threads that it starts meanwhile are kept
    off, too.
    """
    allowed = set() if number == UNKNOWN else os.sched_getaffinity(0)
    others = allowed - {number}
    if others:
        os.sched_setaffinity(0, others)
    try:
        yield
    finally:
        if others:
            os.sched_setaffinity(0, allowed)
