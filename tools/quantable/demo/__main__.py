"""The main job on the embedded network, by the commands that a user would type.

    python -m quantable.demo [FOLDER]

Each command line is printed, then run in this process. Ends with exit code 1 if any claim fails.
"""

from __future__ import annotations

import shlex
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

from quantable.cli.main import main as quantable
from quantable.driver.stages import STAGE, Stage, stages_for
from quantable.targets.description import load_target

HERE = Path(__file__).parent
MODEL, RECIPE = HERE / "digits.onnx", HERE / "digits.toml"
CALIBRATION, TEST = HERE / "digits_calibration.npz", HERE / "digits_test.npz"
TARGETS = ("x86-vnni", "onnxruntime")
_OUT = Console(highlight=False, soft_wrap=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo in a folder of the user's, or in one that is removed afterwards."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if words:
        return _run(Path(words[0]))
    with tempfile.TemporaryDirectory(prefix="quantable-demo-") as folder:
        return _run(Path(folder))


def _run(folder: Path) -> int:
    failed = 0
    for target in TARGETS:
        _title(f"{MODEL.name} for {target}, stage by stage")
        by_stage, one_shot = folder / f"{target}-stages", folder / target
        by_stage.mkdir(parents=True, exist_ok=True)
        for words in stage_commands(target, by_stage):
            failed |= _command(*words)
        _title(f"{MODEL.name} for {target}, in one go")
        failed |= _command(
            "compile", MODEL, "--target", target, "--calibration", CALIBRATION,
            "--recipe", RECIPE, "-o", one_shot,
        )  # fmt: skip
        failed |= _compare(by_stage, one_shot)
        _title(f"is it true? 597 images that were used for nothing else, {target}")
        failed |= _command("validate", one_shot, "--data", TEST, "--recipe", RECIPE)
        for stage in _measured(target):
            failed |= _command(
                "run", one_shot / stage.file, "--data", TEST, "--recipe", RECIPE,
                "--labels", "label",
            )  # fmt: skip
    _title("every claim held" if not failed else "A CLAIM FAILED")
    return failed


def stage_commands(target: str, folder: Path) -> Iterator[tuple[str | Path, ...]]:
    """Yield the command line of every stage, words as `quantable` takes them."""
    before: Path = MODEL
    profile = folder / STAGE["observe"].file
    for stage in stages_for(load_target(target).backend):
        words: tuple[str | Path, ...] = (*stage.command.split(), before)
        if stage.name == "observe":
            yield (*words, "--data", CALIBRATION, "--recipe", RECIPE, "-o", profile)
            continue
        extra: dict[str, tuple[str | Path, ...]] = {
            "quantize": ("--target", target),
            "calibrate": ("--profile", profile),
        }
        before = folder / stage.file
        yield (*words, *extra.get(stage.name, ()), "-o", before)


def _measured(target: str) -> tuple[Stage, ...]:
    last = [stage for stage in stages_for(load_target(target).backend) if stage.level][-1]
    return STAGE["import"], last


def _title(text: str) -> None:
    _OUT.print(f"\n[bold]== {text}[/bold]\n")


def _command(*words: str | Path) -> int:
    shown = [str(word.name if isinstance(word, Path) else word) for word in words]
    _OUT.print(f"$ quantable {shlex.join(shown)}", markup=False)
    quiet = ("--quiet",) if words[0] in ("compile", "observe", "validate", "run") else ()
    code = quantable([*map(str, words), *quiet])
    return 1 if code else 0


def _compare(by_stage: Path, one_shot: Path) -> int:
    """Print whether every file of the stages is in the one-shot folder, byte for byte."""
    files = sorted(path for path in by_stage.rglob("*") if path.is_file())
    differing = [
        path.relative_to(by_stage)
        for path in files
        if path.read_bytes() != (one_shot / path.relative_to(by_stage)).read_bytes()
    ]
    _OUT.print(f"\nstage by stage = one go: {len(files)} files, {len(differing)} differ")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
