"""Fourier transforms and windows of ONNX; a last axis of two holds real and imaginary parts."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from quantable.reference.site import Builder, Kernel, Site


def _complex(x: Tensor) -> Tensor:
    """[..., 1 or 2] -> complex [...]."""
    wide = x.to(torch.float64)  # so that only the result rounds
    imaginary = wide[..., 1] if wide.shape[-1] == 2 else torch.zeros_like(wide[..., 0])
    return torch.complex(wide[..., 0], imaginary)


def _parts(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Complex [...] -> [..., 2]."""
    return torch.view_as_real(x).to(dtype)


def _dft(site: Site) -> Kernel:
    op = site.operation
    is_inverse, is_onesided = bool(op.int_attribute("inverse")), bool(op.int_attribute("onesided"))
    default = op.int_attribute("axis", 1) if site.opset < 20 else -2

    def run(x: Tensor, length: Tensor | None = None, axis: Tensor | None = None) -> Tensor:
        place = (default if axis is None else int(axis.item())) % x.dim()
        size = x.shape[place]
        whole = 2 * (size - 1) if is_inverse and is_onesided else size
        count = whole if length is None else int(length.item())
        signal = _complex(x)
        if is_inverse and is_onesided:
            real: Tensor = torch.fft.irfft(signal, count, place)
            return real.unsqueeze(-1).to(x.dtype)
        if is_inverse:
            return _parts(torch.fft.ifft(signal, count, place), x.dtype)
        found = torch.fft.fft(signal, count, place)
        found = found.narrow(place, 0, count // 2 + 1) if is_onesided else found
        return _parts(found, x.dtype)

    return run


def _stft(site: Site) -> Kernel:
    is_onesided = bool(site.operation.int_attribute("onesided", 1))

    def run(
        signal: Tensor, step: Tensor, window: Tensor | None = None, length: Tensor | None = None
    ) -> Tensor:
        x = signal.unsqueeze(-1) if signal.dim() == 2 else signal
        if length is not None:
            size = int(length.item())
        else:
            size = x.shape[1] if window is None else window.shape[0]
        frames = _complex(x).unfold(1, size, int(step.item()))
        if window is not None:
            frames = frames * window.to(frames.real.dtype)
        found = torch.fft.fft(frames, size, -1)
        found = found[..., : size // 2 + 1] if is_onesided else found
        return _parts(found, signal.dtype)

    return run


def _window(*coefficients: float) -> Builder:
    """Return the builder of a sum of cosines."""

    def build(site: Site) -> Kernel:
        is_periodic = bool(site.operation.int_attribute("periodic", 1))
        number = site.operation.int_attribute("output_datatype", 1)
        to = site.torch_type(site.number_type("output_datatype")) if number != 1 else torch.float32

        def run(size: Tensor) -> Tensor:
            count = int(size.item())
            turns = torch.arange(count, dtype=torch.float64) / max(
                count if is_periodic else count - 1, 1
            )
            total = torch.zeros_like(turns)
            for order, coefficient in enumerate(coefficients):
                sign = -1.0 if order % 2 else 1.0
                total = total + sign * coefficient * torch.cos(2 * math.pi * order * turns)
            return total.to(to)

        return run

    return build


def _mel_weights(site: Site) -> Kernel:
    number = site.operation.int_attribute("output_datatype", 1)
    to = site.torch_type(site.number_type("output_datatype")) if number != 1 else torch.float32

    def run(bins: Tensor, length: Tensor, rate: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        count, size = int(bins.item()), int(length.item())
        spectrum = size // 2 + 1
        low, high = (2595 * math.log10(1 + float(f.item()) / 700) for f in (lower, upper))
        mels = low + torch.arange(count + 2, dtype=torch.float64) * ((high - low) / (count + 2))
        hertz = 700 * (10 ** (mels / 2595) - 1)
        edges = torch.floor((size + 1) * hertz / int(rate.item())).to(torch.int64).tolist()
        found = torch.zeros(spectrum, count, dtype=torch.float64)
        for column in range(count):
            start, peak, end = edges[column : column + 3]
            if peak == start:
                found[peak, column] = 1.0
            for row in range(start, peak + 1) if peak > start else ():
                found[row, column] = (row - start) / (peak - start)
            for row in range(peak, end) if end > peak else ():
                found[row, column] = (end - row) / (end - peak)
        return found.to(to)

    return run


TABLE: dict[str, Builder] = {
    "BlackmanWindow": _window(0.42, 0.5, 0.08),
    "DFT": _dft,
    "HammingWindow": _window(25 / 46, 21 / 46),
    "HannWindow": _window(0.5, 0.5),
    "MelWeightMatrix": _mel_weights,
    "STFT": _stft,
}
