"""Mutate files without end and use whatever is accepted: ``python -m tests.schema.fuzz_files``.

Prints one line for every failure and a summary; the exit code is 1 if there was a failure.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import faulthandler
import random
import resource
import signal
import sys
import tempfile
import time
import tracemalloc
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import numpy as np

from quantable.ir import FormatError, Graph, QuantableError, graph_digest, verify
from quantable.reference import ReferenceRuntime
from quantable.schema import load, load_profile, save, save_profile
from tests.schema.mutations import head_mutants, mutants
from tests.schema.sealing import most_resealed

LIMIT_SECONDS, HANG_SECONDS = 1.0, 10.0
FIXED_BYTES = 1 << 19
"""What a file may take besides five times its size: modules, objects of small files."""
BATCH = 50
ADDRESS_SPACE = 12 << 30


@dataclass
class Tally:
    """What happened to the mutants.

    Attributes:
        outcomes: How far each came.
        slowest: Seconds of processor time that reading, writing and verifying took at most; what is
            accepted may ask for any amount of work when it is run.
        largest: Bytes that reading took at most, beyond a constant, for each of the file.
        failures: What must not happen.
        slow: What took longer to read than it may. The commands fail on it, the tests do not: they
            run on machines of any speed.
    """

    outcomes: collections.Counter[str] = field(default_factory=collections.Counter)
    slowest: float = 0.0
    largest: float = 0.0
    failures: list[str] = field(default_factory=list)
    slow: list[str] = field(default_factory=list)


class Hang(BaseException):
    """Nothing that is used here catches this."""


def _alarm(number: int, frame: FrameType | None) -> None:
    raise Hang


def read_graph(path: Path) -> Graph | str:
    """Load and verify; return the graph, or how far it came. Only documented errors may come."""
    try:
        graph = load(path)
        for digest in graph.contents():
            graph.store.raw(digest)
    except FormatError:
        return "refused"
    save(graph, path.with_suffix(".again"), inline_limit=None)
    again = load(path.with_suffix(".again"))
    assert graph_digest(again) == graph_digest(graph), "saved and loaded, it is another graph"
    try:
        verify(graph)
    except QuantableError:
        return "not verified"
    return graph


def run_on_zeros(graph: Graph) -> str:
    """Build the runtime and run it; what a file asks for may be more work than there is time."""
    try:
        inputs = _zeros(graph)
    except (MemoryError, ValueError):
        return "run: there is no memory for its inputs"
    try:
        ReferenceRuntime(graph).run(inputs)
    except QuantableError as error:
        return f"run: {type(error).__name__}"
    except Hang:
        return "run: stopped, too much work"
    return "ran"


def _zeros(graph: Graph) -> dict[str, np.ndarray]:
    values = [graph.values[name] for name in graph.inputs]
    return {
        v.name: np.zeros([d if isinstance(d, int) else 1 for d in v.shape or ()], v.dtype.numpy)
        for v in values
    }


def read_profile(path: Path) -> str:
    """Load, save, load; return how far it came."""
    try:
        profile = load_profile(path)
    except FormatError:
        return "refused"
    save_profile(profile, path.with_suffix(".again"))
    assert load_profile(path.with_suffix(".again")) == profile, "it is another profile"
    return "read"


def try_one(data: bytes, path: Path, tally: Tally, name: str, traced: bool) -> None:
    """Use one mutant and note the outcome; keep it beside the script's output on failure."""
    read = read_profile if data[8:11] == b"QPR" else read_graph
    path.write_bytes(data)
    signal.setitimer(signal.ITIMER_PROF, HANG_SECONDS)
    try:
        if traced:
            peak = peak_bytes(path)
            tally.largest = max(tally.largest, (peak - FIXED_BYTES) / len(data))
            if peak > 5 * len(data) + FIXED_BYTES:  # scales of blocks: 4 bytes are an object of 32
                tally.failures.append(f"{name}: took {peak} bytes for {len(data)}")
        began = time.process_time()
        found = read(path)
        seconds = time.process_time() - began
        tally.slowest = max(tally.slowest, seconds)
        if seconds > LIMIT_SECONDS:
            tally.slow.append(f"{name}: read in {seconds:.1f} s")
        tally.outcomes[run_on_zeros(found) if isinstance(found, Graph) else found] += 1
    except (Exception, Hang) as error:
        tally.failures.append(f"{name}: {type(error).__name__}: {error}"[:300])
        kept = Path(tempfile.gettempdir()) / f"quantable-fuzz-{name}"
        kept.write_bytes(data)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def peak_bytes(path: Path) -> int:
    """Return how many bytes loading a file allocates at most, beyond those of the file."""
    tracemalloc.start()
    with contextlib.suppress(FormatError):
        (load_profile if path.read_bytes()[8:11] == b"QPR" else load)(path)
    peak: int = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def fuzz(seeds: dict[str, bytes], count: int, start: int, folder: Path) -> Tally:
    """Use `count` mutants, a batch of each seed in turn; every fourth batch mutates all bytes."""
    tally, names = Tally(), sorted(seeds)
    signal.signal(signal.SIGPROF, _alarm)
    for batch in range(start // BATCH, (start + count) // BATCH):
        name = names[batch % len(names)]
        make = mutants if random.Random(batch).random() < 0.25 else head_mutants
        for number, data in enumerate(most_resealed(make(seeds[name], BATCH, batch))):
            place = f"{name}-{batch}-{number}"
            try_one(data, folder / "mutant", tally, place, number == 0)
    return tally


def main() -> int:
    """Fuzz the files given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", type=Path, nargs="+", help="self-contained .qir or .qprof files")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--start", type=int, default=0, help="number of the first mutant")
    options = parser.parse_args()
    # What ends the process ends it here, and names the place; the last mutant stays in the folder.
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    seeds = {f"{path.parent.name}-{path.name}": path.read_bytes() for path in options.files}
    with tempfile.TemporaryDirectory() as folder:
        tally = fuzz(seeds, options.count, options.start, Path(folder))
    for failure in (*tally.failures, *tally.slow):
        print(failure)  # noqa: T201
    print(dict(tally.outcomes), f"failures {len(tally.failures)}",  # noqa: T201
          f"slowest {tally.slowest:.2f} s, "
          f"largest {FIXED_BYTES} + {tally.largest:.1f} x the file")  # fmt: skip
    return 1 if tally.failures or tally.slow else 0


if __name__ == "__main__":
    sys.exit(main())
