"""One torch thread for as long as a run lasts: its results then depend on nothing else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch


class _Setting:
    """How many threads torch had before the first run, and how many runs last at present."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.active = 0
        self.before = 1
        self.here = threading.local()

    def enter(self) -> None:
        with self.lock:
            if self.active == 0:
                self.before = torch.get_num_threads()
            self.active += 1
            torch.set_num_threads(1)

    def leave(self) -> None:
        with self.lock:
            self.active -= 1
            torch.set_num_threads(self.before)


_SETTING = _Setting()


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread in the calling thread, and put its number back afterwards.

    torch keeps one number a thread, which a new thread takes from the last one set anywhere. So the
    first of several runs at once remembers the number, and each puts it back. May be nested.
    """
    depth = getattr(_SETTING.here, "depth", 0)
    _SETTING.here.depth = depth + 1
    if depth == 0:
        _SETTING.enter()
    try:
        yield
    finally:
        _SETTING.here.depth = depth
        if depth == 0:
            _SETTING.leave()


def single_threaded_pool(threads: int) -> ThreadPoolExecutor:
    """Return a pool whose threads compute without helpers of their own for as long as they live.

    Not by `one_thread`, which each would leave by itself: what torch then tells its libraries holds
    for all threads, those too that still compute.
    """
    return ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
