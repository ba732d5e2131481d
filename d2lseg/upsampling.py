"""Transposed convolution from scratch, and bilinear upsampling three ways.

Read it beside notebooks 01 and 02. The first half uses loops, to be read and not to be fast;
``BilinearUpsample`` at the end is the fast layer that the network uses.

Geometry, for one axis with kernel size k, stride s, padding p: input cell i puts a stamp of k
values on the output positions i*s - p, ..., i*s - p + k - 1. Everything below follows from that.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

BORDERS = ("replicate", "fade")


def _check_geometry(kernel_size: int, stride: int, padding: int, output_padding: int = 0) -> None:
    """Raise unless a transposed convolution with this geometry exists."""
    for name, got, least in (
        ("kernel_size", kernel_size, 1),
        ("stride", stride, 1),
        ("padding", padding, 0),
        ("output_padding", output_padding, 0),
    ):
        if got < least:
            raise ValueError(f"{name} is {got}, but must be at least {least}")
    if output_padding and output_padding >= stride:
        raise ValueError(
            f"output_padding is {output_padding}, but must be smaller than the stride ({stride}): "
            "it chooses among the sizes that one stride maps to the same size"
        )


def trans_conv_size(
    size: int, kernel_size: int, stride: int = 1, padding: int = 0, output_padding: int = 0
) -> int:
    """Return the output size of a transposed convolution along one axis.

    The last stamp starts at (size - 1) * stride and is kernel_size long. Padding cuts the result at both
    ends; output_padding, which must be smaller than the stride, lengthens it at the far end. Source: V.
    Dumoulin and F. Visin, "A guide to convolution arithmetic for deep learning", 2016, section 4.
    """
    _check_geometry(kernel_size, stride, padding, output_padding)
    out = (size - 1) * stride - 2 * padding + kernel_size + output_padding
    if size < 1 or out < 1:
        raise ValueError(
            f"size {size}, kernel_size {kernel_size}, stride {stride}, padding {padding} give output size "
            f"{out}: nothing is left. Use a larger input or kernel, or less padding"
        )
    return out


def trans_conv(
    X: torch.Tensor, K: torch.Tensor, stride: int = 1, padding: int = 0, output_padding: int = 0
) -> torch.Tensor:
    """Transposed convolution by loops: every input cell stamps the kernel, times its value, on the output.

    X is (H, W) with K (kh, kw), or (C_in, H, W) with (C_in, C_out, kh, kw). Padding is cut away from the
    *output*, as in ``torch.nn.functional.conv_transpose2d``.
    """
    if X.ndim == 2 and K.ndim == 2:
        return trans_conv(X[None], K[None, None], stride, padding, output_padding)[0]
    if X.ndim != 3 or K.ndim != 4 or X.shape[0] != K.shape[0]:
        raise ValueError(
            f"X has shape {tuple(X.shape)} and K {tuple(K.shape)}; expected (H, W) with (kh, kw), "
            "or (C_in, H, W) with (C_in, C_out, kh, kw)"
        )
    (_, h, w), (_, c_out, kh, kw) = X.shape, K.shape
    out_h = trans_conv_size(h, kh, stride, padding, output_padding)
    out_w = trans_conv_size(w, kw, stride, padding, output_padding)
    canvas = torch.zeros(
        (c_out, out_h + 2 * padding, out_w + 2 * padding), dtype=torch.result_type(X, K), device=X.device
    )
    for i in range(h):
        for j in range(w):
            stamp = (X[:, i, j].reshape(-1, 1, 1, 1) * K).sum(0)  # (C_in, C_out, kh, kw) -> (C_out, kh, kw)
            canvas[:, i * stride : i * stride + kh, j * stride : j * stride + kw] += stamp
    return canvas[:, padding : padding + out_h, padding : padding + out_w]


def kernel2matrix(
    K: torch.Tensor, input_size: int | tuple[int, int], stride: int = 1, padding: int = 0
) -> torch.Tensor:
    """Write the convolution with a kernel K (kh, kw) as a matrix W; the transposed convolution is then W.T.

    ``W @ x.flatten()`` equals ``conv2d(x, K, stride=stride, padding=padding).flatten()``. For an input x of
    `input_size` (h, w), W is (out_h * out_w, h * w).
    """
    if K.ndim != 2:
        raise ValueError(f"K has shape {tuple(K.shape)}; expected one kernel (kh, kw)")
    h, w = (input_size, input_size) if isinstance(input_size, int) else input_size
    (kh, kw), s, p = K.shape, stride, padding
    _check_geometry(min(kh, kw), s, p)
    if h + 2 * p < kh or w + 2 * p < kw:
        raise ValueError(f"a kernel of {kh}x{kw} does not fit into an input of {h}x{w} with padding {p}")
    out_h, out_w = (h + 2 * p - kh) // s + 1, (w + 2 * p - kw) // s + 1
    W = K.new_zeros(out_h, out_w, h, w)
    for i in range(out_h):
        for j in range(out_w):
            padded = K.new_zeros(h + 2 * p, w + 2 * p)
            padded[i * s : i * s + kh, j * s : j * s + kw] = K  # what this output position reads
            W[i, j] = padded[p : p + h, p : p + w]  # weights on the padding meet zeros: dropped
    return W.reshape(out_h * out_w, h * w)  # (out_h, out_w, h, w) -> (out_h*out_w, h*w)


def overlap_counts(size: int, kernel_size: int, stride: int = 1, padding: int = 0) -> torch.Tensor:
    """Count how many stamps touch each output position along one axis: int64.

    Unequal counts inside the output are where checkerboards come from. Source: A. Odena, V. Dumoulin and C.
    Olah, "Deconvolution and Checkerboard Artifacts", Distill, 2016.
    """
    out = trans_conv_size(size, kernel_size, stride, padding)
    counts = torch.zeros(out + 2 * padding, dtype=torch.int64)
    for i in range(size):
        counts[i * stride : i * stride + kernel_size] += 1
    return counts[padding : padding + out]


def cell_centres(size: int, kernel_size: int, stride: int = 1, padding: int = 0) -> torch.Tensor:
    """Return the output coordinate at the centre of each input cell's stamp, along one axis: float32 (size,).

    Coordinates count positions from 0. A stamp of even length is centred between two of them.
    """
    trans_conv_size(size, kernel_size, stride, padding)
    return torch.arange(size, dtype=torch.float32) * stride - padding + (kernel_size - 1) / 2


def bilinear_kernel(in_channels: int, out_channels: int, kernel_size: int) -> torch.Tensor:
    """Return the weight (C_in, C_out, k, k) of a transposed convolution that upsamples bilinearly.

    It is the outer product of a 1-D hat with itself, and channel c of the input feeds channel c of the output
    only, so both numbers must be equal. Source: J. Long, E. Shelhamer and T. Darrell, "Fully Convolutional
    Networks for Semantic Segmentation", CVPR 2015, section 3.3.
    """
    if in_channels != out_channels:
        raise ValueError(
            f"in_channels is {in_channels} and out_channels {out_channels}: bilinear upsampling keeps the "
            "channels apart, so they must be equal. Change their number with a 1x1 convolution first"
        )
    if in_channels < 1 or kernel_size < 1:
        raise ValueError(f"channels ({in_channels}) and kernel_size ({kernel_size}) must be at least 1")
    factor = (kernel_size + 1) // 2
    distance = (torch.arange(kernel_size) - (kernel_size - 1) / 2).abs()  # from the kernel's centre
    hat = 1 - distance / factor
    weight = torch.zeros(in_channels, out_channels, kernel_size, kernel_size)
    channels = range(in_channels)
    weight[channels, channels] = torch.outer(hat, hat)
    return weight


def bilinear_geometry(factor: int) -> tuple[int, int]:
    """Return (kernel size, padding) of a transposed convolution that enlarges by `factor`, its stride."""
    if factor < 1:
        raise ValueError(f"factor is {factor}, but must be at least 1")
    kernel_size = 2 * factor - factor % 2
    return kernel_size, (kernel_size - factor) // 2


def bilinear_conv_transpose(channels: int, factor: int, centre: float | None = None) -> nn.ConvTranspose2d:
    """Make a transposed convolution that starts as bilinear upsampling and can be trained.

    It has no bias: a random bias would shift every logit before training begins. `centre` is the output
    position at the centre of cell 0: by default (factor - 1) / 2, the middle of its block. With 0, the kernel
    has the odd length 2 * factor - 1 and is centred on the block's first position.
    """
    kernel_size, padding = bilinear_geometry(factor)
    output_padding = 0
    if centre == 0:
        kernel_size, padding, output_padding = 2 * factor - 1, factor - 1, factor - 1
    elif centre is not None and centre != (factor - 1) / 2:
        raise ValueError(f"centre is {centre}; a transposed convolution has 0 or {(factor - 1) / 2} here")
    weight = bilinear_kernel(channels, channels, kernel_size)
    layer = nn.ConvTranspose2d(channels, channels, kernel_size, factor, padding, output_padding, bias=False)
    with torch.no_grad():
        layer.weight.copy_(weight)
    return layer


def bilinear_matrix(
    size: int, factor: int, border: str = "replicate", centre: float | None = None
) -> torch.Tensor:
    """Write bilinear upsampling along one axis as a matrix U (size * factor, size): enlarged = U @ z.

    Output position j lies at (j - centre) / factor on the input's axis and is interpolated between its two
    neighbours there. With the default centre that is (j + 0.5) / factor - 0.5. A neighbour outside the input
    has the value of the edge cell with border "replicate" (rows sum to one, as in ``interpolate``), and is
    zero with "fade" (as in the transposed convolution).
    """
    if size < 1 or factor < 1:
        raise ValueError(f"size ({size}) and factor ({factor}) must be at least 1")
    if border not in BORDERS:
        raise ValueError(f"border is {border!r}; expected one of {BORDERS}")
    centre = (factor - 1) / 2 if centre is None else centre
    if not 0 <= centre <= factor - 1:
        raise ValueError(f"centre is {centre}, but must lie in 0..{factor - 1}, in the block of cell 0")
    cells = torch.arange(size, dtype=torch.float64)
    position = (torch.arange(size * factor, dtype=torch.float64) - centre) / factor
    if border == "replicate":
        position = position.clamp(0, size - 1)  # beyond the edge cell it is that cell's value
    hat = 1 - (position[:, None] - cells).abs()  # (size * factor, size)
    return hat.clamp(min=0).float()


class BilinearUpsample(nn.Module):
    """Bilinear upsampling by an integer factor, as two matrix products per channel.

    Border "replicate" equals ``F.interpolate(mode="bilinear", align_corners=False)``; "fade" equals
    ``bilinear_conv_transpose``, whose output fades towards the border. There is nothing to train and nothing
    in the state dict. The matrices of the last few sizes are cached, but not copied or pickled.
    """

    _KEEP = 16  # cached matrices: two for each image size

    def __init__(self, factor: int, border: str = "replicate", centre: float | None = None) -> None:
        super().__init__()
        bilinear_matrix(1, factor, border, centre)  # raises on bad arguments here, not at the first batch
        self.factor, self.border, self.centre = factor, border, centre
        self._matrices: dict[tuple, torch.Tensor] = {}

    def forward(self, Z: torch.Tensor) -> torch.Tensor:
        """Enlarge (N, C, h, w) to (N, C, h * factor, w * factor), in Z's floating dtype or autocast's."""
        if Z.ndim != 4:
            raise ValueError(f"the input has shape {tuple(Z.shape)}; expected (N, C, h, w)")
        if not Z.is_floating_point():
            raise TypeError(f"the input has dtype {Z.dtype}; expected a floating point tensor")
        U_h, U_w = self.matrices(Z.shape[2:], Z.dtype, Z.device)
        tall = U_h @ Z  # (N, C, h, w) -> (N, C, H, w), many small products
        return tall @ U_w.T  # (N, C, H, w) -> (N, C, H, W), one large one, in the backward pass too

    def matrices(
        self, size: Sequence[int], dtype: torch.dtype, device: torch.device
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the two matrices for an input of (h, w): (h * factor, h) and (w * factor, w)."""
        height, width = size
        return self._matrix(height, dtype, device), self._matrix(width, dtype, device)

    def _matrix(self, size: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        """Return the matrix for one axis, cached."""
        if torch.compiler.is_compiling():  # or exporting: the size may be a symbol, which no cache can hold
            return bilinear_matrix(size, self.factor, self.border, self.centre).to(device, dtype)
        key = (size, dtype, device)
        if key not in self._matrices:
            if len(self._matrices) >= self._KEEP:
                self._matrices.pop(next(iter(self._matrices)))  # the oldest
            with torch.inference_mode(False):  # a matrix made in inference mode could not be trained through
                U = bilinear_matrix(size, self.factor, self.border, self.centre)
                self._matrices[key] = U.to(device, dtype)
        return self._matrices[key]

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_matrices": {}}

    def extra_repr(self) -> str:
        """Describe the layer for ``print(model)``."""
        centre = "" if self.centre is None else f", centre={self.centre:g}"
        return f"factor={self.factor}, border={self.border!r}{centre}"
