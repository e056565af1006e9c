"""C11 sources: the planned graph as a schedule of kernel calls over one caller-owned arena."""

from quantable.backends.c.border import Border, BorderTensor, border
from quantable.backends.c.emit import emit

__all__ = ["Border", "BorderTensor", "border", "emit"]
