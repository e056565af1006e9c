"""Fitting quantized graphs to float ones on calibration samples, in torch."""

from quantable.training.laboratory import ReferenceLaboratory

__all__ = ["ReferenceLaboratory"]
