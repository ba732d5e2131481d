"""Typical wrong answers are refused, with a helpful message."""

import math

import pytest
import torch
from torch import nn

from d2lseg import backbones
from d2lseg.exercises import nb04


def conv_with(kernel=lambda k: k, order=lambda w, c, k: w.reshape(-1, c, k, k), bias=True, **options):
    """The solution with one part of it changed."""

    def to_conv(linear, k):
        c = linear.in_features // k**2
        keep = bias if bias != "as it was" else linear.bias is not None
        conv = nn.Conv2d(c, linear.out_features, kernel(k), bias=keep, **options)
        conv.weight.data = order(linear.weight.data, c, k)
        if keep and linear.bias is not None:
            conv.bias.data = linear.bias.data
        return conv

    return to_conv


def test_to_conv_and_its_wrong_variants():
    assert nb04.to_conv(conv_with(bias="as it was"))
    for part, words in (
        ({"bias": True}, "bias=False"),  # a random bias where there was none
        ({"bias": False}, "bias=True"),
        ({"order": lambda w, c, k: w.reshape(-1, k, k, c).permute(0, 3, 1, 2)}, "on a 2x2 map"),
        ({"order": lambda w, c, k: w.reshape(-1, c, k, k).transpose(2, 3)}, "on a 2x2 map"),
        ({"order": lambda w, c, k: w[:, :, None, None]}, "RuntimeError"),  # a 1x1 kernel in any case
        ({"stride": 2}, "expected scores of shape"),
        ({"padding": 1}, "expected shape"),
    ):
        verdict = nb04.to_conv(conv_with(**({"bias": "as it was"} | part)))
        assert verdict.status == "wrong" and words in verdict.message, (part, verdict.message)
    assert "nn.Conv2d" in nb04.to_conv(lambda linear, k: linear).message


@pytest.mark.parametrize(
    "wrong",
    [
        lambda C, f: (C * (2 * f) ** 2, C * (2 * f) ** 2),  # the channels taken as separate
        lambda C, f: (C * C * (2 * f) ** 2, C * (2 * f) ** 2),  # odd factors forgotten
        lambda C, f: (C * (2 * f - f % 2) ** 2, (C * (2 * f - f % 2)) ** 2),  # swapped
        lambda C, f: ((C * f) ** 2, C * f * f),  # kernel taken as large as the factor
        lambda C, f: ((C * (2 * f - f % 2)) ** 2 + C, C * (2 * f - f % 2) ** 2),  # with a bias
        lambda C, f: 1806336,
    ],
)
def test_wrong_weight_counts(wrong):
    verdict = nb04.dense_weights(wrong)
    assert verdict.status == "wrong" and "expected" in verdict.message


@pytest.mark.parametrize(
    "wrong",
    [
        lambda n: [n // 2, n // 4, n // 4, n // 8, n // 16, n // 32],  # rounds down
        lambda n: [math.ceil(n / 2**i) for i in range(1, 7)],  # layer1 halves too
        lambda n: [math.ceil(n / d) for d in (2, 4, 8, 16, 32)],  # five stages
        lambda n: [math.ceil(n / d) for d in (2, 2, 4, 8, 16, 32)],  # maxpool keeps the size
        lambda n: [n - 3, *[n] * 5],
        lambda n: n // 32,
    ],
)
def test_wrong_heights(wrong):
    assert nb04.heights(wrong).status == "wrong"


def sees_with(order=reversed, end=lambda k, p: k - 1 - p, pad=1):
    """The solution with one part of it changed."""

    def sees(layers, i):
        first = last = i
        for k, s, p in order(layers):
            first, last = first * s - p * pad, last * s + end(k, p)
        return first, last

    return sees


def test_sees_and_its_wrong_variants():
    assert nb04.sees(sees_with())
    for part in (
        {"order": list},  # forwards
        {"end": lambda k, p: k - p},  # one too far
        {"end": lambda k, p: k - 1 + p},
        {"pad": 0},  # padding forgotten at the first end
        {"pad": -1},
    ):
        verdict = nb04.sees(sees_with(**part))
        assert verdict.status == "wrong" and "cell" in verdict.message, part
    centred = nb04.sees(lambda layers, i: (32 * i - 217, 32 * i + 217))  # ResNet-18 taken for the rule
    assert "one layer k3 s1 p1" in centred.message


def test_half_answers_are_not_yet():
    assert nb04.dense_weights(lambda C, f: (C * C, ...)).status == "not yet"
    assert nb04.heights(lambda n: [...] * 6).status == "not yet"


def test_the_list_of_layers_is_resnet18():
    layers = [
        (layer.kernel_size, layer.stride, layer.padding)
        for name, layer in backbones.make_backbone("resnet18").named_modules()
        if isinstance(layer, (nn.Conv2d, nn.MaxPool2d)) and "downsample" not in name
    ]
    plain = [tuple(v[0] if isinstance(v, tuple) else v for v in layer) for layer in layers]
    assert plain == list(nb04.RESNET18)


def test_what_a_cell_sees_is_where_its_gradient_is():
    layers = [(5, 3, 1), (3, 2, 0), (4, 1, 2)]
    x = torch.zeros(1, 1, 80, requires_grad=True)
    y = x
    for k, s, p in layers:
        y = nn.functional.conv1d(y, torch.ones(1, 1, k), stride=s, padding=p)
    y[0, 0, 6].backward()
    touched = x.grad.flatten().nonzero().flatten()
    assert sees_with()(layers, 6) == (int(touched[0]), int(touched[-1]))
