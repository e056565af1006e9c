"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])

FILE = click.Path(path_type=Path)

graph_argument = click.argument("graph", type=FILE, metavar="FILE.qir")
output_option = click.option("-o", "--output", type=FILE, required=True, help="Where to write.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print facts as JSON.")
target_option = click.option(
    "--target", help="Name of a target, or a description file; default: the one the graph names."
)
samples_option = click.option("--samples", type=int, help="Use only so many, from the start.")
threads_option = click.option(
    "--threads", type=int, default=2, show_default=True,
    help="Samples run at the same time; no result depends on it.",
)  # fmt: skip
checkpoint_option = click.option(
    "--checkpoint", type=FILE, metavar="DIR",
    help="Keep the steps of long passes here; a stopped one goes on from there, to the same bytes.",
)  # fmt: skip
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Show no progress.")

PREPROCESSING_KEYS = ("size", "resize", "crop", "scale", "mean", "std", "layout", "channel_order")
"""The options that say how raw values become inputs; a recipe has the same keys."""

_PREPROCESSING = (
    click.option("--size", help="HEIGHT,WIDTH of the input; default: the network's."),
    click.option("--resize", help="stretch (default), or crop: shorter side, then the center."),
    click.option(
        "--crop", help="Part of the resized image that `--resize crop` keeps, e.g. 0.875."
    ),
    click.option("--scale", help="Factor on raw values, e.g. 1/255; 1: as they are."),
    click.option("--mean", help="Subtracted after scaling; one number or one a channel: a,b,c."),
    click.option("--std", help="Divided by after that; one number or one a channel: a,b,c."),
    click.option("--layout", help="NCHW or NHWC; default: what the input's shape shows."),
    click.option("--channel-order", help="RGB (default) or BGR."),
)


def preprocessing_options(function: Function) -> Function:
    """Add the preprocessing options and `--recipe`."""
    for option in reversed(_PREPROCESSING):
        function = option(function)
    return recipe_option(function)


def tuning_options(function: Function) -> Function:
    """Add `--data` with its preprocessing, and `--checkpoint`: samples for passes that fit."""
    function = checkpoint_option(samples_option(preprocessing_options(function)))
    return click.option(
        "--data", help="Calibration inputs, for passes that fit: .npz, .npy, or a folder of images."
    )(function)


def tuning_of(graph: Any, values: dict[str, Any]) -> Any:
    """Take the options of `tuning_options` out of a command's values and return the samples."""
    from quantable.driver.tuning_data import open_tuning_data

    how = preprocessing_of(values)
    data, samples, kept = (values.pop(name) for name in ("data", "samples", "checkpoint"))
    if data is None:
        return None
    return open_tuning_data(graph, data, how, samples=samples, checkpoint=kept)


def recipe_option(function: Function) -> Function:
    """Add `--recipe`: a TOML file with the same keys as the options; the command line wins."""
    return click.option(
        "--recipe", type=FILE, is_eager=True, expose_value=False, callback=_use_recipe,
        help="TOML file with any of these options; the command line wins.",
    )(function)  # fmt: skip


def _use_recipe(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:
    if path is None:
        return
    from quantable.driver.recipe import read_recipe

    known = {
        option.name: option.opts[-1].lstrip("-")
        for option in ctx.command.params
        if isinstance(option, click.Option) and option.name and option is not param
    }
    names = {spelled: name for name, spelled in known.items()}
    recipe = read_recipe(path, names)
    ctx.default_map = {**(ctx.default_map or {}), **{names[k]: v for k, v in recipe.items()}}


def preprocessing_of(values: dict[str, Any]) -> Any:
    """Take the preprocessing options out of a command's values and return the preprocessing."""
    from quantable.driver.preprocessing import Preprocessing

    return Preprocessing.of({key: values.pop(key) for key in PREPROCESSING_KEYS})
