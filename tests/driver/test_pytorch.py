"""What a user writes about a PyTorch network."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantable.driver.pytorch import Export, is_reference, parsed_shape, shape_text
from quantable.ir import DType, OptionError, StageRecord, UnknownNameError, Value

_values = st.builds(
    Value, st.sampled_from(["x", "tokens", "input_2"]),
    st.sampled_from([DType.FLOAT32, DType.INT64, DType.BOOL]),
    st.lists(st.integers(0, 999) | st.sampled_from(["N", "batch", "max_x"]), max_size=5).map(tuple),
)  # fmt: skip


@settings(derandomize=True, max_examples=40)
@given(_values)
def test_shapes_round_trip(value: Value) -> None:
    assert parsed_shape(shape_text(value)) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1x3x224x224", Value("", DType.FLOAT32, (1, 3, 224, 224))),
        ("x=Nx3x32x32", Value("x", DType.FLOAT32, ("N", 3, 32, 32))),
        ("tokens=N,max_x:int64", Value("tokens", DType.INT64, ("N", "max_x"))),
    ],
)
def test_shapes_are_read(text: str, value: Value) -> None:
    assert parsed_shape(text) == value


@pytest.mark.parametrize("text", ["", "x", "x=1xx3", "x=1,,3", "x=-1x3", "x=1x3:", "=1x3", "x=2N"])
def test_what_is_no_shape_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="input shape"):
        parsed_shape(text)


def test_an_unknown_element_type_lists_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="unknown element type 'float31'") as caught:
        parsed_shape("x=1x3:float31")
    assert "float32" in caught.value.help


def test_options_of_a_record_export_the_same() -> None:
    how = Export.of(["x=N,3:float32"], None, (), 18, ["scores"])
    record = StageRecord("import", 1, how.recorded(how.inputs))
    assert Export.from_record(record) == how


def test_an_import_of_onnx_is_no_export() -> None:
    with pytest.raises(OptionError, match="does not begin with a PyTorch module"):
        Export.from_record(StageRecord("import", 1))


def test_shapes_and_an_example_contradict_each_other() -> None:
    with pytest.raises(OptionError, match="found both"):
        Export.of(["x=1x3"], "net.py:images")
    with pytest.raises(OptionError, match=r"expected NAME\.AXIS=SYMBOL, found 'x=batch'"):
        Export.of((), "net.py:images", ["x=batch"])


def test_references_are_told_from_files(tmp_path: Path) -> None:
    assert is_reference("net.py:net")
    assert is_reference("a/b c/net.py:models.net")
    assert is_reference("package.module:net")
    for text in ("net.onnx", "net.py", "a/net:net", "net.py:", ":net", "net.py:1"):
        assert not is_reference(text)
    odd = tmp_path / "net.py:net"
    odd.write_bytes(b"")
    assert not is_reference(odd)
