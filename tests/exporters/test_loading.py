"""Modules by reference, and the mistakes that a user makes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from quantable.exporters.loading import load_example, load_module
from quantable.ir import ModelError, UserError


def test_modules_classes_and_functions_are_modules(net_py: str) -> None:
    for name in ("ResNet", "resnet"):
        module, example = load_module(f"{net_py}:{name}")
        assert isinstance(module, nn.Module)
        assert example is None
    module, example = load_module(f"{net_py}:mobilenet")
    assert isinstance(module, nn.Module)
    assert example.shape == (1, 3, 16, 16)


def test_weights_that_nobody_loads_are_the_same_every_time(net_py: str) -> None:
    torch.manual_seed(7)
    before = torch.rand(1)
    torch.manual_seed(7)
    first, second = (load_module(f"{net_py}:resnet")[0].state_dict() for _ in range(2))
    assert torch.equal(torch.rand(1), before), "the user's random numbers were touched"
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_file_imports_what_lies_beside_it(net_py: str, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/beside.py").write_text("from torch import nn\nnet = nn.Linear(2, 3)\n")
    (tmp_path / "sub/user.py").write_text("from beside import net\n")
    assert isinstance(load_module("sub/user.py:net")[0], nn.Linear)
    (tmp_path / "importable_net.py").write_text("from torch import nn\nnet = nn.Linear(2, 3)\n")
    assert isinstance(load_module("importable_net:net")[0], nn.Linear)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("nothing.py:net", r"nothing\.py: no such file"),
        ("net.py:nothing", "expected an attribute 'nothing', found .*ResNet"),
        ("net.py:number", "expected an nn.Module, found int"),
        ("no_such_package:net", "running it raises ModuleNotFoundError: No module named"),
        ("net.py:broken", r"(?s)running it raises KeyError: 'weights'.*see line \d+ of .*net\.py"),
    ],
)
def test_mistakes_are_explained(net_py: str, reference: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_module(reference)


def test_a_file_with_a_fault_names_its_line(net_py: str, tmp_path: Path) -> None:
    (tmp_path / "faulty.py").write_text("import torch\n\nnet = torch.nn.Linaer(2, 3)\n")
    with pytest.raises(ModelError, match="has no attribute 'Linaer'") as caught:
        load_module("faulty.py:net")
    assert caught.value.help.startswith("see line 3 of ")
    (tmp_path / "faulty.py").write_text("net = (\n")
    with pytest.raises(ModelError, match="SyntaxError"):
        load_module("faulty.py:net")


def test_examples_are_tensors_arrays_or_mappings(net_py: str) -> None:
    (tensor,) = load_example(f"{net_py}:images")
    assert tensor.shape == (2, 3, 16, 16)
    Path("more.py").write_text("import numpy\ndef make(): return {'x': numpy.zeros((1, 2), 'f')}\n")
    example = load_example("more.py:make")
    assert isinstance(example, dict)
    assert example["x"].dtype is torch.float32
    Path("worse.py").write_text("class A: pass\nmake = [A]\n")
    with pytest.raises(UserError, match="expected tensors or arrays, found type"):
        load_example("worse.py:make")
