"""The command line: one file a command, imported when it is called.

Exit codes: 0 ok (`validate`: every claim held), 1 the input is at fault or a claim did not hold,
2 usage, 70 a fault of Quantable. What a command makes goes to files and stdout, the rest to stderr.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

import click

from quantable.ir.errors import QuantableError, UserError

COMMANDS: dict[str, str] = {
    "import": "read an ONNX file",
    "opt": "run passes on a graph",
    "observe": "measure a float graph on calibration data",
    "merge": "add up the statistics of shards",
    "quantize": "give every quantable operation its config for a target",
    "calibrate": "fill the scales from statistics",
    "lower": "make the integer arithmetic explicit",
    "emit": "write target code",
    "compile": "do all of it, from ONNX to target code",
    "run": "run a graph of any level in the reference runtime",
    "size": "measure the room that emitted C code takes",
    "bench": "time emitted C code, beside other runtimes",
    "validate": "compare the reference with the target's real runtime",
    "print": "print a graph as text",
    "parse": "read a graph's text and write it as a file",
    "diff": "show what differs between two graphs",
    "compare": "run two stages and name the first operation whose numbers differ",
    "analyze": "measure what quantization does to a network, and where",
    "search": "find how many bits each operand needs under a budget",
    "replay": "redo a file's history and compare every digest",
    "why": "tell what touched an operation and where its scales come from",
    "bisect": "find the pass and the rewrite that make a graph bad",
    "reduce": "make a graph as small as it can be while a command exits with 0",
    "cache": "look into the cache, and empty it",
    "pack": "write a graph with all its contents as one file",
    "unpack": "write a graph with its large contents in files of their own",
    "upgrade": "write a file in this or an older version of its format",
    "verify": "check files against every rule of the format and the IR",
    "list": "list passes, targets, operations, stages or efforts",
}
"""Every command with its sentence, in the order of the work."""

INTERNAL_ERROR = 70


class _Application(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"quantable.cli.{cmd_name}_command")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, n=3, cutoff=0.5)
            hint = f"did you mean {', '.join(near)}?" if near else "see quantable --help"
            raise click.UsageError(f"no command '{args[0]}'; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(
    cls=_Application,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="quantable", message="quantable %(version)s")
def application() -> None:
    """Turn float ONNX networks into integer code, stage by stage, and prove it.

    \b
    Example:
      quantable compile net.onnx --target x86-vnni --calibration images.npz -o build/
      quantable validate build/ --data test.npz
    """


def run() -> NoReturn:
    """Run the command line and end the process; entry point of the console script."""
    leave(main())


def leave(code: int) -> NoReturn:
    """End the process at once, with everything written.

    Taking down an interpreter that has run torch takes four tenths of a second, for nothing: files
    are complete, and the system takes back the memory. (mypy leaves in the same way.)

    Args:
        code: The exit code.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # nobody reads it any more
            code = code or 1
    os._exit(code)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    Args:
        arguments: Words after the program's name; by default those of the process.
    """
    try:
        code = application.main(arguments, prog_name="quantable", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        click.echo("interrupted: every file is as it was, or whole", err=True)
        return 130
    except QuantableError as error:
        return _explain(error)
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except Exception:
        traceback.print_exc()
        click.echo("error[E0300]: a fault of Quantable; please report the lines above", err=True)
        return INTERNAL_ERROR
    return code if isinstance(code, int) else 0


def _explain(error: QuantableError) -> int:
    if not isinstance(error, UserError):
        traceback.print_exception(error)
    place = f"{error.where}: " if error.where else ""
    click.echo(f"error[{error.code}]: {place}{error.message}", err=True)
    if error.help:
        click.echo(f"  help: {error.help}", err=True)
    return error.exit_code
