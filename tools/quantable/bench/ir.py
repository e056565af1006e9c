"""Regenerate ``docs/ir-speed.md``: ``python -m quantable.bench.ir``.

How long it takes to print and parse a large graph, to compare stages of a network of real size, to
compile again what has not changed, and to start the commands that people type most.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time

import numpy as np

from quantable.bench.ending import add_page
from quantable.bench.machine import describe_machine, versions
from quantable.driver import api
from quantable.driver.cache import Cache
from quantable.driver.compile import Calibration, compile_model
from quantable.ir import Attribute, ContentStore, DType, Graph, Level, Operation, Value
from quantable.text.parser import parse_graph
from quantable.text.printer import print_graph

OPERATIONS = 5000
_SHAPE = (1, 8, 4, 4)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the page.

    Attributes:
        what: What was timed.
        seconds: Median of the wall times.
        processor: Median of the processor times; of the children for commands.
        bar: Most seconds.
    """

    what: str
    seconds: float
    processor: float
    bar: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write the page, and return 0 where every bar holds."""
    options = _parse(arguments)
    rows = list(_rows(options.resnet50, options.runs))
    for row in rows:
        sys.stdout.write(json.dumps([row.what, row.seconds, row.processor, row.bar]) + "\n")
    if options.output:
        options.output.write_text(page(rows, options.runs), encoding="utf-8")
    return 0 if all(row.seconds <= row.bar for row in rows) else 1


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m quantable.bench.ir",
        description="Measure printing, parsing, diffing, recompiling and starting.",
        epilog="Example: python -m quantable.bench.ir --resnet50 resnet50.onnx",
    )
    parser.add_argument("--resnet50", type=Path, required=True, help="made by the zoo script")
    parser.add_argument("--runs", type=int, default=5, help="of which the median is taken")
    add_page(parser, "ir-speed.md")
    return parser.parse_args(arguments)


def _timed(what: str, bar: float, runs: int, work: Callable[[], object]) -> Row:
    walls, processors = [], []
    for _ in range(runs):
        began, used = perf_counter(), process_time() + _children()
        work()
        walls.append(perf_counter() - began)
        processors.append(process_time() + _children() - used)
    return Row(what, statistics.median(walls), statistics.median(processors), bar)


def _children() -> float:
    held = os.times()
    return held.children_user + held.children_system


def _rows(model: Path, runs: int) -> Iterator[Row]:
    graph = api.quantize(chain(OPERATIONS), "x86-vnni")
    text = print_graph(graph)
    yield _timed(f"print {OPERATIONS} quantable operations", 0.1, runs, lambda: print_graph(graph))
    yield _timed(
        f"parse {OPERATIONS} quantable operations", 2.0, runs,
        lambda: parse_graph(text, store=graph.store),
    )  # fmt: skip
    images = [np.random.default_rng(0).normal(size=(1, 3, 224, 224)).astype(np.float32)]
    with tempfile.TemporaryDirectory() as scratch:
        build, cache = Path(scratch) / "build", Cache(Path(scratch) / "cache")

        def compile_it() -> None:
            calibration = Calibration(data=images)
            compile_model(model, build, target="x86-vnni", calibration=calibration, cache=cache)

        compile_it()
        yield _timed("compile an unchanged ResNet-50 again", 1.5, runs, compile_it)
        stages = sorted(build.glob("*.qir"))
        for before, after in itertools.pairwise(stages):
            what = f"`quantable diff` of ResNet-50, {before.stem} and {after.stem}"
            yield _timed(what, 2.0, runs, functools.partial(_run, ("diff", before, after)))
        small = Path(scratch) / "small.qir"
        api.save(chain(3), small)
        for words in (("print", small), ("verify", small), ("diff", small, small)):
            what = f"`quantable {words[0]}` of 3 operations"
            yield _timed(what, 0.5, runs, functools.partial(_run, words))


def _run(words: Sequence[object]) -> None:
    code = "from quantable.cli.main import run; run()"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", code, *map(str, words)]
    done = subprocess.run(command, check=False, stdout=subprocess.DEVNULL, env=environment)
    if done.returncode not in (0, 1):  # 1: a difference
        raise RuntimeError(f"quantable {words[0]} ended with {done.returncode}")


def chain(length: int) -> Graph:
    """Return a float network of so many operations: Conv, Relu and Add in turn."""
    store = ContentStore()
    weight = store.put(np.random.default_rng(0).normal(size=(8, 8, 1, 1)).astype(np.float32))
    values = {"x": Value("x", DType.FLOAT32, _SHAPE)}
    parameters, operations, last = {}, [], ["x", "x"]
    for index in range(length):
        name = f"v{index}"
        values[name] = Value(name, DType.FLOAT32, _SHAPE)
        if index % 3 == 0:
            held = f"w{index}"
            parameters[held] = weight
            values[held] = Value(held, weight.dtype, weight.shape)
            attributes: dict[str, Attribute] = {
                "kernel_shape": (1, 1), "strides": (1, 1), "dilations": (1, 1), "group": 1,
                "pads": (0, 0, 0, 0),
            }  # fmt: skip
            op = Operation(name, "Conv", (last[-1], held), (name,), attributes, (f"/{name}",))
        elif index % 3 == 1:
            op = Operation(name, "Relu", (last[-1],), (name,), {}, (f"/{name}",))
        else:
            op = Operation(name, "Add", (last[-1], last[-3]), (name,), {}, (f"/{name}",))
        operations.append(op)
        last = [*last[-2:], name]
    return Graph(
        "chain", Level.FLOAT, 21, ("x",), (last[-1],), values, tuple(operations), parameters,
        store=store,
    )  # fmt: skip


def page(rows: Sequence[Row], runs: int) -> str:
    """Return the rows as a Markdown page."""
    packages = ", ".join(f"{name} {number}" for name, number in versions(("lark", "numpy")).items())
    lines = [
        "# Speed of the IR",
        "",
        "Written by `python -m quantable.bench.ir --resnet50 resnet50.onnx`; do not edit.",
        f"ResNet-50 has random weights. Medians of {runs} runs; commands are whole processes.",
        "",
        f"Machine: {describe_machine()}. Versions: {packages}.",
        "",
        "| what | wall s | processor s | bar s | |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.what} | {row.seconds:.3f} | {row.processor:.3f} | {row.bar:g} | "
        f"{'holds' if row.seconds <= row.bar else 'misses'} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
