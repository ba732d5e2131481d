"""The networks after the FCN: a dilated backbone and a concatenating decoder."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from d2lseg import backbones, beyond, fcn, prediction, training
from d2lseg.upsampling import BilinearUpsample

BACKBONES = ("resnet18", "efficientnet_lite0")


def in_double(net):
    """In float64 and eval mode, with statistics that differ between channels."""
    torch.manual_seed(1)
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 1.5)
    return net.double().eval()


@pytest.mark.slow
@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("stride", beyond.DILATED_STRIDES)
def test_every_few_cells_of_the_dilated_map_are_the_plain_one(backbone, stride):
    """The oracle: no cell is lost or moved, borders included; the others are new."""
    torch.manual_seed(0)
    net = beyond.Dilated(3, backbone, stride=stride)
    plain = in_double(backbones.make_backbone(backbone))
    dense = net.backbone.double().eval()
    dense.load_state_dict(plain.state_dict())
    x = torch.randn(2, 3, 64, 96, dtype=torch.float64)
    factor = 32 // stride
    first = round(net.design.looks_at * (factor - 1))  # the fine cell that looks where coarse cell 0 does
    with torch.no_grad():
        fine, coarse = dense(x), plain(x)
    assert fine.shape[2:] == (64 // stride, 96 // stride)
    torch.testing.assert_close(fine[..., first::factor, first::factor], coarse)
    other = fine[..., (first + 1) % factor :: factor, first::factor]
    assert not torch.allclose(other, coarse)  # else every cell would be the same
    for layer in dense.modules():  # without dilation a kernel would read between the cells that it knows
        if isinstance(layer, nn.Conv2d) and layer.dilation[0] > 1:
            layer.padding = tuple(cells // layer.dilation[0] for cells in layer.padding)
            layer.dilation = (1, 1)
    with torch.no_grad():
        assert not torch.allclose(dense(x)[..., first::factor, first::factor], coarse)


def test_the_weights_stay_as_they_are():
    net = beyond.Dilated(3, "resnet50")
    plain = backbones.make_backbone("resnet50")
    assert {k: v.shape for k, v in plain.state_dict().items()} == {
        k: v.shape for k, v in net.backbone.state_dict().items()
    }


def test_dilating_one_convolution_spreads_its_kernel():
    stage = nn.Sequential(nn.Conv2d(1, 1, 3, 2, 1), nn.Conv2d(1, 1, 3, 1, 1), nn.Conv2d(1, 1, 1))
    assert beyond.dilate(stage, 2) == 4
    assert [layer.dilation[0] for layer in stage] == [2, 4, 4]
    assert [layer.padding[0] for layer in stage] == [2, 4, 0]
    assert all(layer.stride == (1, 1) for layer in stage)
    assert beyond.dilate(nn.Sequential(nn.Conv2d(1, 1, 3)), 2) == 2  # without a stride, nothing moves apart


def test_join_by_hand():
    torch.manual_seed(0)
    join = beyond.Join(2, 3, centre=0.0).eval()
    coarse, fine = torch.randn(1, 2, 4, 5), torch.randn(1, 3, 8, 10)
    conv = join.mix[0]
    large = BilinearUpsample(2, centre=0.0)(coarse)
    pieces = conv.weight.split([2, 3], dim=1)  # a convolution of what is concatenated is a sum of two
    summed = F.conv2d(large, pieces[0], padding=1) + F.conv2d(fine, pieces[1], padding=1)
    torch.testing.assert_close(join(coarse, fine), F.relu(join.mix[1](summed)))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_cells_are_painted_where_they_look(backbone):
    """A map of cell centres, enlarged, gives each pixel its own coordinate."""
    net = beyond.Concatenating(2, backbone)
    for stride, join in ((32, net.join16), (16, net.join8), (8, net.join4)):
        coarse = net.design.centre(stride) + stride * torch.arange(6.0)
        fine = join.enlarge(coarse.expand(1, 1, 6, 6))[0, 0, 0]
        truth = net.design.centre(stride // 2) + stride / 2 * torch.arange(12.0)
        torch.testing.assert_close(fine[2:-2], truth[2:-2])  # at the border the edge cell is repeated
    cells = (net.design.centre(4) + 4 * torch.arange(8.0)).expand(1, 1, 8, 8)
    pixels = net.upsample(cells)[0, 0, 0]
    torch.testing.assert_close(pixels[4:-4], torch.arange(32.0)[4:-4])


@pytest.mark.parametrize("make", [beyond.Dilated, beyond.Concatenating])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_any_size_gives_logits_of_that_size(make, backbone):
    net = make(5, backbone).eval()
    with torch.no_grad():
        for size in ((1, 1), (33, 70), (64, 32)):
            images = torch.randint(0, 256, (1, 3, *size), dtype=torch.uint8)
            assert net(images).shape == (1, 5, *size)
    assert prediction.predict(net, torch.zeros(3, 40, 50, dtype=torch.uint8)).shape == (40, 50)
    with pytest.raises(TypeError, match="expected uint8 pixels"):
        net(torch.zeros(1, 3, 32, 32))


@pytest.mark.slow
@pytest.mark.parametrize("make", [beyond.Dilated, beyond.Concatenating])
def test_everything_gets_a_gradient(make):
    net = make(4)
    images = torch.randint(0, 256, (2, 3, 32, 64), dtype=torch.uint8)
    training.segmentation_loss(net(images), torch.randint(0, 4, (2, 32, 64))).backward()
    assert [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.slow
@pytest.mark.parametrize("make", [beyond.Dilated, beyond.Concatenating])
def test_one_batch_is_learned_by_the_usual_loop(make):
    training.set_seed(0)
    images = torch.randint(0, 60, (4, 3, 64, 64), dtype=torch.uint8)
    labels = torch.zeros(4, 64, 64, dtype=torch.uint8)
    images[..., 16:48, 16:48] += 150
    labels[..., 16:48, 16:48] = 1
    net = make(2)
    training.train(net, [(images, labels)], epochs=30, live=False, precision="float32", device="cpu")
    matrix = training.evaluate(net, [(images, labels)])
    assert matrix.diag().sum() / matrix.sum() > 0.95


def test_a_stride_or_a_backbone_that_is_not_there():
    with pytest.raises(ValueError, match=r"stride must be one of \(8, 16\), got 4"):
        beyond.Dilated(stride=4)
    for make in (beyond.Dilated, beyond.Concatenating):
        with pytest.raises(ValueError, match=r"backbone must be one of resnet18, .* here; got 'vgg16'"):
            make(backbone="vgg16")
        with pytest.raises(ValueError, match=r"backbone must be one of .* got 'resnet19'"):
            make(backbone="resnet19")


def test_groups_of_parameters_work_with_them():
    groups = fcn.parameter_groups(beyond.Concatenating(3), 1e-4)
    assert [len(group["params"]) > 0 for group in groups] == [True, True]
