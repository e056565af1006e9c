"""How raw pixels or numbers become a network's input: the same keys as options and in recipes.

x = (raw * scale - mean) / std          float64, rounded to float32 once, a channel at a time
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from quantable.ir import DataError, OptionError, UnknownNameError
from quantable.ir.graph import Shape

if TYPE_CHECKING:
    from PIL.Image import Image

Array = npt.NDArray[np.generic]
LAYOUTS = ("NCHW", "NHWC")
RESIZES = ("stretch", "crop")
CHANNEL_ORDERS = ("RGB", "BGR")


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What happens to raw images (channels last) or other raw arrays before the network.

    Attributes:
        size: (height, width) of the network's input; None: taken from its shape.
        resize: `stretch` to the size, or `crop`: the shorter side to the size, then the center.
        crop: With `crop`, the part of the resized image that is kept (0.875: 256 to 224).
        scale: Factor on the raw values; None: no preprocessing of values was given.
        mean, std: Subtracted, then divided by; one number, or one a channel.
        layout: Layout of the network's input; None: taken from its shape where that is clear.
        channel_order: What the network's channels are; images are read as RGB.
    """

    size: tuple[int, int] | None = None
    resize: str = "stretch"
    crop: float = 1.0
    scale: float | None = None
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    layout: str | None = None
    channel_order: str = "RGB"

    def __post_init__(self) -> None:
        for name, value, choices in (
            ("resize", self.resize, RESIZES),
            ("layout", self.layout, LAYOUTS),
            ("channel-order", self.channel_order, CHANNEL_ORDERS),
        ):
            if value is not None and value not in choices:
                raise UnknownNameError(f"{name}", value, choices)
        if not 0 < self.crop <= 1:
            raise OptionError(f"crop: expected more than 0 and at most 1, found {self.crop}")
        if 0.0 in self.std:
            raise OptionError("std: expected numbers other than 0, found 0")
        if self.size is not None and min(self.size) < 1:
            raise OptionError(f"size: expected positive numbers, found {self.size}")

    @property
    def is_given(self) -> bool:
        """Whether the values' meaning was said: raw pixels are refused otherwise."""
        return self.scale is not None

    @staticmethod
    def of(options: Mapping[str, object]) -> Preprocessing:
        """Return the preprocessing of options as a recipe or the command line holds them.

        Raises:
            OptionError: A value is out of range or not a number.
            UnknownNameError: An option has no such name.
        """
        known = [field.name for field in fields(Preprocessing)]
        values: dict[str, object] = {}
        for name, value in options.items():
            key = name.replace("-", "_")
            if key not in known:
                raise UnknownNameError("preprocessing option", name, known)
            if value is not None:
                values[key] = _READERS.get(key, _text)(key, value)
        if values and "scale" not in values:
            values["scale"] = 1.0
        return Preprocessing(**values)  # type: ignore[arg-type] # the readers give these types

    def values(self, raw: Array, where: str) -> npt.NDArray[np.float32]:
        """Return float32 values of a raw array, channels (if it has any) last."""
        real = raw.astype(np.float64) * (1.0 if self.scale is None else self.scale)
        for name, numbers in (("mean", self.mean), ("std", self.std)):
            if len(numbers) not in (1, raw.shape[-1]):
                raise DataError(
                    f"{name}: expected 1 or {raw.shape[-1]} numbers, found {len(numbers)}",
                    where=where,
                )
        result: npt.NDArray[np.float32] = ((real - self.mean) / self.std).astype(np.float32)
        return result

    def image(self, raw: Array, shape: Shape | None, where: str) -> npt.NDArray[np.float32]:
        """Return raw pixels [H, W, C] as the network's input [1, ...].

        Args:
            raw: Pixels, channels last.
            shape: The input's shape, which decides the layout if none was given.
            where: The place, for messages.
        """
        if self.channel_order == "BGR":
            raw = raw[..., ::-1]
        x = self.values(raw, where)
        if self.layout_for(shape, where) == "NCHW":
            x = x.transpose(2, 0, 1)
        return np.ascontiguousarray(x)[None]

    def layout_for(self, shape: Shape | None, where: str) -> str:
        """Return the layout that was given, or the one that the input's shape shows."""
        if self.layout is not None:
            return self.layout
        if shape is not None and len(shape) == 4:
            is_first, is_last = shape[1] in (1, 3), shape[3] in (1, 3)
            if is_first != is_last:
                return "NCHW" if is_first else "NHWC"
        raise DataError(
            f"the layout of an input of shape {shape} is not clear", where=where,
            help="give --layout NCHW or --layout NHWC",
        )  # fmt: skip

    def read_image(self, path: Path, shape: Shape | None) -> npt.NDArray[np.float32]:
        """Read an image file, bring it to the network's size and return the input [1, ...].

        Raises:
            DataError: The file is no image.
        """
        from PIL import Image, UnidentifiedImageError

        layout = self.layout_for(shape, str(path))
        size, channels = self._geometry(shape, layout, str(path))
        try:
            with Image.open(path) as opened:
                image = opened.convert("L" if channels == 1 else "RGB")
        except OSError as error:
            is_foreign = isinstance(error, UnidentifiedImageError)
            reason = "its format is not known" if is_foreign else error.strerror or error
            raise DataError(
                f"cannot be read as an image: {reason}",
                where=str(path),
                help="take the file out of the folder, or fetch it again",
            ) from error
        pixels = np.asarray(self._resized(image, size))
        return self.image(pixels.reshape(*size, channels), shape, str(path))

    def _geometry(
        self, shape: Shape | None, layout: str, where: str
    ) -> tuple[tuple[int, int], int]:
        if shape is None or len(shape) != 4:
            raise DataError(f"expected a network input of 4 dimensions, found {shape}", where=where)
        axes = (2, 3, 1) if layout == "NCHW" else (1, 2, 3)
        height, width, channels = (shape[axis] for axis in axes)
        size = self.size
        if size is None and isinstance(height, int) and isinstance(width, int):
            size = (height, width)
        if size is None:
            raise DataError(
                f"the input's height and width are not fixed: {shape}", where=where,
                help="give --size HEIGHT,WIDTH",
            )  # fmt: skip
        return size, channels if isinstance(channels, int) else 3

    def _resized(self, image: Image, size: tuple[int, int]) -> Image:
        from PIL.Image import Resampling

        height, width = size
        if self.resize == "stretch":
            return image.resize((width, height), Resampling.BILINEAR)
        factor = max(height / self.crop / image.height, width / self.crop / image.width)
        scaled = (
            max(width, round(image.width * factor)),
            max(height, round(image.height * factor)),
        )
        image = image.resize(scaled, Resampling.BILINEAR)
        left, top = (scaled[0] - width) // 2, (scaled[1] - height) // 2
        return image.crop((left, top, left + width, top + height))


def _number(name: str, value: object) -> float:
    try:
        if not isinstance(value, str):
            return float(value)  # type: ignore[arg-type] # other types raise TypeError
        parts = [Fraction(part) for part in value.split("/", 1)]
        return float(parts[0] if len(parts) == 1 else parts[0] / parts[1])
    except (ValueError, TypeError, ZeroDivisionError) as error:
        raise OptionError(
            f"{name}: expected a number or a fraction such as 1/255, found {value!r}"
        ) from error


def _numbers(name: str, value: object) -> tuple[float, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, Sequence):
        parts = (parts,)
    return tuple(_number(name, part) for part in parts)


def _size(name: str, value: object) -> tuple[int, int]:
    numbers = [int(number) for number in _numbers(name, value)]
    if len(numbers) not in (1, 2):
        raise OptionError(f"{name}: expected HEIGHT,WIDTH or one number, found {value!r}")
    return (numbers[0], numbers[-1])


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise OptionError(f"{name}: expected a text, found {value!r}")
    return value


_READERS = {"size": _size, "crop": _number, "scale": _number, "mean": _numbers, "std": _numbers}
