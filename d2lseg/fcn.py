"""A fully convolutional network: a ResNet-18 trunk, a score for each class, and upsampling by 32.

Source: Long, Shelhamer and Darrell, "Fully convolutional networks for semantic segmentation", CVPR 2015,
sections 3 and 4.1, with the trunk of He, Zhang, Ren and Sun, "Deep residual learning", CVPR 2016.
"""

from __future__ import annotations

import os
import pickle
import tempfile
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import ResNet18_Weights, resnet18

from .upsampling import BilinearUpsample, bilinear_conv_transpose

# Mean and standard deviation of the ImageNet training images, RGB in 0..1. Weights from ImageNet expect them.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

STRIDE = 32  # one cell of ResNet-18's last map stands for 32 x 32 pixels


class Standardize(nn.Module):
    """Turn uint8 pixels into standardised floats: divide by 255, subtract the mean, divide by the deviation.

    Raises
    ------
    TypeError
        In ``forward``, if the pixels are not uint8.
    ValueError
        In ``forward``, if the shape is not (N, 3, H, W).
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Standardise a batch.

        Parameters
        ----------
        images : Tensor
            uint8 RGB, (N, 3, H, W).

        Returns
        -------
        Tensor
            float32, (N, 3, H, W); a pixel of the mean colour becomes 0.

        Raises
        ------
        TypeError
            If the pixels are not uint8.
        ValueError
            If the shape is not (N, 3, H, W).
        """
        if images.dtype != torch.uint8:
            raise TypeError(
                f"expected uint8 pixels (0..255), got {images.dtype}: the model itself divides by 255 and "
                "standardises, so give it images as they were read"
            )
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(
                f"expected a batch of RGB images (N, 3, H, W), got {tuple(images.shape)}; "
                "a single image becomes a batch with image[None]"
            )
        return (images / 255 - self.mean) / self.std


def resnet18_trunk(weights: str | os.PathLike | None = None) -> nn.Sequential:
    """Build ResNet-18 without its average pooling and its fully connected layer.

    Parameters
    ----------
    weights : None, "imagenet" or path
        None starts from random weights, ``"imagenet"`` downloads torchvision's weights (45 MB, once), a path
        reads a saved ``state_dict`` of torchvision's ResNet-18.

    Returns
    -------
    nn.Sequential
        Maps (N, 3, H, W) to (N, 512, ceil(H / 32), ceil(W / 32)); its stages keep torchvision's names.

    Raises
    ------
    RuntimeError
        If the weights can't be downloaded or do not fit.
    FileNotFoundError
        If the weights file does not exist.
    """
    network = resnet18(weights=None)
    if weights is not None:
        _load_trunk_weights(network, weights)
    stages = OrderedDict(
        (name, stage) for name, stage in network.named_children() if name not in ("avgpool", "fc")
    )
    return nn.Sequential(stages)


def _load_trunk_weights(network: nn.Module, weights: str | os.PathLike) -> None:
    """Fill a ResNet-18 from torchvision's download or from a file."""
    if weights == "imagenet":
        try:
            state = ResNet18_Weights.IMAGENET1K_V1.get_state_dict(progress=True, check_hash=True)
        except (OSError, RuntimeError) as error:
            raise RuntimeError(
                f"the ImageNet weights of ResNet-18 could not be downloaded ({error}). Check the network, or "
                'fetch the file elsewhere and pass weights="path/to/file.pth", or start from scratch with '
                "weights=None"
            ) from error
    else:
        path = Path(weights)
        if not path.is_file():
            raise FileNotFoundError(f'{path}: no such weights file; use a path, "imagenet" or None')
        state = torch.load(path, map_location="cpu", weights_only=True)
    # a trunk needs no classifier, so a file without fc.* (or with another number of classes) will do
    state = {name: value for name, value in state.items() if not name.startswith("fc.")}
    result = network.load_state_dict(state, strict=False)
    missing = [name for name in result.missing_keys if not name.startswith("fc.")]
    if missing or result.unexpected_keys:
        raise RuntimeError(
            f"{weights}: not the weights of torchvision's ResNet-18: missing {missing[:3]}, "
            f"unexpected {result.unexpected_keys[:3]}"
        )


def pad_to_multiple(batch: Tensor, multiple: int = STRIDE) -> Tensor:
    """Pad the bottom and the right side with zeros up to a multiple of the stride.

    Parameters
    ----------
    batch : Tensor
        float, (N, C, H, W), standardised, so that zero is the mean colour.
    multiple : int
        Height and width of the result are multiples of this.

    Returns
    -------
    Tensor
        float, (N, C, H', W') with H <= H' < H + multiple, W likewise.
    """
    height, width = batch.shape[-2:]
    return F.pad(batch, (0, -width % multiple, 0, -height % multiple))


