"""The module for Zephyr, built by CMake with stand-ins for Zephyr's functions."""

from __future__ import annotations

import shutil
import subprocess

import pytest
import yaml

from quantable.backends.c import emit

STAND_INS = """\
cmake_minimum_required(VERSION 3.16)
project(app C)
set(CMAKE_C_STANDARD 11)
set(current none)
macro(zephyr_library_named name)
  set(current ${name})
  add_library(${name} STATIC)
endmacro()
macro(zephyr_library_sources)
  target_sources(${current} PRIVATE ${ARGN})
endmacro()
macro(zephyr_library_compile_options)
  target_compile_options(${current} PRIVATE ${ARGN})
endmacro()
macro(zephyr_include_directories)
  target_include_directories(${current} PUBLIC ${ARGN})
endmacro()
add_subdirectory(model/zephyr)
if(CONFIG_QUANTABLE_NET)
  add_executable(use use.c)
  target_link_libraries(use quantable_net m)
endif()
"""


def test_the_module_is_what_zephyr_looks_for(graph_named, tmp_path):
    described = emit(graph_named("net"), tmp_path)
    module = yaml.safe_load((tmp_path / "zephyr/module.yml").read_text("utf-8"))
    assert module["name"] == "quantable_net"
    folder = tmp_path / module["build"]["cmake"]
    assert (folder / "CMakeLists.txt").is_file()
    assert (tmp_path / module["build"]["kconfig"]).is_file()
    kconfig = (folder / "Kconfig").read_text("utf-8")
    assert "config QUANTABLE_NET\n\tbool" in kconfig
    assert f"takes {described['arena_bytes']} bytes" in kconfig
    assert {"zephyr/module.yml", "zephyr/CMakeLists.txt", "zephyr/Kconfig"} <= {*described["files"]}


@pytest.mark.parametrize("is_chosen", [False, True])
def test_the_module_is_built_where_it_is_chosen(graph_named, tmp_path, is_chosen):
    if shutil.which("cmake") is None:
        pytest.skip("no cmake on this machine")
    described = emit(graph_named("net"), tmp_path / "model")
    nulls = ", 0" * (len(described["inputs"]) + len(described["outputs"]))
    (tmp_path / "CMakeLists.txt").write_text(STAND_INS)
    (tmp_path / "use.c").write_text(
        '#include "model.h"\n'
        f"int main(void) {{ return net_run(0, 0{nulls}) == NET_ERROR_NULL ? 0 : 1; }}\n"
    )
    chosen = "-DCONFIG_QUANTABLE_NET=1" if is_chosen else "-DCONFIG_QUANTABLE_NET=0"
    for command in (["cmake", "-S", ".", "-B", "b", chosen], ["cmake", "--build", "b"]):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    program = tmp_path / "b" / "use"
    assert program.exists() is is_chosen
    if is_chosen:
        subprocess.run([str(program)], check=True)
