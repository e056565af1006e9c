"""Target descriptions: the shipped ones, files of the user's, and clear errors."""

from __future__ import annotations

import json
from importlib import resources

import pytest

from quantable.ir import OptionError, Rounding, State, UnknownNameError
from quantable.ir.integer_operations import MOVEMENT_OPERATIONS
from quantable.kernels import FOLDERS
from quantable.targets import TARGETS, load_target
from quantable.targets.conditions import CONDITIONS
from quantable.targets.kernel_sets import KERNEL_SETS
from quantable.targets.reader import check, read_description

GOOD = """
name = "tiny"
summary = "for tests"
backend = "c"
integer_only = true
[arithmetic]
contract = "float32-rne"
accumulator_bits = 32
requantization = "float32-multiply"
rounding = "half-even"
bias_bits = 32
saturates = true
[schemes.activation]
bits = 8
quant_min = 0
quant_max = 255
symmetry = "asymmetric"
[schemes.weight]
bits = 4
quant_min = -7
quant_max = 7
symmetry = "symmetric"
granularity = "channel"
[schemes.bias]
bits = 32
quant_min = -2147483648
quant_max = 2147483647
symmetry = "symmetric"
[schemes.constant]
bits = 8
quant_min = -127
quant_max = 127
symmetry = "symmetric"
[rules.Conv]
role = "compute"
inputs = ["activation", "weight", "bias"]
outputs = ["activation"]
"""


