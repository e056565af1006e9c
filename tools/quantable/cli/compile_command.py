"""`quantable compile`: everything in one go."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from quantable.cli.cache_options import cache_options, open_cache
from quantable.cli.dispatch_options import dispatch_options, dispatched
from quantable.cli.instrument_options import instrument_options, selection_of
from quantable.cli.operation_options import operations_of, operations_option
from quantable.cli.options import (
    FILE,
    checkpoint_option,
    json_option,
    output_option,
    preprocessing_of,
    preprocessing_options,
    quiet_option,
    samples_option,
    threads_option,
)
from quantable.cli.output import progress, say, say_warnings, show
from quantable.cli.pytorch_options import model_argument, pytorch_graph, pytorch_options


@click.command("compile")
@model_argument
@click.option("--target", required=True, help="Name of a target, or a description file.")
@click.option("--calibration", help="A .npz or .npy file, or a folder of images.")
@click.option("--profile", type=FILE, help="Statistics measured before, instead of data.")
@click.option(
    "--requantize", is_flag=True,
    help="Quantize a model anew that is quantized already: from the float network of its weights.",
)  # fmt: skip
@preprocessing_options
@samples_option
@threads_option
@dispatch_options
@click.option(
    "--effort", default="fast", show_default=True,
    help="fast (seconds), balanced (a minute or two), or best (minutes, for ResNet-50's size).",
)  # fmt: skip
@checkpoint_option
@click.option(
    "--arena-budget", metavar="SIZE",
    help="Fail where the code would need more working memory, such as 22KB (22528 bytes), and say "
    "what needs most.",
)  # fmt: skip
@click.option(
    "--pipeline", multiple=True, metavar="STAGE=PASSES",
    help="Another pipeline for a stage; see `quantable list stages`.",
)  # fmt: skip
@output_option
@pytorch_options
@cache_options
@instrument_options
@quiet_option
@operations_option
@json_option
def command(
    model: Path,
    target: str,
    calibration: str | None,
    profile: Path | None,
    requantize: bool,
    samples: int | None,
    threads: int,
    effort: str,
    checkpoint: Path | None,
    arena_budget: str | None,
    pipeline: tuple[str, ...],
    output: Path,
    cache: Path | None,
    cache_limit: int,
    quiet: bool,
    as_json: bool,
    **how: Any,
) -> None:
    """Compile a network for a target: stage files, target code and a report.

    The network is an ONNX file, or a PyTorch module as `quantable import` takes it.

    A recipe is a TOML file with the same keys as these options. With a cache, stages whose inputs
    did not change are not computed again; the result is the same, to the byte. A model that is
    quantized already keeps its scales and integers, and needs no calibration but for what it leaves
    real, where the target has integers alone.

    \b
    Example:
      quantable compile resnet20.onnx --target x86-vnni --calibration images.npz -o build/
      quantable compile net.onnx --recipe net.toml --target onnxruntime -o build-ort/
      quantable compile net.py:net --input-shape x=1x3x32x32 --recipe net.toml -o build/
      quantable compile quantized.onnx --target x86-vnni -o build/
      quantable compile net.onnx --recipe net.toml --cache ~/.cache/quantable -o build/
    """
    from quantable.driver import api
    from quantable.driver.compile import Calibration, compile_model
    from quantable.driver.pipelines import with_arena_budget

    pipelines = _pipelines(pipeline)
    pipelines["quantize"] = dispatched(how, pipelines.get("quantize", "quantize"), target)
    if arena_budget is not None:
        pipelines["plan"] = with_arena_budget(pipelines.get("plan", "plan"), arena_budget)
    selected, steps = selection_of(how), preprocessing_of(how)

    def tell(text: str) -> None:
        say(text, quiet=quiet)

    network = pytorch_graph(model, how) or model
    with progress("observing", quiet=quiet) as count:
        done = compile_model(
            network, output, target=target,
            calibration=Calibration(
                calibration, api.load_profile(profile) if profile else None,
                steps, samples, threads, checkpoint, count,
            ) if calibration or profile else None,
            requantize=requantize, pipelines=pipelines, effort=effort,
            announce=lambda stage: tell(f"{stage} ..."),
            cache=open_cache(cache, cache_limit, tell), notice=tell, selection=selected,
            operations=operations_of(),
            warn=lambda found: say_warnings(found, quiet=quiet),
        )  # fmt: skip
    selected.finish()
    show(done.facts if as_json else _brief(done.facts), as_json=as_json)


def _brief(facts: Mapping[str, Any]) -> dict[str, object]:
    """What a person wants to see at once; the report has the rest."""
    shown = ("network", "target", "float_parameter_bytes", "integer_parameter_bytes")
    return {
        **{name: facts[name] for name in shown},
        **({"arena_bytes": facts["arena_bytes"]} if facts["arena_bytes"] else {}),
        **_calibration(facts["calibration"]),
        "operations_left_float": len(facts["float_operations"]),
        "more": "report.md",
    }


def _calibration(facts: Mapping[str, Any] | None) -> dict[str, object]:
    if facts is None:
        return {"quantized_by": "the model itself"}
    return {"calibration_samples": facts["samples"]}


def _pipelines(given: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for text in given:
        stage, equals, passes = text.partition("=")
        if not equals:
            raise click.UsageError(f"--pipeline: expected STAGE=PASSES, found '{text}'")
        found[stage] = passes
    return found
