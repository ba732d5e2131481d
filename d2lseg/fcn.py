"""Fully convolutional networks: a backbone, scores for each class at one to three strides, and upsampling.

Source: Long, Shelhamer and Darrell, "Fully convolutional networks for semantic segmentation", CVPR 2015,
sections 3 and 4.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import backbones
from .backbones import IMAGENET_MEAN, IMAGENET_STD
from .classes import VOID, ClassList, voc_colormap
from .engine import checkpoint
from .upsampling import BilinearUpsample, bilinear_conv_transpose

PRETRAINED = ("photos", "emoji")  # weights that come with the package, see weights/NOTICE.md
STRIDE = 32  # one cell of a backbone's last map stands for 32 x 32 pixels
VARIANTS = {"32s": 32, "16s": 16, "8s": 8}  # the stride of the finest map that is scored
UPSAMPLINGS = ("bilinear", "learned", "random")
GEOMETRIES = ("textbook", "corrected")
BATCH_NORM = (nn.BatchNorm2d, nn.SyncBatchNorm)
ARGUMENTS = {"variant", "num_classes", "backbone", "upsampling", "geometry"}  # that a checkpoint may hold


class Standardize(nn.Module):
    """Standardise uint8 pixels: divide by 255, subtract the mean, divide by the standard deviation.

    By default with the numbers of ImageNet; a backbone's own are in its `backbones.Design`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Turn uint8 RGB (N, 3, H, W) into float32 of the same shape; the mean colour becomes 0.

        Raises
        ------
        TypeError
            If the pixels are not uint8.
        ValueError
            If the shape is not (N, 3, H, W).
        """
        if not isinstance(images, Tensor) or images.dtype != torch.uint8:
            found = images.dtype if isinstance(images, Tensor) else f"{type(images)}, no tensor"
            raise TypeError(
                f"expected uint8 pixels (0..255), got {found}: the model itself divides by 255 "
                "and standardises, so give it images as they were read"
            )
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(
                f"expected a batch of RGB images (N, 3, H, W), got {tuple(images.shape)}; "
                "a single image becomes a batch with image[None]"
            )
        return (images / 255 - self.mean) / self.std


def pad_to_multiple(batch: Tensor, multiple: int = STRIDE) -> Tensor:
    """Pad the bottom and the right side with zeros, the mean colour, up to a multiple of the stride.

    (N, C, H, W) becomes (N, C, H', W') with H <= H' < H + multiple, and W likewise.
    """
    # written so that an exporter, for which the size is a symbol, sees a multiple: multiple * k
    rows, columns = (multiple * ((side + multiple - 1) // multiple) - side for side in batch.shape[-2:])
    return F.pad(batch, (0, columns, 0, rows))


class FCN(nn.Module):
    """A fully convolutional network: backbone, 1x1 score layers, bilinear upsampling.

    FCN-32s scores the last map alone and enlarges the scores by 32. FCN-16s enlarges them by 2, adds the
    scores of the map of stride 16, and enlarges the sum by 16. FCN-8s does so once more with stride 8.

    Parameters
    ----------
    variant : {"32s", "16s", "8s"}
        The stride of the finest map that is scored.
    num_classes : int
        Number of classes C, background included.
    backbone : {"resnet18", "resnet50", "vgg16", "efficientnet_lite0"}
        See `backbones.make_backbone`.
    upsampling : {"bilinear", "learned", "random"}
        ``"bilinear"`` is a fixed bilinear layer without parameters. ``"learned"`` is the textbook's
        transposed convolution (for the factor 32: kernel 64, stride 32, padding 16), which starts bilinear
        and is trained. ``"random"`` is the same layer with PyTorch's random start.
    geometry : {"textbook", "corrected"}
        Where the scores of a cell are painted. ``"textbook"`` paints cell i of stride s around the middle of
        its block, i * s + (s - 1) / 2. ``"corrected"`` paints it around the pixel that the backbone's cell is
        centred on, which for the ResNets is i * s.
    weights : None, "imagenet" or path
        Of the backbone, see `backbones.make_backbone`.
    classes : ClassList or sequence of str, optional
        Class names, kept as ``model.classes``; the colours of a `ClassList` are kept as ``model.colours``.

    Raises
    ------
    ValueError
        If an option is unknown, there are fewer than two classes, or the names do not match them.

    Notes
    -----
    Source: Long, Shelhamer and Darrell, CVPR 2015, section 4.2 ("Combining what and where") and figure 3.
    """

    def __init__(
        self,
        variant: str = "32s",
        num_classes: int = 21,
        backbone: str = "resnet18",
        upsampling: str = "bilinear",
        geometry: str = "textbook",
        weights: str | os.PathLike | None = None,
        classes: ClassList | Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        names = classes.names if isinstance(classes, ClassList) else classes
        _check_choice("variant", variant, VARIANTS)
        _check_choice("upsampling", upsampling, UPSAMPLINGS)
        _check_choice("geometry", geometry, GEOMETRIES)
        _check_classes(num_classes, names)
        self.arguments: dict[str, Any] = {
            "variant": variant,
            "num_classes": num_classes,
            "backbone": backbone,
            "upsampling": upsampling,
            "geometry": geometry,
        }
        self.variant = variant
        self.classes = tuple(names) if names is not None else None
        self.colours = classes.colours if isinstance(classes, ClassList) else None
        self.notes: dict[str, Any] = {}
        self.design = backbones.design(backbone)
        self.standardize = Standardize(self.design.mean, self.design.std)
        self.backbone = backbones.make_backbone(backbone, weights)
        at8, at16, at32 = self.design.channels
        self.score = _score_layer(at32, num_classes)
        if variant in ("16s", "8s"):
            self.upsample_to16 = self._upsampling(from_stride=32, to_stride=16)
            self.score16 = _score_layer(at16, num_classes, zero=True)
        if variant == "8s":
            self.upsample_to8 = self._upsampling(from_stride=16, to_stride=8)
            self.score8 = _score_layer(at8, num_classes, zero=True)
        self.upsample = self._upsampling(from_stride=VARIANTS[variant], to_stride=1)

    def train(self, mode: bool = True) -> FCN:
        """Choose training or evaluation mode; frozen batch normalisation stays in evaluation mode."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, BATCH_NORM) and not module.weight.requires_grad:
                module.eval()  # else its running mean and variance would move, and it would use the batch's
        return self

    def check_unchanged(self) -> None:
        """Raise a ValueError if `load` could not build this model again, because parts were changed since."""
        with torch.device("meta"):  # shapes without values
            twin = FCN(**self.arguments, classes=self.classes)
        checkpoint.check_alike(self, twin)

    @property
    def colormap(self) -> tuple[tuple[int, int, int], ...]:
        """The colours in which to paint predictions: the model's own, or VOC's palette."""
        return self.colours or voc_colormap(self.arguments["num_classes"])

    def _upsampling(self, from_stride: int, to_stride: int) -> nn.Module:
        """Make the layer that paints cells of one map on the cells of a finer one."""
        factor, kind = from_stride // to_stride, self.arguments["upsampling"]
        centre = None
        if self.arguments["geometry"] == "corrected":
            # the cell of the finer map that looks where cell 0 of the coarser one does
            centre = (self.design.centre(from_stride) - self.design.centre(to_stride)) / to_stride
        if kind == "bilinear":
            return BilinearUpsample(factor, centre=centre)
        layer = bilinear_conv_transpose(self.arguments["num_classes"], factor, centre)
        if kind == "random":
            layer.reset_parameters()
        return layer

    def forward(self, images: Tensor) -> Tensor:
        """Score each class at each pixel.

        Parameters
        ----------
        images : Tensor
            uint8 RGB, (N, 3, H, W), any H, W >= 1 in eval mode.

        Returns
        -------
        Tensor
            Logits, float, (N, C, H, W).

        Raises
        ------
        TypeError
            If the pixels are not uint8.
        ValueError
            If the shape is wrong, or the batch is too small to train batch normalisation on.
        """
        height, width = images.shape[-2:]
        x = pad_to_multiple(self.standardize(images))  # (N, 3, H, W) -> (N, 3, 32h, 32w)
        self._check_batch_norm(x)
        x = x.contiguous(memory_format=torch.channels_last)  # the order in which fast convolutions read
        maps = backbones.feature_maps(self.backbone, self.design.taps, x)
        if not torch.compiler.is_compiling():  # or exporting, where sizes are symbols
            self._check_maps(x, maps)
        at8, at16, at32 = maps
        x = self.score(at32)  # (N, 512 on ResNet-18, h, w) -> (N, C, h, w)
        if self.variant in ("16s", "8s"):
            x = self.upsample_to16(x) + self.score16(at16)  # (N, C, h, w) -> (N, C, 2h, 2w)
        if self.variant == "8s":
            x = self.upsample_to8(x) + self.score8(at8)  # (N, C, 2h, 2w) -> (N, C, 4h, 4w)
        return self.upsample(x)[..., :height, :width]  # -> (N, C, 32h, 32w) -> (N, C, H, W)

    def _check_maps(self, padded: Tensor, maps: list[Tensor]) -> None:
        """Raise unless a backbone's maps are what its design says, or scores would be painted elsewhere."""
        height, width = padded.shape[-2:]
        sizes = zip(self.design.channels, backbones.STRIDES, strict=True)
        expected = [(channels, height // stride, width // stride) for channels, stride in sizes]
        found = [tuple(features.shape[1:]) for features in maps]
        if found != expected:
            raise ValueError(
                f"{self.design.title} gives maps {found} for {height}x{width} pixels, but its design says "
                f"{expected}: check its stages, taps and channels in backbones.BACKBONES"
            )

    def _check_batch_norm(self, padded: Tensor) -> None:
        """Raise if a training batch's last map holds a single value per channel, which has no variance."""
        n, _, height, width = padded.shape
        if self.training and self.design.batch_norm and n * height * width == STRIDE**2:
            raise ValueError(
                "in training mode one image of at most 32x32 pixels leaves batch normalisation a single "
                "value per channel; use a larger image, a batch of two, or model.eval()"
            )


class FCN32s(FCN):
    """FCN-32s: one score layer at stride 32, enlarged by 32 in one step. Options as in `FCN`."""

    def __init__(self, num_classes: int = 21, **options: Any) -> None:
        super().__init__("32s", num_classes, **options)


class FCN16s(FCN):
    """FCN-16s: the scores of stride 32, enlarged by 2, plus those of stride 16. Options as in `FCN`."""

    def __init__(self, num_classes: int = 21, **options: Any) -> None:
        super().__init__("16s", num_classes, **options)


class FCN8s(FCN):
    """FCN-8s: as FCN-16s, enlarged by 2 once more, plus the scores of stride 8. Options as in `FCN`."""

    def __init__(self, num_classes: int = 21, **options: Any) -> None:
        super().__init__("8s", num_classes, **options)


def _score_layer(channels: int, num_classes: int, zero: bool = False) -> nn.Conv2d:
    """Make a 1x1 convolution to classes; that of a skip starts at zero, so that it adds nothing at first."""
    layer = nn.Conv2d(channels, num_classes, kernel_size=1)
    weight, bias = layer.parameters()
    if zero:
        nn.init.zeros_(weight)
    else:
        nn.init.xavier_uniform_(weight)
    nn.init.zeros_(bias)
    return layer


def _check_choice(name: str, got: str, choices: Collection[str]) -> None:
    """Raise unless an option exists."""
    if got not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}; got {got!r}")


def _check_classes(num_classes: int, classes: Sequence[str] | None) -> None:
    """Raise unless there are enough classes for the names, and few enough for a byte."""
    if num_classes < 2:
        raise ValueError(f"num_classes must be at least 2 (background and one class), got {num_classes}")
    if num_classes > VOID:
        raise ValueError(f"num_classes must be at most {VOID}, because a label is a byte; got {num_classes}")
    if classes is not None and len(classes) != num_classes:
        raise ValueError(
            f"{len(classes)} class names for {num_classes} classes; one name per class is needed"
        )


def freeze(part: nn.Module, only: type[nn.Module] | tuple[type[nn.Module], ...] = nn.Module) -> None:
    """Keep the weights of a part of a model, such as ``model.backbone``, out of training.

    Frozen batch normalisation keeps its statistics too, see `FCN.train`. ``only=nn.BatchNorm2d`` freezes
    these layers alone, for batches that are too small to take statistics from.
    """
    for module in part.modules():
        if isinstance(module, only):
            module.requires_grad_(False)


def parameter_groups(
    model: FCN, backbone_lr: float | None = None, weight_decay: float = 1e-2
) -> list[dict[str, Any]]:
    """Put what is not frozen into groups for `training.train`; with `backbone_lr`, the backbone has its own.

    Pretrained features need small steps, new score layers large ones.
    """
    known = set() if backbone_lr is None else {id(p) for p in model.backbone.parameters()}
    free = [p for p in model.parameters() if p.requires_grad]
    backbone, rest = [p for p in free if id(p) in known], [p for p in free if id(p) not in known]
    groups: list[dict[str, Any]] = [{"params": backbone, "lr": backbone_lr}, {"params": rest}]
    groups = [group for group in groups if group["params"]]  # a frozen backbone leaves one
    return [group | {"weight_decay": weight_decay} for group in groups]


def start_from(model: FCN, source: FCN) -> list[str]:
    """Give a model the weights of another one, as far as they fit, and return the layers that do not.

    The backbone must be the same. Score layers fit if they read the same map and the classes are the same.
    """
    ours, theirs = model.arguments, source.arguments
    if ours["backbone"] != theirs["backbone"]:
        raise ValueError(
            f"the weights are those of an FCN on {theirs['backbone']}, and this one is on "
            f"{ours['backbone']}: build it on the same backbone"
        )
    alike = ours["num_classes"] == theirs["num_classes"]
    alike = alike and (None in (model.classes, source.classes) or model.classes == source.classes)
    old, new = source.state_dict(), model.state_dict()
    fitting = {
        name: value
        for name, value in old.items()
        if name.startswith("backbone.") or (alike and name in new and value.shape == new[name].shape)
    }
    model.load_state_dict(fitting, strict=False)
    return sorted({name.partition(".")[0] for name in {*old, *new} - set(fitting)})


def parameter_counts(model: nn.Module) -> dict[str, int]:
    """Count the parameters of each direct child of a model, and of all of it under ``"total"``."""
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    return counts | {"total": sum(p.numel() for p in model.parameters())}


def save(model: FCN, path: str | os.PathLike, **notes: Any) -> Path:
    """Save a model with what is needed to build it again.

    Parameters
    ----------
    model : FCN
        On any device, in any mode, compiled or not.
    path : path
        The file to write; it appears whole or not at all.
    **notes
        Plain values (numbers, strings, lists, dicts) to keep with it, such as its scores.

    Raises
    ------
    ValueError
        If `load` would refuse the file.
    """
    if not isinstance(checkpoint.unwrapped(model), FCN):
        raise ValueError(f"expected an FCN, got {type(model).__name__}; save the FCN that it holds")
    try:
        content = checkpoint.describe(model, **notes)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    checkpoint.check_content(path, content, ARGUMENTS)
    checkpoint.check_finite(content["state"], path)
    return checkpoint.write(path, content)


def pretrained(name: str = "photos", device: str | torch.device = "cpu") -> FCN:
    """Load a model whose weights come with the package, in eval mode.

    Parameters
    ----------
    name : {"photos", "emoji"}
        ``"photos"`` is FCN-8s on EfficientNet-Lite0 for background, cat, cow, dog, horse, person and sheep;
        ``"emoji"`` is notebook 05's FCN-32s on ResNet-18, trained from scratch on EmojiVOC's 21 classes.

    Raises
    ------
    ValueError
        If no weights of this name come with the package.
    """
    _check_choice("name", name, PRETRAINED)
    return load(Path(__file__).parent / "weights" / f"{name}.pt", device)


def load(path: str | os.PathLike, device: str | torch.device = "cpu") -> FCN:
    """Build the model that `save` wrote, in eval mode, with its ``classes``, ``colours`` and ``notes``.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    PermissionError
        If this user may not read it.
    ValueError
        If the file is not a checkpoint of this module or damaged, does not fit the model it names, or holds
        NaN or infinite values.
    """
    content = checkpoint.read(path)
    checkpoint.check_content(path, content, ARGUMENTS)
    names, colours = content.get("classes"), content.get("colours")
    try:
        if names is not None and colours is not None:  # older checkpoints hold names only
            names = ClassList(tuple(names), tuple(tuple(colour) for colour in colours))
        model = FCN(**content["arguments"], classes=names)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: made with {content['arguments']}, which can't be built: {error}"
        ) from error
    try:
        model.load_state_dict(content["state"])
    except RuntimeError as error:
        raise ValueError(f"{path}: the weights do not fit {content['arguments']}: {error}") from error
    checkpoint.check_finite(model.state_dict(), path)
    model.notes = content["notes"]
    return model.to(device).eval()
