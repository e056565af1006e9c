"""Preprocessing: reading options, geometry, values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from quantable.driver.preprocessing import Preprocessing
from quantable.driver.recipe import read_recipe
from quantable.ir import DataError, OptionError, UnknownNameError


def test_options_are_read_from_text_and_from_numbers() -> None:
    text = {"size": "4,6", "scale": "1/255", "mean": "0.5,0.25", "layout": "NHWC", "crop": None}
    numbers = {"size": (4, 6), "scale": 1 / 255, "mean": [0.5, 0.25], "layout": "NHWC"}
    assert Preprocessing.of(text) == Preprocessing.of(numbers)
    assert Preprocessing.of(text).size == (4, 6)
    assert Preprocessing.of({"size": "8"}).size == (8, 8)
    assert Preprocessing.of({"scale": "1/127.5"}).scale == 1 / 127.5


def test_without_options_raw_values_have_no_meaning() -> None:
    assert not Preprocessing.of({"scale": None, "mean": None}).is_given
    assert Preprocessing.of({"mean": "1"}).scale == 1.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": "one"}, "scale: expected a number or a fraction"),
        ({"scale": "1/0"}, "scale: expected a number or a fraction"),
        ({"mean": "1,x"}, "mean: expected a number or a fraction"),
        ({"std": "1,0"}, "std: expected numbers other than 0"),
        ({"crop": "1.5"}, "crop: expected more than 0 and at most 1"),
        ({"size": "0"}, "size: expected positive numbers"),
        ({"size": "1,2,3"}, "size: expected HEIGHT,WIDTH or one number"),
        ({"layout": 3}, "layout: expected a text"),
    ],
)
def test_wrong_values_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError) as caught:
        Preprocessing.of(options)
    assert message in caught.value.message


@pytest.mark.parametrize(
    "options", [{"layout": "NCWH"}, {"resize": "strech"}, {"channel-order": "RGBA"}, {"scal": "1"}]
)
def test_unknown_names_get_the_nearest(options: dict[str, object]) -> None:
    with pytest.raises(UnknownNameError):
        Preprocessing.of(options)


def test_values_are_computed_in_float64_and_rounded_once() -> None:
    raw = np.arange(256, dtype=np.uint8).reshape(-1, 1)
    how = Preprocessing(scale=1 / 255, mean=(0.485,), std=(0.229,))
    exact = (raw.astype(np.float64) * (1 / 255) - 0.485) / 0.229
    assert np.array_equal(how.values(raw, ""), exact.astype(np.float32))


def test_one_number_a_channel_must_fit_the_channels() -> None:
    with pytest.raises(DataError, match="mean: expected 1 or 4 numbers, found 3"):
        Preprocessing(scale=1.0, mean=(1.0, 2.0, 3.0)).values(np.zeros((2, 4)), "x")


def test_channel_order_and_layout() -> None:
    raw = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    first = Preprocessing(scale=1.0, channel_order="BGR").image(raw, ("N", 3, 2, 4), "x")
    last = Preprocessing(scale=1.0, layout="NHWC").image(raw, None, "x")
    assert np.array_equal(first[0], raw[..., ::-1].transpose(2, 0, 1))
    assert np.array_equal(last[0], raw)


@pytest.mark.parametrize("shape", [None, ("N", 8), ("N", 3, 8, 3), ("N", 16, 8, 8)])
def test_an_unclear_layout_is_asked_for(shape: tuple[int | str, ...] | None) -> None:
    with pytest.raises(DataError, match="is not clear") as caught:
        Preprocessing().layout_for(shape, "x")
    assert "--layout" in caught.value.help


def _photo(folder: Path) -> Path:
    rows = np.repeat(np.arange(0, 200, 2, np.uint8)[:, None], 200, axis=1)
    Image.fromarray(np.stack([rows] * 3, axis=-1)).save(folder / "photo.png")
    return folder / "photo.png"


def test_crop_keeps_the_center_and_the_aspect(tmp_path: Path) -> None:
    path = _photo(tmp_path)  # 100 rows of 200 columns, brighter downwards
    how = Preprocessing(scale=1.0, resize="crop", crop=0.5, layout="NHWC")
    found = how.read_image(path, (1, 50, 50, 3))
    assert found.shape == (1, 50, 50, 3)
    assert found[0, 0, 0, 0] == 50.0
    assert found[0, -1, 0, 0] == 148.0


def test_stretch_takes_the_whole_image(tmp_path: Path) -> None:
    found = Preprocessing(scale=1.0).read_image(_photo(tmp_path), ("N", 1, 100, 100))
    assert found.shape == (1, 1, 100, 100)
    assert np.array_equal(found[0, 0, :, 0], np.arange(0, 200, 2))


def test_an_input_of_unknown_size_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="height and width are not fixed"):
        Preprocessing(scale=1.0).read_image(_photo(tmp_path), ("N", 3, "H", "W"))
    sized = Preprocessing(scale=1.0, size=(10, 20)).read_image(_photo(tmp_path), ("N", 3, "H", "W"))
    assert sized.shape == (1, 3, 10, 20)


def test_a_recipe_has_the_keys_of_the_options(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(
        'scale = "1/255"\nmean = [0.5, 1]\nchannel_order = "BGR"\nsamples = 3\n'
        '[pipeline]\nquantize = "dispatch"\n'
    )
    known = ("scale", "mean", "channel-order", "samples", "pipeline")
    assert read_recipe(path, known) == {
        "scale": "1/255", "mean": "0.5,1", "channel-order": "BGR", "samples": "3",
        "pipeline": ["quantize=dispatch"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("skale = 1", "unknown key 'skale'"),
        ("scale = ", "is not TOML"),
        ("scale = 1979-05-27", "cannot be an option"),
    ],
)
def test_a_faulty_recipe_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    with pytest.raises((OptionError, UnknownNameError)) as caught:
        read_recipe(path, ("scale",))
    assert message in caught.value.message
    assert str(path) in caught.value.where
