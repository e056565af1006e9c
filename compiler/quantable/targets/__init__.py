"""Target descriptions: what a platform can quantize, how, and with which arithmetic."""

from quantable.targets.description import (
    TARGETS,
    ArithmeticContract,
    Rule,
    Scheme,
    Target,
    load_target,
)

__all__ = ["TARGETS", "ArithmeticContract", "Rule", "Scheme", "Target", "load_target"]
