"""`quantable bench`: how fast is what was emitted?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from quantable.cli.options import FILE, json_option, quiet_option
from quantable.cli.output import progress, say, show, table

if TYPE_CHECKING:
    from quantable.adapters.c_cold import ColdStart
    from quantable.bench.latency import Latency


@click.command("bench")
@click.argument("directory", type=FILE, metavar="BUILD")
@click.option("--compiler", default="gcc", show_default=True, help="C compiler.")
@click.option("--flags", default="-O3 -march=native", show_default=True, help="Its flags.")
@click.option("--seconds", default=2.0, show_default=True, help="To run each runtime for.")
@click.option("--threads", default=1, show_default=True, help="That share a run.")
@click.option(
    "--against", multiple=True, type=FILE,
    help="The network as .onnx, .xml or .tflite: runtimes that are installed run it in turn.",
)  # fmt: skip
@click.option("--layers/--no-layers", default=True, help="Time every step.")
@click.option("--cold", is_flag=True, help="Also time a fresh process: loading and the first run.")
@quiet_option
@json_option
def command(
    directory: Path,
    compiler: str,
    flags: str,
    seconds: float,
    threads: int,
    against: tuple[Path, ...],
    layers: bool,
    cold: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Time emitted C code on this machine, on random inputs.

    Latencies are medians. Other runtimes take turns with the emitted code: compare ratios, which
    hold where the speed of a machine drifts. Peak is what the processor reaches on products of
    bytes that wait for no memory, with as many threads. Steps are timed with one thread.

    \b
    Example:
      quantable bench build/
      quantable bench build/ --against resnet50.int8.onnx --seconds 5
      quantable bench build/ --threads 2 --cold
    """
    from quantable.adapters.c_cold import cold_start
    from quantable.adapters.c_timing import TimedModel
    from quantable.bench.latency import OwnRunner, Runner, interleaved, layer_rows, peer
    from quantable.bench.machine import describe_machine

    model = TimedModel(directory, compiler=compiler, flags=flags.split(), threads=threads)
    runners: list[Runner] = [OwnRunner(model)]
    for path in against:
        peers, reasons = peer(path, threads)
        runners += peers
        for reason in reasons:
            say(f"remark: left out: {reason}")
    with progress("timing", quiet=quiet) as count:
        found = interleaved(runners, seconds, count)
    peak = model.peak()
    runs = max(1, min(1000, int(seconds / 2 / found[0].median)))
    rows = layer_rows(model, runs, peak) if layers else []
    macs = model.manifest["macs"]
    latencies = _latencies(found, macs, peak * threads)
    facts = {
        "machine": describe_machine(), "compiler": compiler, "flags": flags, "threads": threads,
        "peak_gops": 2 * peak / 1e9 or None, "latencies": latencies, "layers": rows,
    }  # fmt: skip
    started = cold_start(directory, compiler=compiler, flags=flags.split()) if cold else None
    if started is not None:
        facts["cold"] = {
            "milliseconds": started.seconds * 1e3, "best": started.best * 1e3,
            "resident_bytes": started.resident_bytes,
        }  # fmt: skip
    if as_json:
        show(facts, as_json=True)
        return
    say(f"{facts['machine']}; {compiler} {flags}; threads: {threads}")
    _print(latencies, ("runtime", "microseconds", "best", "gops", "of_peak", "ratio"))
    if started is not None:
        _say_cold(started)
    if rows:
        _print(rows, ("step", "kind", "microseconds", "share", "gops", "of_peak", "operation"))


def _latencies(found: Sequence[Latency], macs: int, peak: float) -> list[dict[str, object]]:
    return [
        {
            "runtime": item.name, "microseconds": item.median * 1e6, "best": item.best * 1e6,
            "gops": 2 * macs / item.median / 1e9, "ratio": item.median / found[0].median,
            "of_peak": macs / item.median / peak if peak else None,
        }
        for item in found
    ]  # fmt: skip


def _say_cold(started: ColdStart) -> None:
    say(
        f"a fresh process with one run: {started.seconds * 1e3:.1f} ms (best "
        f"{started.best * 1e3:.1f}), {started.resident_bytes / 2**20:.1f} MiB resident"
    )


def _print(rows: Sequence[Mapping[str, object]], columns: tuple[str, ...]) -> None:
    shown = [[_text(column, row[column]) for column in columns] for row in rows]
    table(columns, shown, as_json=False)


def _text(column: str, value: object) -> object:
    if not isinstance(value, float):
        return value
    if column in ("share", "of_peak"):
        return f"{value:.1%}"
    return f"{value:.2f}" if column == "ratio" else f"{value:.1f}"