def written(tmp_path, text, name="tiny.toml"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_the_shipped_targets_load_under_their_names():
    assert {name: load_target(name).name for name in TARGETS} == {name: name for name in TARGETS}
    assert len({load_target(name).digest for name in TARGETS}) == len(TARGETS)


@pytest.mark.parametrize("name", TARGETS)
def test_the_shipped_targets_obey_the_schema(name):
    check(read_description(name), where=name)


def test_the_table_of_kernel_sets_is_complete():
    schema = json.loads((resources.files("quantable.targets") / "schema.json").read_text("utf-8"))
    allowed = schema["properties"]["kernels"]["enum"]
    assert sorted(allowed) == sorted(KERNEL_SETS) == sorted(FOLDERS)
    assert all(row.name == name for name, row in KERNEL_SETS.items())
    assert load_target("c-portable").kernels is KERNEL_SETS["portable"]
    assert load_target("x86-vnni").kernels is KERNEL_SETS["x86"]
    assert load_target("aarch64-dotprod").kernels is KERNEL_SETS["aarch64"]


def test_onnxruntime():
    target = load_target("onnxruntime")
    assert (target.backend, target.integer_only, target.has_integer_level) == ("onnx", False, False)
    config = target.schemes["activation"].config()
    assert (config.quant_min, config.quant_max, config.policy.is_symmetric) == (0, 255, False)
    assert config.state is State.FP32
    signed = load_target("onnxruntime-int8").schemes["activation"].config()
    assert (signed.quant_min, signed.quant_max, signed.bits) == (-128, 127, 8)
    assert target.rule("Softmax") is None


def test_the_c_targets_have_one_arithmetic():
    portable, vnni = load_target("c-portable"), load_target("x86-vnni")
    for other in (vnni, load_target("aarch64-dotprod")):
        assert portable.arithmetic == other.arithmetic
        assert portable.rules == other.rules
        assert portable.schemes == other.schemes
    assert vnni.has_integer_level
    assert portable.arithmetic.rounding is Rounding.HALF_EVEN
    weight = portable.schemes["weight"].config(1)
    assert (weight.quant_min, weight.quant_max, weight.channel_axis) == (-127, 127, 1)
    assert portable.schemes["weight"].config().channel_axis is None
    (fusion,) = portable.fusions
    assert "Conv" in fusion.steps[0].kinds
    assert fusion.steps[0].properties == ("single-use",)
    assert fusion.steps[1].kinds == ("Relu", "Clip")


def test_every_movement_operation_is_passive_or_aligned():
    target = load_target("c-portable")
    for kind in MOVEMENT_OPERATIONS:
        rule = target.rules[kind]
        assert rule.role == "passive" or rule.align == "output"


def test_the_last_scheme_stands_for_all_further_slots():
    rule = load_target("c-portable").rules["Concat"]
    assert rule.input_scheme(7) == "activation"
    assert load_target("c-portable").rules["Split"].output_scheme(3) == "activation"


def test_a_file_of_the_users_works_and_can_extend(tmp_path):
    target = load_target(written(tmp_path, GOOD))
    assert (target.name, target.schemes["weight"].bits) == ("tiny", 4)
    child = written(tmp_path, 'name = "child"\nextends = "tiny.toml"\n', "child.toml")
    assert load_target(str(child)).schemes == target.schemes
    scheme = "[schemes.activation]\nbits = 16\nquant_max = 65535\n"
    wide = 'name = "mine"\nextends = "c-portable"\n' + scheme
    shipped = written(tmp_path, wide, "mine.toml")
    assert load_target(shipped).schemes["activation"].bits == 16


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(
        UnknownNameError, match=r"unknown target 'x86-vni'\n  help: did you mean x86-vnni"
    ):
        load_target("x86-vni")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("bits = 4", "bits = 1", r"key 'schemes.weight.bits': expected at least 2, found 1"),
        ("bits = 4", "bits = 64", r"key 'schemes.weight.bits': expected at most 32, found 64"),
        ("bits = 4", 'bits = "4"', r"key 'schemes.weight.bits': expected type integer, found '4'"),
        ("bits = 4", "bits = 2", r"key 'schemes.weight': range \[-7, 7\] does not fit 2 bits"),
        ('backend = "c"', 'backend = "d"', r"'backend': expected one of 'onnx', 'c', found 'd'"),
        ('backend = "c"', "", r"key 'the top level': expected key 'backend', found none"),
        ("bits = 4", "bits = 4\nscal = 2.0", r"unknown key 'scal'\n  help: did you mean scale"),
        ("bits = 4", "bits = 4\nscale = 2.0", r"expected a scale exactly where"),
        ("bits = 4", 'bits = 4\nscale = 0.0\nobserver = "fixed"', r"expected more than 0"),
        ("bits = 4", 'bits = 4\nscale = 1.0\nzero_point = 9\nobserver = "fixed"', r"zero point in"),
        ("bits = 4", 'bits = 4\ntail = "wide"', r"'schemes.weight.tail': .* found 'wide'"),
        ('"weight", "bias"', '"wait", "bias"', r"'rules.Conv.inputs': .* found 'wait'"),
        ('outputs = ["activation"]', "outputs = []", r"'rules.Conv.outputs': expected at least 1"),
        ('outputs = ["activation"]', 'outputs = ["passive"]', r"rules.Conv.outputs': .* 'passive'"),
        ('role = "compute"', 'role = "compute"\nneeds = ["luck"]', r"rules.Conv.needs': .* 'luck'"),
        ('name = "tiny"', 'name = "Tiny!"', r"key 'name': expected text that matches"),
        ('name = "tiny"', "name = tiny", r"expected TOML, found a fault"),
        ('name = "tiny"', 'name = "tiny"\nextends = "tiny.toml"', r"extend each other"),
        ('name = "tiny"', 'name = "tiny"\nextends = "gone.toml"', r"cannot read the target"),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused_by_its_key(old, new, expected, tmp_path):
    assert old in GOOD
    with pytest.raises(OptionError, match=expected) as caught:
        load_target(written(tmp_path, GOOD.replace(old, new, 1)))
    assert ".toml'" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


FLOATS = """
name = "mine"
extends = "onnxruntime"
[schemes.weight]
bits = 8
arithmetic = "floating"
exponent_bits = 4
quant_min = -448
quant_max = 448
observer = "floating"
"""
BLOCKS = """
name = "mine"
extends = "onnxruntime-int4-block"
[schemes.weight]
granularity = "block"
block_size = 64
otherwise = "kernel"
"""


def test_floats_and_blocks_of_the_users(tmp_path):
    scheme = load_target(written(tmp_path, FLOATS)).schemes["weight"]
    assert (scheme.policy.is_floating, scheme.policy.power_of_two) == (True, True)
    assert load_target(written(tmp_path, BLOCKS)).schemes["weight"].config(0).block_size == 64
    assert load_target(written(tmp_path, BLOCKS)).schemes["weight"].config().block_size == 0


@pytest.mark.parametrize(
    ("text", "old", "new", "expected"),
    [
        (FLOATS, "448", "127", r"expected the range .* \[-448, 448\], found \[-127, 127\]"),
        (FLOATS, "exponent_bits = 4", "exponent_bits = 3", r"that can be stored \(8 with 4, 8 wi"),
        (FLOATS, 'observer = "floating"', 'observer = "mse"', r"an observer of floats .* 'mse'"),
        (FLOATS, 'arithmetic = "floating"\nexponent_bits = 4\n', "", r"does not fit 8 bits"),
        (FLOATS, "[schemes.weight]", '[schemes.weight]\nsymmetry = "asymmetric"', r"is symmetric"),
        (FLOATS, "[schemes.weight]", "[schemes.weight]\npower_of_two = false", r"power of two"),
        (FLOATS, '"onnxruntime"', '"c-portable"', r"integer targets compute with integers"),
        (BLOCKS, '"kernel"', '"gone"', r"weight.otherwise': expected one of .* 'gone'"),
        (BLOCKS, '"kernel"', '""', r"'otherwise' exactly where the granularity"),
        (BLOCKS, '"kernel"', '"weight"', r"expected a scheme without blocks"),
        (BLOCKS, '"block"', '"channel"', r"'channel-linear-symmetric' with blocks of 64"),
        (BLOCKS, "64", "1", r"weight.block_size': expected at least 2, found 1"),
        (BLOCKS, "64", "64\nobserver = 'floating'", r"expected arithmetic 'floating' beside"),
        (BLOCKS, "[schemes.weight]", "[schemes.kernel]\ngranularity = 'block'\nblock_size = 8\n"
         "otherwise = 'constant'\n[schemes.weight]", r"blocks in the scheme 'weight' only"),
        (BLOCKS, '"onnxruntime-int4-block"', '"x86-vnni"', r"'block-.*': integer targets"),
    ],
)  # fmt: skip
def test_what_contradicts_itself_in_floats_and_blocks(tmp_path, text, old, new, expected):
    assert old in text
    with pytest.raises(OptionError, match=expected):
        load_target(written(tmp_path, text.replace(old, new)))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(OptionError, match="cannot read the target description: No such file"):
        load_target(tmp_path / "none.toml")


def test_conditions_are_checked_by_name():
    used = {
        need for name in TARGETS for rule in load_target(name).rules.values() for need in rule.needs
    }
    assert used == set(CONDITIONS)
