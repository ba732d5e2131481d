import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.models import ResNet18_Weights, resnet18
from torchvision.transforms.v2.functional import normalize, to_dtype

from d2lseg import fcn, voc


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return fcn.FCN32s(5, classes="abcde").eval()


def images(*shape, seed=0):
    return torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def test_standardize_equals_torchvision():
    batch = images(2, 3, 5, 7)
    oracle = normalize(to_dtype(batch, torch.float32, scale=True), fcn.IMAGENET_MEAN, fcn.IMAGENET_STD)
    torch.testing.assert_close(fcn.Standardize()(batch), oracle)


@pytest.mark.parametrize("batch", [torch.rand(1, 3, 4, 4), torch.ones(1, 3, 4, 4, dtype=torch.int64)])
def test_anything_but_uint8_is_refused(batch):
    with pytest.raises(TypeError, match="uint8"):
        fcn.Standardize()(batch)


@pytest.mark.parametrize("shape", [(3, 4, 4), (1, 4, 4, 3), (1, 1, 4, 4)])
def test_wrong_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="N, 3, H, W"):
        fcn.Standardize()(images(*shape))


def test_mean_colour_of_the_dataset_is_the_mean_of_imagenet():
    assert voc.MEAN_COLOR == tuple(round(255 * m) for m in fcn.IMAGENET_MEAN)


def test_trunk_is_resnet18_without_its_head():
    torch.manual_seed(1)
    whole = resnet18().eval()
    trunk = fcn.resnet18_trunk().eval()
    trunk.load_state_dict({k: v for k, v in whole.state_dict().items() if not k.startswith("fc.")})
    x = torch.randn(1, 3, 64, 96)
    features = trunk(x)
    assert features.shape == (1, 512, 2, 3)
    torch.testing.assert_close(whole.fc(features.mean((2, 3))), whole(x))


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 100), st.integers(1, 100))
def test_output_has_the_size_of_the_input(model, height, width):
    with torch.inference_mode():
        assert model(images(1, 3, height, width)).shape == (1, 5, height, width)


def test_padding_is_the_mean_colour_below_and_right(model):
    image = images(1, 3, 40, 70)
    x = model.standardize(image)
    by_hand = torch.zeros(1, 3, 64, 96)
    by_hand[..., :40, :70] = x
    assert torch.equal(fcn.pad_to_multiple(x), by_hand)
    scores = model.score(model.trunk(by_hand))
    enlarged = F.interpolate(scores, scale_factor=32, mode="bilinear")[..., :40, :70]
    torch.testing.assert_close(model(image), enlarged, atol=1e-5, rtol=0)


def test_learned_upsampling_starts_as_the_fading_bilinear_layer():
    torch.manual_seed(0)
    learned = fcn.FCN32s(4, upsampling="learned").eval()
    fixed = copy.deepcopy(learned)
    fixed.upsample = fcn.BilinearUpsample(32, border="fade")
    batch = images(1, 3, 64, 64)
    torch.testing.assert_close(learned(batch), fixed(batch), atol=1e-5, rtol=0)
    assert learned.upsample.weight.requires_grad and learned.upsample.bias is None


def test_score_layer_starts_as_xavier_says():
    torch.manual_seed(0)
    weight = fcn.FCN32s(21).score.weight
    bound = (6 / (512 + 21)) ** 0.5  # Glorot and Bengio, 2010, equation 16
    assert weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)


def test_parameter_counts():
    counts = fcn.parameter_counts(fcn.FCN32s(21, upsampling="learned"))
    assert counts["trunk"] == 11_176_512
    assert counts["score"] == 512 * 21 + 21
    assert counts["upsample"] == 21 * 21 * 64 * 64
    assert counts["total"] == sum(v for k, v in counts.items() if k != "total")
    assert fcn.parameter_counts(fcn.FCN32s(21))["upsample"] == 0


