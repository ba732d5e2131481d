"""Backbones: classifiers of torchvision without their last layers.

A backbone gives three feature maps, with one cell for each 8 x 8, 16 x 16 and 32 x 32 pixels. FCN-32s reads
the last one, FCN-16s and FCN-8s the others too.

Sources: He, Zhang, Ren and Sun, "Deep residual learning for image recognition", CVPR 2016, table 1 (ResNet);
Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015,
table 1 (VGG); Long, Shelhamer and Darrell, "Fully convolutional networks for semantic segmentation",
CVPR 2015, sections 3.1 and 4.1 (a classifier's fully connected layers as convolutions).
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn
from torchvision import models

from .engine import weights as weight_files
from .engine.checkpoint import check_finite

STRIDES = (8, 16, 32)  # pixels per cell of the three maps


@dataclass(frozen=True)
class Design:
    """What a network needs to know about a backbone.

    Parameters
    ----------
    title : str
        The network's name in its paper.
    stages : callable
        Takes torchvision's network and returns its stages by name.
    taps : tuple of str
        The stages that end at strides 8, 16 and 32.
    channels : tuple of int
        Channels of these three maps.
    centred_on_corner : bool
        Where cell i of a map of stride s looks. True: at pixel i * s, because each layer with a stride has an
        odd kernel k and a padding of (k - 1) / 2 (ResNet). False: at the middle i * s + (s - 1) / 2 of its
        block of pixels, because only 2 x 2 pooling shrinks the map (VGG).
    batch_norm : bool
        Whether it has batch normalisation, which can't be trained on a single value per channel.
    head : str
        The beginning of the names of torchvision's weights that the backbone leaves out.
    """

    title: str
    stages: Callable[[nn.Module], OrderedDict[str, nn.Module]]
    taps: tuple[str, str, str]
    channels: tuple[int, int, int]
    centred_on_corner: bool
    batch_norm: bool
    head: str

    def centre(self, stride: int) -> float:
        """Coordinate of the pixel that cell 0 looks at; cell i looks ``i * stride`` further."""
        return 0.0 if self.centred_on_corner else (stride - 1) / 2


def _resnet_stages(network: nn.Module) -> OrderedDict[str, nn.Module]:
    """Leave out the average pooling and the fully connected layer; keep torchvision's names."""
    return OrderedDict((n, part) for n, part in network.named_children() if n not in ("avgpool", "fc"))


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
    conv.bias = nn.Parameter(layer.bias.detach())
    return conv


def _resnet(title: str, channels: tuple[int, int, int]) -> Design:
    """Describe a ResNet; all have the same stages."""
    taps = ("layer2", "layer3", "layer4")
    return Design(title, _resnet_stages, taps, channels, centred_on_corner=True, batch_norm=True, head="fc.")


# By torchvision's name of the network. The command line knows the names too: see cli/options.py.
BACKBONES = {
    "resnet18": _resnet("ResNet-18", (128, 256, 512)),
    "resnet50": _resnet("ResNet-50", (512, 1024, 2048)),
    "vgg16": Design(
        "VGG-16",
        _vgg16_stages,
        taps=("block3", "block4", "fc7"),
        channels=(256, 512, 4096),
        centred_on_corner=False,
        batch_norm=False,
        head="classifier.6.",
    ),
}


def design(name: str) -> Design:
    """Look up a backbone by torchvision's name of the network.

    Raises
    ------
    ValueError
        If there is no backbone of this name.
    """
    if name not in BACKBONES:
        raise ValueError(f"backbone must be one of {', '.join(BACKBONES)}; got {name!r}")
    return BACKBONES[name]


def make_backbone(name: str = "resnet18", weights: str | os.PathLike | None = None) -> nn.Sequential:
    """Build a classifier of torchvision without its last layers.

    Parameters
    ----------
    name : {"resnet18", "resnet50", "vgg16"}
        The ResNets lose their pooling and fully connected layer; VGG-16 keeps two fully connected layers, as
        convolutions.
    weights : None, "imagenet" or path
        None starts from random weights, ``"imagenet"`` downloads torchvision's weights once (45, 98 or
        528 MB), a path reads a saved ``state_dict`` of torchvision's network.

    Returns
    -------
    nn.Sequential
        Named stages. Maps float (N, 3, H, W) to (N, C, ceil(H / 32), ceil(W / 32)) for the ResNets, whose
        C is 512 or 2048. VGG-16 (C = 4096) rounds down instead, so pad its input to a multiple of 32.

    Raises
    ------
    ValueError
        If there is no such backbone, or the file does not hold finite weights and nothing else.
    RuntimeError
        If the weights can't be downloaded or do not fit.
    FileNotFoundError
        If the weights file does not exist.
    """
    plan = design(name)
    network = models.get_model(name, weights=None)
    if weights is not None:
        url = models.get_model_weights(name)["IMAGENET1K_V1"].url
        path = weight_files.download(url, plan.title) if weights == "imagenet" else Path(weights)
        _load_weights(network, plan, path)
    return nn.Sequential(plan.stages(network))


def feature_maps(backbone: nn.Sequential, taps: tuple[str, ...], images: Tensor) -> list[Tensor]:
    """Run a backbone and keep what comes out of some of its stages.

    Parameters
    ----------
    backbone : nn.Sequential
        Named stages.
    taps : tuple of str
        Names of the stages to keep, from front to back.
    images : Tensor
        float, (N, 3, H, W), standardised.

    Returns
    -------
    list of Tensor
        One map (N, C, h, w) for each tap.
    """
    maps = []
    x = images
    for name, stage in backbone.named_children():
        x = stage(x)
        if name in taps:
            maps.append(x)
    return maps


def _load_weights(network: nn.Module, plan: Design, path: Path) -> None:
    """Fill torchvision's network from a file."""
    # a backbone needs no classifier, so a file without one (or with another number of classes) will do
    state = {k: v for k, v in weight_files.read(path).items() if not k.startswith(plan.head)}
    try:
        result = network.load_state_dict(state, strict=False)
        missing = [key for key in result.missing_keys if not key.startswith(plan.head)]
        fault = f"missing {missing[:3]}, unexpected {result.unexpected_keys[:3]}"
        fits = not missing and not result.unexpected_keys
    except RuntimeError as error:  # a tensor of another shape
        fault, fits = str(error), False
    if not fits:
        raise RuntimeError(f"{path}: not the weights of torchvision's {plan.title}: {fault}")
    check_finite(state, path)
