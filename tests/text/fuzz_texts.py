"""Mutate texts without end and use whatever is accepted: ``python -m tests.text.fuzz_texts``.

Prints one line for every failure and a summary; the exit code is 1 if there was a failure.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import resource
import signal
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

from quantable.ir import FormatError, Graph, OptionError, QuantableError, verify
from quantable.schema import load
from quantable.text.match import parse_pattern
from quantable.text.parser import parse_graph
from quantable.text.pipeline import parse_pipeline
from quantable.text.printer import print_graph
from tests.schema.fuzz_files import (
    ADDRESS_SPACE,
    HANG_SECONDS,
    LIMIT_SECONDS,
    Hang,
    Tally,
    run_on_zeros,
)
from tests.text.test_mutated_texts import mutated, pointed

TRACED = 50
"""One text in so many is parsed once more under the eyes of tracemalloc."""
PER_BYTE, FIXED_BYTES = 256, 1 << 20
"""What parsing may allocate: a token of Python for every few characters, and the parser."""
PIPELINES = (
    'canonicalize,calibrate{method="mse" percentile=99.9},correct-bias',
    'dispatch{method="all-in" table=["a=float", "b=x"]},assign-configs,bake{}',
)
PATTERNS = ('%c = Conv|Add(%x, @w, ..., _) [single-use, pads = [1, 2], m = "s"] -> Relu; Mul(%c)',)


def read_graph(text: str) -> Graph | str:
    """Parse, print, parse, verify; return the graph, or how far it came.

    Only documented errors may come.
    """
    try:
        graph = parse_graph(text)
    except FormatError as error:
        if not pointed(error):
            raise  # a fault of the parser
        return "refused"
    printed = print_graph(graph, history=True)
    again = parse_graph(printed, store=graph.store, checked=False)
    assert print_graph(again, history=True) == printed, "printed and parsed, it is another graph"
    try:
        verify(graph)
    except QuantableError:
        return "not verified"
    return graph


def read_pattern(text: str) -> str:
    """Parse a match pattern, print it and parse that."""
    try:
        parsed = parse_pattern(text)
    except FormatError as error:
        if not pointed(error):
            raise  # a fault of the parser
        return "refused"
    assert parse_pattern(str(parsed)) == parsed, "printed and parsed, it is another pattern"
    return "pattern read"


def read_pipeline(text: str) -> str:
    """Parse a pipeline."""
    try:
        parse_pipeline(text)
    except (FormatError, OptionError):
        return "refused"
    return "pipeline read"


def peak_bytes(text: str) -> int:
    """Return how many bytes parsing allocates at most."""
    tracemalloc.start()
    with contextlib.suppress(FormatError):
        parse_graph(text)
    peak: int = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


KINDS: dict[int, tuple[str, tuple[str, ...], Callable[[str], Graph | str]]] = {
    0: ("pattern", PATTERNS, read_pattern),
    1: ("pipeline", PIPELINES, read_pipeline),
}
"""Of ten mutants, one is of a pattern, one of a pipeline, the others of graphs."""


def fuzz(graphs: list[str], count: int, seed: int) -> Tally:
    """Use mutants of texts, drawn from a seed."""
    tally, source = Tally(), random.Random(seed)
    signal.signal(signal.SIGPROF, _alarm)
    for number in range(count):
        kind, pool, read = KINDS.get(number % 10, ("graph", tuple(graphs), read_graph))
        text = mutated(source.choice(pool), source)
        try_one(text, read, tally, f"{kind} {seed}-{number}")
        if kind == "graph" and number % TRACED == 2:
            peak = peak_bytes(text) - FIXED_BYTES
            tally.largest = max(tally.largest, peak / max(1, len(text.encode("utf-8", "replace"))))
    if tally.largest > PER_BYTE:
        tally.failures.append(f"parsing took {tally.largest:.0f} bytes for each of the text")
    return tally


def try_one(text: str, read: Callable[[str], Graph | str], tally: Tally, name: str) -> None:
    """Use one mutant and note the outcome."""
    signal.setitimer(signal.ITIMER_PROF, HANG_SECONDS)
    began = time.process_time()
    try:
        found = read(text)
        seconds = time.process_time() - began
        tally.slowest = max(tally.slowest, seconds)
        if seconds > LIMIT_SECONDS:
            tally.slow.append(f"{name}: read in {seconds:.1f} s")
        tally.outcomes[run_on_zeros(found) if isinstance(found, Graph) else found] += 1
    except (Exception, Hang) as error:
        tally.failures.append(f"{name}: {type(error).__name__}: {error}"[:300])
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _alarm(number: int, frame: object) -> None:
    raise Hang


def main() -> int:
    """Fuzz the texts of the files given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", type=Path, nargs="+", help=".qir files, whose texts are mutated")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    graphs = [print_graph(load(path), history=True, elide=1 << 12) for path in options.files]
    tally = fuzz(graphs, options.count, options.seed)
    for failure in (*tally.failures, *tally.slow):
        print(failure)  # noqa: T201
    print(dict(tally.outcomes), f"failures {len(tally.failures)}, slowest {tally.slowest:.2f} s, "  # noqa: T201
          f"largest {FIXED_BYTES} + {tally.largest:.1f} bytes for each of the text")  # fmt: skip
    return 1 if tally.failures or tally.slow else 0


if __name__ == "__main__":
    sys.exit(main())