def test_training_on_one_cell_is_refused_and_on_two_works():
    model = fcn.FCN32s(3).train()
    with pytest.raises(ValueError, match="batch normalisation"):
        model(images(1, 3, 20, 32))
    assert model(images(1, 3, 20, 33)).shape == (1, 3, 20, 33)
    assert model(images(2, 3, 20, 32)).shape == (2, 3, 20, 32)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 1}, "num_classes"),
        ({"upsampling": "nearest"}, "nearest"),
        ({"num_classes": 3, "classes": ["a", "b"]}, "2 class names for 3"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        fcn.FCN32s(**arguments)


@pytest.mark.parametrize("upsampling", ["bilinear", "learned"])
def test_save_and_load_round_trip(tmp_path, upsampling):
    torch.manual_seed(0)
    model = fcn.FCN32s(4, upsampling=upsampling, classes=["background", "x", "y", "z"]).eval()
    path = fcn.save(model, tmp_path / "deep" / "model.pt", miou=0.5)
    again = fcn.load(path)
    batch = images(1, 3, 33, 50)
    assert torch.equal(again(batch), model(batch))
    assert again.classes == model.classes and again.notes == {"miou": 0.5} and not again.training


def test_failed_save_leaves_the_old_file(tmp_path, monkeypatch, model):
    path = fcn.save(model, tmp_path / "model.pt")
    before = path.read_bytes()

    def half_a_save(checkpoint, file):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(fcn.torch, "save", half_a_save)
    with pytest.raises(OSError, match="disk full"):
        fcn.save(model, path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


class Evil:
    def __reduce__(self):
        return (print, ("code was run",))


def test_bad_checkpoints_are_refused(tmp_path, model, capsys):
    with pytest.raises(FileNotFoundError, match=r"missing\.pt"):
        fcn.load(tmp_path / "missing.pt")
    path = fcn.save(model, tmp_path / "model.pt")
    cases = {
        "cut.pt": path.read_bytes()[:1000],
        "empty.pt": b"",
        "text.pt": b"not a checkpoint",
    }
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
    torch.save({"weights": torch.ones(1)}, tmp_path / "other.pt")
    torch.save(Evil(), tmp_path / "evil.pt")
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["arguments"]["num_classes"], checkpoint["classes"] = 7, None
    torch.save(checkpoint, tmp_path / "classes.pt")
    for name in [*cases, "other.pt", "evil.pt", "classes.pt"]:
        with pytest.raises(ValueError) as error:
            fcn.load(tmp_path / name)
        assert name in str(error.value)
    assert "code was run" not in capsys.readouterr().out


def test_trunk_weights_from_a_file(tmp_path):
    torch.manual_seed(2)
    whole = resnet18(num_classes=7)
    torch.save(whole.state_dict(), tmp_path / "resnet18.pth")
    trunk = fcn.FCN32s(3, weights=tmp_path / "resnet18.pth").trunk
    for name, value in trunk.state_dict().items():
        assert torch.equal(value, whole.state_dict()[name])


def test_trunk_weights_that_do_not_fit_are_refused(tmp_path):
    torch.save({"conv1.weight": torch.ones(64, 3, 7, 7)}, tmp_path / "part.pth")
    with pytest.raises(RuntimeError, match=r"part\.pth: not the weights"):
        fcn.resnet18_trunk(tmp_path / "part.pth")
    with pytest.raises(FileNotFoundError, match=r"none\.pth"):
        fcn.resnet18_trunk(tmp_path / "none.pth")


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
    trunk = fcn.resnet18_trunk("imagenet")
    assert torch.equal(trunk.conv1.weight, state["conv1.weight"])


def test_imagenet_without_network_says_how_to_go_on(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(
        type(ResNet18_Weights.IMAGENET1K_V1), "url", "http://127.0.0.1:9/resnet18-00000000.pth"
    )
    with pytest.raises(RuntimeError, match="weights=None"):
        fcn.resnet18_trunk("imagenet")
