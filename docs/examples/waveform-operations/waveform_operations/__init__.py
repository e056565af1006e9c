"""Three operations that ONNX lacks, one for each form of integer semantics.

Nothing here imports torch: what the runtime needs is named by references, and imported by it.
"""

from __future__ import annotations

from waveform_operations import difference, snake, squareplus

OPERATIONS = (squareplus.SQUAREPLUS, difference.CENTERED_DIFFERENCE, snake.SNAKE)
