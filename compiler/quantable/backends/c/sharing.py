"""Which steps threads share: those that are worth that they wait for each other.

A step that is done by one thread alone costs its whole time, a shared one a part of it; between two
steps, of which one is shared or both are, threads meet. The choice that costs least is found from
what steps do, not from a clock, so that the same network gives the same code.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from quantable.backends.c.unit import Step
from quantable.targets.kernel_sets import AARCH64, PORTABLE, RVV, X86

UNSHARED, SMALL, SHARED_WHERE_SLOW, SHARED = range(4)
"""Sizes of steps, as `q_share.h` knows them."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Products and bytes, read or written, that kernels get done in a nanosecond."""

    products: float
    bytes: float

    def nanoseconds(self, step: Step) -> float:
        """Return about what a step takes."""
        weight = _HEAVY if step.operation.kind in _HEAVY_KINDS else 1
        return step.macs / self.products + weight * _moved(step) / self.bytes


SPEEDS: Mapping[str, tuple[Speed, ...]] = {
    PORTABLE.name: (Speed(4, 2),),
    X86.name: (Speed(500, 140), Speed(100, 70)),
    AARCH64.name: (Speed(100, 40),),
    RVV.name: (Speed(10, 5),),
}
"""By kernel set, the fastest first: those of x86-64 with instructions that sum products of four
bytes, and without. Measured on steps of ten networks (Zen 5) for the first two; of the others, what
their vectors could do, since a step that is too small to be shared is a small loss, and a meeting
that is too many is one, too."""

MEETING = 500.0
"""Nanoseconds of a meeting, with what threads then read that others wrote: up to 100 were measured
where processors share a cache, up to 600 where they do not, as those of a virtual machine, now and
then. Steps that would be much slower there are left to one thread."""
WAKING = 200_000.0
"""Nanoseconds of a run that is worth waking threads for: they need 80 microseconds on a virtual
machine, and save less than half of the run."""
THREADS = 2
"""Among how many a step is divided here; with more of them sharing pays sooner."""
_COPIES = ("Concat", "Gather", "Pad", "Slice", "Split")
"""Kinds whose portable kernels are the C library's copies of rows."""
_HEAVY, _HEAVY_KINDS = 16, ("int.LayerNormalization", "int.Softmax")
"""What a byte costs that goes through functions and sums of rows, in others."""


def sizes(steps: Sequence[Step]) -> list[int]:
    """Return the size of every step, in the order in which they run.

    Args:
        steps: Of one network, of a kernel set that has threads.
    """
    is_forced = [step.is_streamed and step.is_shared for step in steps]
    found = [
        SHARED if forced else SMALL if step.is_shared else UNSHARED
        for step, forced in zip(steps, is_forced, strict=True)
    ]
    speeds = SPEEDS[steps[0].unit.kernels.name] if steps else ()
    for size, speed in zip((SHARED, SHARED_WHERE_SLOW), speeds, strict=False):
        times = [_speed(step, speed).nanoseconds(step) for step in steps]
        # What is shared where kernels are fast is shared where they are slow, too.
        alone = [
            math.inf if old == SHARED else time for old, time in zip(found, times, strict=True)
        ]
        shared = [
            time / THREADS + step.meetings * MEETING if step.is_shared else math.inf
            for step, time in zip(steps, times, strict=True)
        ]
        chosen = cheapest(alone, shared)
        found = [max(old, size) if new else old for old, new in zip(found, chosen, strict=True)]
    return found


def run_size(steps: Sequence[Step]) -> int:
    """Return the size of a whole run: where it is large, threads are woken for it."""
    speeds = SPEEDS[steps[0].unit.kernels.name] if steps else ()
    for size, speed in zip((SHARED, SHARED_WHERE_SLOW), speeds, strict=False):
        if sum(_speed(step, speed).nanoseconds(step) for step in steps) >= WAKING:
            return size
    return SMALL


def cheapest(alone: Sequence[float], shared: Sequence[float]) -> list[bool]:
    """Return which steps threads are to share, so that all of them together take least.

    Whoever begins and ends the run is one thread. Of choices that take the same, the one that
    shares fewer of the last steps.

    Args:
        alone: Nanoseconds of each step that one thread does, infinite where none may.
        shared: The same of shared steps.
    """
    costs, origins = (0.0, math.inf), []
    for own in zip(alone, shared, strict=True):
        came = [
            min((costs[last] + (MEETING if last or now else 0.0), last) for last in (0, 1))
            for now in (0, 1)
        ]
        origins.append((came[0][1], came[1][1]))
        costs = (came[0][0] + own[0], came[1][0] + own[1])
    now, chosen = int(costs[1] + MEETING < costs[0]), []
    for origin in reversed(origins):
        chosen.append(bool(now))
        now = origin[now]
    return chosen[::-1]


def _speed(step: Step, speed: Speed) -> Speed:
    """Return the speed of a step where kernels of the set have the given one."""
    is_of_all = step.is_portable and step.operation.kind not in _COPIES
    return SPEEDS[PORTABLE.name][0] if is_of_all else speed


def _moved(step: Step) -> int:
    """Return the bytes of a step's activations."""
    graph = step.unit.graph
    names = [*step.operation.inputs, *step.operation.outputs]
    values = [step.value(name) for name in names if name and not graph.is_parameter(name)]
    return sum(math.prod(step.shape(v)) * v.dtype.numpy.itemsize for v in values)
