"""What holds for every test."""

from __future__ import annotations

from hypothesis import settings

# Speed is measured by benchmarks: on a loaded machine any example may take long.
settings.register_profile("quantable", deadline=None)
settings.load_profile("quantable")
