"""The layout of activations: kernels see channels first, whatever is stored."""

from __future__ import annotations

from torch import Tensor

from quantable.reference.site import Kernel, Site


def channels_first(site: Site, kernel: Kernel) -> Kernel:
    """Return a kernel that takes and gives activations in the operation's layout.

    Only the first input and the output are activations.
    """
    layout = site.operation.string_attribute("layout", "NCHW")
    if layout == "NCHW":
        return kernel
    if layout != "NHWC":
        raise site.refuse(f"attribute 'layout': expected NCHW or NHWC, found {layout}")

    def run(x: Tensor, *operands: Tensor) -> Tensor:
        result = kernel(x.movedim(-1, 1), *operands)
        assert isinstance(result, Tensor)
        return result.movedim(1, -1)

    return run
