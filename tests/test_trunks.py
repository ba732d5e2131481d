import copy

import pytest
import torch
from torch import nn
from torchvision.models import ResNet18_Weights, resnet18, resnet50, vgg16

from d2lseg import fcn, trunks


@pytest.fixture(scope="module")
def vgg():
    """Make torchvision's VGG-16 and the trunk with the same weights, once."""
    torch.manual_seed(0)
    network = vgg16().eval()
    return network, nn.Sequential(trunks.TRUNKS["vgg16"].stages(network)).eval()


def test_trunk_is_resnet18_without_its_head():
    torch.manual_seed(1)
    whole = resnet18().eval()
    trunk = trunks.make_trunk("resnet18").eval()
    trunk.load_state_dict({k: v for k, v in whole.state_dict().items() if not k.startswith("fc.")})
    x = torch.randn(1, 3, 64, 96)
    features = trunk(x)
    assert features.shape == (1, 512, 2, 3)
    torch.testing.assert_close(whole.fc(features.mean((2, 3))), whole(x))


@torch.inference_mode()
def test_vgg_trunk_gives_what_the_classifier_gives_for_one_window(vgg):
    network, trunk = vgg
    x = torch.randn(1, 3, 224, 224)
    # the classifier reads the whole 7 x 7 map, as the window of the convolution's middle cell does
    middle = trunk(x)[..., 3, 3]
    torch.testing.assert_close(network.classifier[6](middle), network(x), atol=1e-4, rtol=1e-4)


def test_linear_to_conv_gives_the_layer_at_each_place():
    torch.manual_seed(0)
    layer = nn.Linear(2 * 9, 4)
    conv, x = trunks.linear_to_conv(layer, 2, 3), torch.randn(1, 2, 5, 6)
    for i in range(3):
        for j in range(4):
            window = x[..., i : i + 3, j : j + 3].flatten(1)
            torch.testing.assert_close(conv(x)[..., i, j], layer(window))


def test_linear_to_conv_refuses_a_map_of_another_size():
    with pytest.raises(ValueError, match="reads 18 values, but a map of 2 x 4 x 4 has 32"):
        trunks.linear_to_conv(nn.Linear(18, 4), 2, 4)


@pytest.mark.parametrize("name", trunks.TRUNKS)
def test_maps_have_the_strides_and_channels_that_the_design_says(name):
    plan = trunks.design(name)
    with torch.device("meta"):
        maps = trunks.feature_maps(trunks.make_trunk(name), plan.taps, torch.empty(2, 3, 96, 160))
    for features, channels, stride in zip(maps, plan.channels, trunks.STRIDES, strict=True):
        assert features.shape == (2, channels, 96 // stride, 160 // stride)


def averaging(trunk):
    """Make each layer a plain average, so that a cell's gradient shows all the pixels it looks at."""
    trunk = copy.deepcopy(trunk)
    for module in list(trunk.modules()):
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        for child_name, child in module.named_children():
            if isinstance(child, nn.MaxPool2d):
                setattr(module, child_name, nn.AvgPool2d(child.kernel_size, child.stride, child.padding))
    return trunk.eval()


@pytest.mark.parametrize("name", trunks.TRUNKS)
def test_cells_look_where_the_design_says(name, vgg):
    plan = trunks.design(name)
    trunk = averaging(vgg[1] if name == "vgg16" else trunks.make_trunk(name))
    x = torch.ones(1, 3, 1216, 32, requires_grad=True)  # taller than what one cell sees
    for features, stride in zip(trunks.feature_maps(trunk, plan.taps, x), trunks.STRIDES, strict=True):
        cell = features.shape[2] // 2
        (gradient,) = torch.autograd.grad(features[0, 0, cell].sum(), x, retain_graph=True)
        seen = gradient[0, 0].abs().sum(1).nonzero()
        assert 0 < seen.min() and seen.max() < 1215
        assert (seen.min() + seen.max()).item() / 2 == cell * stride + plan.centre(stride)


def test_unknown_trunks_are_refused():
    with pytest.raises(ValueError, match="resnet18, resnet50, vgg16; got 'resnet19'"):
        trunks.make_trunk("resnet19")


def test_trunk_weights_from_a_file(tmp_path):
    torch.manual_seed(2)
    whole = resnet18(num_classes=7)
    torch.save(whole.state_dict(), tmp_path / "resnet18.pth")
    trunk = fcn.FCN32s(3, weights=tmp_path / "resnet18.pth").trunk
    for name, value in trunk.state_dict().items():
        assert torch.equal(value, whole.state_dict()[name])


def test_trunk_weights_that_do_not_fit_are_refused(tmp_path):
    torch.save({"conv1.weight": torch.ones(64, 3, 7, 7)}, tmp_path / "part.pth")
    with pytest.raises(RuntimeError, match=r"part\.pth: not the weights of torchvision's ResNet-18"):
        trunks.make_trunk("resnet18", tmp_path / "part.pth")
    with pytest.raises(FileNotFoundError, match=r"none\.pth"):
        trunks.make_trunk("resnet18", tmp_path / "none.pth")


def test_imagenet_weights_come_through_torchvision(tmp_path, monkeypatch, file_server):
    """The real download path, from a local server, with torchvision's own check of the hash."""
    import hashlib

    torch.manual_seed(3)
    state = resnet18().state_dict()
    torch.save(state, tmp_path / "weights.pth")
    digest = hashlib.sha256((tmp_path / "weights.pth").read_bytes()).hexdigest()[:8]
    served = f"resnet18-{digest}.pth"
    (tmp_path / "weights.pth").rename(tmp_path / served)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "cache"))
    monkeypatch.setattr(type(ResNet18_Weights.IMAGENET1K_V1), "url", file_server(tmp_path) + served)
    trunk = trunks.make_trunk("resnet18", "imagenet")
    assert torch.equal(trunk.conv1.weight, state["conv1.weight"])


def test_imagenet_without_network_says_how_to_go_on(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(
        type(ResNet18_Weights.IMAGENET1K_V1), "url", "http://127.0.0.1:9/resnet18-00000000.pth"
    )
    with pytest.raises(RuntimeError, match="weights=None"):
        trunks.make_trunk("resnet18", "imagenet")


@pytest.mark.parametrize(("name", "network"), [("resnet50", resnet50), ("resnet18", resnet18)])
def test_each_trunk_reads_its_own_file(tmp_path, name, network):
    torch.manual_seed(4)
    state = network(num_classes=3).state_dict()
    torch.save(state, tmp_path / "weights.pth")
    trunk = trunks.make_trunk(name, tmp_path / "weights.pth")
    assert all(torch.equal(value, state[key]) for key, value in trunk.state_dict().items())
    other = "resnet18" if name == "resnet50" else "resnet50"
    with pytest.raises(RuntimeError, match="not the weights"):
        trunks.make_trunk(other, tmp_path / "weights.pth")


def test_vgg_trunk_reads_a_file_with_another_number_of_classes(tmp_path, vgg):
    network, trunk = vgg
    state = {key: value for key, value in network.state_dict().items() if "classifier.6" not in key}
    torch.save(state | {"classifier.6.weight": torch.ones(3, 4096)}, tmp_path / "vgg.pth")
    again = trunks.make_trunk("vgg16", tmp_path / "vgg.pth")
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), trunk.parameters(), strict=True))
    assert again.fc6[0].weight.shape == (4096, 512, 7, 7)
