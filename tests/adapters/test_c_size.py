"""Sizes of emitted code: whole, by step, and the stack."""

from __future__ import annotations

import json
import subprocess

import pytest

from quantable.adapters.c_size import longest_chain, measure_sizes
from quantable.ir import UserError


def test_sizes_add_up_and_agree_with_the_manifest(build):
    folder = build
    sizes = measure_sizes(folder)
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    assert sizes.arena == manifest["arena_bytes"]
    assert sizes.data == 0
    assert sizes.constants >= manifest["weight_bytes"]
    assert sizes.code == sizes.shared + sum(step.code for step in sizes.steps)
    assert [step.step for step in sizes.steps] == [layer["step"] for layer in manifest["layers"]]
    assert all(step.code > 0 for step in sizes.steps if step.constants)


def test_the_stack_holds_what_runs_take(build, tmp_path):
    """A program that fills the stack below with a pattern, and looks how far a run got."""
    folder = build
    bound = measure_sizes(folder, flags=("-O2",)).stack
    assert bound is not None
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    prefix, upper = manifest["prefix"], manifest["prefix"].upper()
    (tmp_path / "main.c").write_text(f"""
#include "model.h"
#include <stdio.h>
#include <string.h>
static _Alignas({upper}_ARENA_ALIGN) uint8_t arena[{upper}_ARENA_SIZE];
static uint8_t in[{upper}_INPUT0_SIZE];
static {_c_type(manifest)} out[{upper}_OUTPUT0_SIZE];
enum {{ deep = 65536 }};
static __attribute__((noinline)) void paint(void) {{
  volatile uint8_t room[deep];
  for (int i = 0; i < deep; i++) room[i] = 0xA5;
}}
static __attribute__((noinline)) int used(void) {{
  volatile uint8_t room[deep];
  int clean = 0;
  while (clean < deep && room[clean] == 0xA5) clean++;
  return deep - clean;
}}
int main(void) {{
  paint();
  {prefix}_run(arena, sizeof arena, in, out);
  printf("%d", used());
  return 0;
}}
""")
    sources = [tmp_path / "main.c", folder / "model.c", folder / "model_weights.c"]
    program = tmp_path / "main"
    subprocess.run(
        ["gcc", "-O2", "-w", f"-I{folder}", *map(str, sources), "-o", str(program), "-lm"],
        check=True,
    )
    used = int(subprocess.run([program], capture_output=True, text=True, check=True).stdout)
    library = 512  # memcpy and the like, and return addresses
    assert used <= bound + library


def _c_type(manifest):
    return f"{manifest['outputs'][0]['dtype']}_t"


GRAPH = """
node: { title: "m.c:run" label: "run\\nm.c:1\\n16 bytes (static)" }
node: { title: "m.c:a" label: "a\\nm.c:2\\n100 bytes (static)" }
node: { title: "m.c:b" label: "b\\nm.c:3\\n8 bytes (dynamic,bounded)" }
node: { title: "memcpy" label: "memcpy\\n<built-in>" }
edge: { sourcename: "m.c:run" targetname: "m.c:a" label: "" }
edge: { sourcename: "m.c:run" targetname: "m.c:b" label: "" }
edge: { sourcename: "m.c:b" targetname: "m.c:a" label: "" }
edge: { sourcename: "m.c:a" targetname: "memcpy" label: "" }
"""


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [("", "", 124), ("(dynamic,bounded)", "(dynamic)", None), ("m.c:b", "m.c:run", None),
     ('targetname: "memcpy"', 'targetname: "m.c:run"', None)],
)  # fmt: skip
def test_the_longest_chain_of_calls(old, new, expected):
    """Amounts that are not known before a run, and functions that call themselves, have none."""
    assert longest_chain(GRAPH.replace(old, new) if old else GRAPH, "run") == expected


def test_the_stack_of_functions_in_assembly_was_left_out():
    """They push registers that gcc knows nothing of; instances of a template have a tag behind."""
    graph = GRAPH.replace("m.c:a", "m.c:tile_u8").replace('label: "a', 'label: "tile_u8')
    assert longest_chain(graph, "run", {"tile": 48, "til": 999}) == 172


def test_a_missing_compiler_is_named(build):
    with pytest.raises(UserError, match="no C compiler 'no-such-gcc'"):
        measure_sizes(build, compiler="no-such-gcc")