class FCN32s(nn.Module):
    """FCN-32s: trunk, 1x1 score layer, upsampling by 32 in one step.

    Parameters
    ----------
    num_classes : int
        Number of classes C, background included.
    upsampling : {"bilinear", "learned"}
        ``"bilinear"`` is a fixed bilinear layer without parameters. ``"learned"`` is the textbook's
        transposed convolution (kernel 64, stride 32, padding 16): it starts bilinear and is trained.
    weights : None, "imagenet" or path
        Of the trunk, see `resnet18_trunk`.
    classes : sequence of str, optional
        The class names, kept with the model as ``model.classes``.

    Raises
    ------
    ValueError
        If ``upsampling`` has another name, there are fewer than two classes, or the names do not match them.
    """

    def __init__(
        self,
        num_classes: int = 21,
        upsampling: str = "bilinear",
        weights: str | os.PathLike | None = None,
        classes: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"num_classes must be at least 2 (background and one class), got {num_classes}")
        if classes is not None and len(classes) != num_classes:
            raise ValueError(
                f"{len(classes)} class names for {num_classes} classes; one name a class is needed"
            )
        if upsampling not in ("bilinear", "learned"):
            raise ValueError(f'upsampling must be "bilinear" or "learned", got {upsampling!r}')
        self.arguments = {"num_classes": num_classes, "upsampling": upsampling}
        self.classes = tuple(classes) if classes is not None else None
        self.standardize = Standardize()
        self.trunk = resnet18_trunk(weights)
        self.score = nn.Conv2d(512, num_classes, kernel_size=1)
        nn.init.xavier_uniform_(self.score.weight)
        nn.init.zeros_(self.score.bias)
        if upsampling == "bilinear":
            self.upsample = BilinearUpsample(STRIDE)
        else:
            self.upsample = bilinear_conv_transpose(num_classes, STRIDE)

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
        x = x.contiguous(memory_format=torch.channels_last)  # the order that fast convolutions read
        x = self.score(self.trunk(x))  # (N, 3, 32h, 32w) -> (N, 512, h, w) -> (N, C, h, w)
        x = self.upsample(x)  # (N, C, h, w) -> (N, C, 32h, 32w)
        return x[..., :height, :width]

    def _check_batch_norm(self, padded: Tensor) -> None:
        """Refuse training batches whose last map holds a single value a channel: it has no variance."""
        n, _, height, width = padded.shape
        if self.training and n * height * width == STRIDE**2:
            raise ValueError(
                "in training mode one image of at most 32x32 pixels leaves batch normalisation a single "
                "value a channel; use a larger image, a batch of two, or model.eval()"
            )


def parameter_counts(model: nn.Module) -> dict[str, int]:
    """Count the parameters of each part of a model.

    Parameters
    ----------
    model : nn.Module
        Any model; its direct children are the parts.

    Returns
    -------
    dict of str to int
        One entry for each part and one named ``"total"``.
    """
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    return counts | {"total": sum(p.numel() for p in model.parameters())}


def save(model: FCN32s, path: str | os.PathLike, **notes: Any) -> Path:
    """Save a model with what is needed to build it again.

    Parameters
    ----------
    model : FCN32s
        The model; its device and mode do not matter.
    path : path
        The file to write. It appears whole or not at all.
    **notes
        Plain values (numbers, strings, lists, dicts) to keep with it, such as its scores.

    Returns
    -------
    Path
        The file written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    checkpoint = {
        "format": "d2lseg-1",
        "arguments": model.arguments,
        "classes": list(model.classes) if model.classes is not None else None,
        "state": {name: value.detach().cpu() for name, value in model.state_dict().items()},
        "notes": notes,
    }
    # written beside its place and renamed, so that a crash never leaves half a checkpoint
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            torch.save(checkpoint, file)
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise
    return path


def load(path: str | os.PathLike, device: str | torch.device = "cpu") -> FCN32s:
    """Build the model that `save` wrote, ready for prediction.

    Parameters
    ----------
    path : path
        A checkpoint file.
    device : str or torch.device
        Where the model goes.

    Returns
    -------
    FCN32s
        In eval mode, with ``model.classes`` and ``model.notes`` as they were saved.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not a checkpoint of this module, or does not fit the model it names.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint; train one with notebook 05 or check the path")
    checkpoint = _read_checkpoint(path)
    model = FCN32s(**checkpoint["arguments"], classes=checkpoint["classes"])
    try:
        model.load_state_dict(checkpoint["state"])
    except RuntimeError as error:
        raise ValueError(f"{path}: the weights do not fit {checkpoint['arguments']}: {error}") from error
    model.notes = checkpoint["notes"]
    return model.to(device).eval()


def _read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint file; code in it is never run (``weights_only=True``)."""
    advice = "expected a file written by d2lseg.fcn.save"
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError) as error:
        raise ValueError(f"{path}: not a readable checkpoint ({type(error).__name__}); {advice}") from error
    if not isinstance(checkpoint, dict) or checkpoint.get("format") != "d2lseg-1":
        raise ValueError(f"{path}: a torch file, but not a checkpoint of this module; {advice}")
    return checkpoint
