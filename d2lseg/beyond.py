"""What came after the FCN, on the same backbones: a dilated backbone and a concatenating decoder.

Both networks take and give what `fcn.FCN` does, so `training`, `prediction` and `metrics` work with them
unchanged. Read it beside notebook 13.

Sources: Chen, Papandreou, Kokkinos, Murphy and Yuille, "Semantic image segmentation with deep convolutional
nets and fully connected CRFs", ICLR 2015, section 3.1 (dilation, there "the hole algorithm"); Ronneberger,
Fischer and Brox, "U-Net", MICCAI 2015, section 2 (concatenation).
"""

from __future__ import annotations

import os

import torch
from torch import Tensor, nn

from . import backbones, fcn
from .upsampling import BilinearUpsample

# The stage that ends at stride 4, and its channels. VGG-16 is not here: it shrinks its maps by pooling.
FINEST = {"resnet18": ("layer1", 64), "resnet50": ("layer1", 256), "efficientnet_lite0": ("stage3", 24)}
DILATED_STRIDES = (8, 16)


def dilate(stage: nn.Module, before: int) -> int:
    """Remove a stage's stride, and spread its kernels so that each still reads what it read before.

    Where the stage would halve the map, it now keeps each cell. Behind that convolution, what used to be
    neighbours are two cells apart, so the kernels there get twice the dilation. The weights stay as they are.

    Parameters
    ----------
    stage : nn.Module
        Changed in place; at most one of its convolutions in a row has a stride, of 2.
    before : int
        How far apart two cells are that were neighbours before the stage: 1 unless an earlier one is dilated.

    Returns
    -------
    int
        How far apart they are behind it.
    """
    convs = [layer for layer in stage.modules() if isinstance(layer, nn.Conv2d)]
    strided = [conv.stride[0] > 1 for conv in convs]
    after = 2 * before if any(strided) else before
    for conv, shrinks in zip(convs, strided, strict=True):
        dilation = before if shrinks else after
        conv.stride, conv.dilation = (1, 1), (dilation, dilation)
        conv.padding = tuple(dilation * int(cells) for cells in conv.padding)
    return after


class Network(nn.Module):
    """What both networks share: from pixels to a backbone's input, and from features to logits.

    Parameters
    ----------
    num_classes : int
        Number of classes C, background included.
    backbone : {"resnet18", "resnet50", "efficientnet_lite0"}
        See `backbones.make_backbone`.
    weights : None, "imagenet" or path
        Of the backbone.
    channels, stride : int
        Of the map that is scored.
    """

    def __init__(
        self, num_classes: int, backbone: str, weights: str | os.PathLike | None, channels: int, stride: int
    ) -> None:
        super().__init__()
        self.design = design(backbone)
        self.standardize = fcn.Standardize(self.design.mean, self.design.std)
        self.backbone = backbones.make_backbone(backbone, weights)
        self.score = nn.Conv2d(channels, num_classes, kernel_size=1)
        nn.init.xavier_uniform_(self.score.weight)
        nn.init.zeros_(self.score.bias)  # type: ignore[arg-type]
        self.upsample = BilinearUpsample(stride, centre=self.design.centre(stride))

    def forward(self, images: Tensor) -> Tensor:
        """Score each class at each pixel: uint8 RGB (N, 3, H, W) to logits (N, C, H, W)."""
        height, width = images.shape[-2:]
        x = fcn.pad_to_multiple(self.standardize(images))  # (N, 3, H, W) -> (N, 3, 32h, 32w)
        x = self.features(x.contiguous(memory_format=torch.channels_last))
        return self.upsample(self.score(x))[..., :height, :width]

    def features(self, x: Tensor) -> Tensor:
        """Compute the map that is scored from standardised pixels."""
        raise NotImplementedError


def design(backbone: str) -> backbones.Design:
    """Look up a backbone that these networks can use.

    Raises
    ------
    ValueError
        If there is none of this name, or it is not in `FINEST`.
    """
    found = backbones.design(backbone)
    if backbone not in FINEST:
        raise ValueError(f"backbone must be one of {', '.join(FINEST)} here; got {backbone!r}")
    return found


class Dilated(Network):
    """A backbone whose last map is as fine as stride 8 or 16, scored once: the idea of DeepLab.

    Parameters
    ----------
    num_classes, backbone, weights
        As for `Network`.
    stride : {8, 16}
        Pixels per cell of the last map.

    Raises
    ------
    ValueError
        If the stride is another, or the backbone can't be dilated.
    """

    def __init__(
        self,
        num_classes: int = 21,
        backbone: str = "resnet18",
        weights: str | os.PathLike | None = None,
        stride: int = 8,
    ) -> None:
        if stride not in DILATED_STRIDES:
            raise ValueError(f"stride must be one of {DILATED_STRIDES}, got {stride}")
        super().__init__(num_classes, backbone, weights, design(backbone).channels[-1], stride)
        kept = self.design.taps[backbones.STRIDES.index(stride)]  # the last stage that keeps its stride
        names = list(dict(self.backbone.named_children()))
        dilation = 1
        for name in names[names.index(kept) + 1 :]:
            dilation = dilate(self.backbone.get_submodule(name), dilation)

    def features(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 512 on ResNet-18, H / stride, W / stride)."""
        return self.backbone(x)


class Join(nn.Module):
    """Enlarge a coarse map by 2, put it beside a finer one, and mix both by a 3x3 convolution.

    The result has as many channels as the finer map. `centre` is the cell of the finer map that looks where
    cell 0 of the coarser one does.
    """

    def __init__(self, coarse: int, fine: int, centre: float) -> None:
        super().__init__()
        self.enlarge = BilinearUpsample(2, centre=centre)
        self.mix = nn.Sequential(
            nn.Conv2d(coarse + fine, fine, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(fine),
            nn.ReLU(inplace=True),
        )

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """(N, coarse, h, w) and (N, fine, 2h, 2w) -> (N, fine, 2h, 2w)."""
        return self.mix(torch.cat([self.enlarge(coarse), fine], dim=1))


class Concatenating(Network):
    """A decoder that joins features, not scores, at strides 16, 8 and 4: the idea of U-Net.

    Parameters
    ----------
    num_classes, backbone, weights
        As for `Network`.

    Raises
    ------
    ValueError
        If the backbone is not in `FINEST`.
    """

    def __init__(
        self,
        num_classes: int = 21,
        backbone: str = "resnet18",
        weights: str | os.PathLike | None = None,
    ) -> None:
        plan = design(backbone)
        tap, channels4 = FINEST[backbone]
        super().__init__(num_classes, backbone, weights, channels4, stride=4)
        channels8, channels16, channels32 = plan.channels
        self.taps = (tap, *plan.taps)
        shift = plan.looks_at  # from stride 2s to s: (centre(2s) - centre(s)) / s = looks_at
        self.join16 = Join(channels32, channels16, shift)
        self.join8 = Join(channels16, channels8, shift)
        self.join4 = Join(channels8, channels4, shift)

    def features(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 64 on ResNet-18, H / 4, W / 4)."""
        at4, at8, at16, at32 = backbones.feature_maps(self.backbone, self.taps, x)
        x = self.join16(at32, at16)  # (N, 512, h, w) -> (N, 256, 2h, 2w)
        x = self.join8(x, at8)  # -> (N, 128, 4h, 4w)
        return self.join4(x, at4)  # -> (N, 64, 8h, 8w)
