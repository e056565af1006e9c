"""A thread keeps off the processor of another one, for a while."""

from __future__ import annotations

import os
import threading

import pytest

from quantable.reference import placement

needs_two = pytest.mark.skipif(
    placement.processor() == placement.UNKNOWN or len(os.sched_getaffinity(0)) < 2,
    reason="needs a system that tells, and two processors",
)


def _in_a_thread(function):
    """Run it in a thread of its own, since what that may use is changed."""
    found = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


@needs_two
def test_a_thread_keeps_off_a_processor_and_may_come_back():
    def keep_off():
        allowed, here = os.sched_getaffinity(0), placement.processor()
        with placement.elsewhere(here):
            found = placement.processor(), os.sched_getaffinity(0)
        return allowed, here, *found, os.sched_getaffinity(0)

    allowed, here, there, meanwhile, afterwards = _in_a_thread(keep_off)
    assert there in allowed - {here}
    assert meanwhile == allowed - {here}
    assert afterwards == allowed


@needs_two
def test_it_may_come_back_after_an_error():
    def fail():
        allowed = os.sched_getaffinity(0)
        with pytest.raises(ValueError, match="here"), placement.elsewhere(placement.processor()):
            raise ValueError("here")
        return os.sched_getaffinity(0) == allowed

    assert _in_a_thread(fail)


@needs_two
def test_a_thread_with_one_processor_stays():
    def stay():
        (first, *_) = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {first})
        with placement.elsewhere(first):
            return os.sched_getaffinity(0) == {first}

    assert _in_a_thread(stay)


@pytest.mark.parametrize("number", [placement.UNKNOWN, 1 << 20])
def test_processors_that_are_not_there_change_nothing(number):
    def go_on():
        with placement.elsewhere(number):
            return placement.processor()

    assert _in_a_thread(go_on) in {placement.UNKNOWN, *range(os.cpu_count() or 1)}
