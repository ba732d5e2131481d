import copy
import dataclasses
import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2.functional import normalize, to_dtype

from d2lseg import backbones, fcn, training, voc
from d2lseg.classes import ClassList, voc_colormap
from d2lseg.engine import checkpoint


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


@pytest.fixture(scope="module")
def build():
    """Make each model once; VGG-16 alone has 134 million weights."""
    made = {}

    def get(variant, backbone="resnet18"):
        if (variant, backbone) not in made:
            torch.manual_seed(0)
            with torch.inference_mode(False):  # a test may ask in inference mode, and others train
                made[variant, backbone] = fcn.FCN(variant, 5, backbone, classes="abcde").eval()
        return made[variant, backbone]

    return get


@pytest.mark.parametrize("variant", fcn.VARIANTS)
@settings(deadline=None, max_examples=15)
@given(st.integers(1, 100), st.integers(1, 100))
def test_output_has_the_size_of_the_input(build, variant, height, width):
    with torch.inference_mode():
        assert build(variant)(images(1, 3, height, width)).shape == (1, 5, height, width)


@pytest.mark.parametrize(
    "backbone", ["resnet50", "efficientnet_lite0", pytest.param("vgg16", marks=pytest.mark.slow)]
)
@settings(deadline=None, max_examples=5)
@given(st.integers(1, 100), st.integers(1, 100))
def test_output_of_other_backbones_has_the_size_of_the_input(build, backbone, height, width):
    with torch.inference_mode():
        assert build("8s", backbone)(images(1, 3, height, width)).shape == (1, 5, height, width)


def test_padding_is_the_mean_colour_below_and_right(model):
    image = images(1, 3, 40, 70)
    x = model.standardize(image)
    by_hand = torch.zeros(1, 3, 64, 96)
    by_hand[..., :40, :70] = x
    assert torch.equal(fcn.pad_to_multiple(x), by_hand)
    scores = model.score(model.backbone(by_hand))
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
    assert counts["backbone"] == 11_176_512
    assert counts["score"] == 512 * 21 + 21
    assert counts["upsample"] == 21 * 21 * 64 * 64
    assert counts["total"] == sum(v for k, v in counts.items() if k != "total")
    assert fcn.parameter_counts(fcn.FCN32s(21))["upsample"] == 0


@pytest.mark.parametrize(
    ("backbone", "at8", "at16", "at32", "in_backbone"),
    [
        ("resnet18", 128, 256, 512, 11_176_512),
        ("resnet50", 512, 1024, 2048, 23_508_032),
        ("efficientnet_lite0", 40, 112, 320, 2_958_848),
        ("vgg16", 256, 512, 4096, 134_260_544),  # the paper's table 1 rounds to 134 million
    ],
)
def test_parameter_counts_of_the_variants(backbone, at8, at16, at32, in_backbone):
    score = {"score": 5 * at32 + 5, "score16": 5 * at16 + 5, "score8": 5 * at8 + 5}
    for variant, names in (("32s", ["score"]), ("16s", ["score", "score16"]), ("8s", list(score))):
        with torch.device("meta"):  # without values, of which VGG-16 has half a gigabyte
            counts = fcn.parameter_counts(fcn.FCN(variant, 5, backbone))
        parts = {name: count for name, count in counts.items() if count and name != "total"}
        assert parts == {"backbone": in_backbone} | {name: score[name] for name in names}
        assert counts["total"] == sum(parts.values())


def test_parameter_counts_of_learned_upsampling():
    counts = fcn.parameter_counts(fcn.FCN8s(21, upsampling="learned"))
    assert counts["upsample_to16"] == counts["upsample_to8"] == 21 * 21 * 4 * 4
    assert counts["upsample"] == 21 * 21 * 16 * 16


def randomize_skips(model):
    for name in ("score16", "score8"):
        torch.nn.init.normal_(getattr(model, name).weight, std=0.1)
        torch.nn.init.normal_(getattr(model, name).bias, std=0.1)


def enlarge(scores, factor):
    return F.interpolate(scores, scale_factor=factor, mode="bilinear")


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["resnet18", "vgg16"])
def test_with_zero_skips_8s_is_the_scores_of_32s_enlarged_in_three_steps(build, backbone):
    model = build("8s", backbone)
    batch = images(2, 3, 64, 96)
    with torch.inference_mode():
        scores = model.score(model.backbone(model.standardize(batch)))
        torch.testing.assert_close(
            model(batch), enlarge(enlarge(enlarge(scores, 2), 2), 8), atol=1e-4, rtol=0
        )


def test_skips_start_at_zero_and_32s_agrees_with_the_scores_of_8s(build):
    deep, plain = build("8s"), copy.deepcopy(build("32s"))
    assert not any(p.any() for name in ("score16", "score8") for p in getattr(deep, name).parameters())
    plain.load_state_dict(deep.state_dict(), strict=False)
    batch = images(1, 3, 64, 64)
    scores = plain.score(plain.backbone(plain.standardize(batch)))
    torch.testing.assert_close(plain(batch), enlarge(scores, 32), atol=1e-5, rtol=0)
    assert not torch.allclose(plain(batch), deep(batch), atol=1e-3)  # three bilinear steps are not one


def test_skips_add_what_a_network_written_out_adds(build):
    model = copy.deepcopy(build("8s"))
    randomize_skips(model)
    x = model.standardize(images(1, 3, 64, 96))
    resnet = model.backbone
    at8 = resnet.layer2(resnet.layer1(resnet.maxpool(resnet.relu(resnet.bn1(resnet.conv1(x))))))
    at16 = resnet.layer3(at8)
    at32 = resnet.layer4(at16)
    with16 = enlarge(model.score(at32), 2) + model.score16(at16)
    with8 = enlarge(with16, 2) + model.score8(at8)
    torch.testing.assert_close(model(images(1, 3, 64, 96)), enlarge(with8, 8), atol=1e-4, rtol=0)
    shorter = copy.deepcopy(build("16s"))
    shorter.load_state_dict(model.state_dict(), strict=False)
    torch.testing.assert_close(shorter(images(1, 3, 64, 96)), enlarge(with16, 16), atol=1e-4, rtol=0)


def test_every_skip_learns(build):
    model = copy.deepcopy(build("8s")).train()
    model(images(2, 3, 64, 64)).square().mean().backward()
    for name in ("score", "score16", "score8"):
        assert getattr(model, name).weight.grad.abs().sum() > 0


@pytest.mark.parametrize("variant", fcn.VARIANTS)
@pytest.mark.parametrize(("backbone", "corrected"), [("resnet18", 0.0), ("vgg16", 15.5)])
def test_cells_are_painted_where_the_geometry_says(variant, backbone, corrected):
    for geometry, centre in (("textbook", 15.5), ("corrected", corrected)):
        with torch.device("meta"):
            model = fcn.FCN(variant, 2, backbone, geometry=geometry)
        scores = torch.zeros(1, 2, 5, 5)
        scores[0, 0, 2, 2] = 1  # cell 2 of stride 32
        for step in ("upsample_to16", "upsample_to8", "upsample"):
            scores = getattr(model, step, torch.nn.Identity())(scores)
        weight = scores[0, 0].sum(0)
        mean = (weight * torch.arange(160)).sum() / weight.sum()
        assert mean.item() == pytest.approx(2 * 32 + centre, abs=1e-3)


@pytest.mark.parametrize("geometry", fcn.GEOMETRIES)
@pytest.mark.parametrize("variant", fcn.VARIANTS)
def test_learned_layers_start_as_fading_bilinear_ones(variant, geometry):
    torch.manual_seed(0)
    learned = fcn.FCN(variant, 4, upsampling="learned", geometry=geometry).eval()
    fixed = copy.deepcopy(learned)
    for name in ("upsample_to16", "upsample_to8", "upsample"):
        if hasattr(learned, name):
            layer = getattr(learned, name)
            centre = 0 if geometry == "corrected" else None
            setattr(fixed, name, fcn.BilinearUpsample(layer.stride[0], border="fade", centre=centre))
    batch = images(1, 3, 50, 64)
    torch.testing.assert_close(learned(batch), fixed(batch), atol=1e-5, rtol=0)


def test_random_start_is_random():
    weight = fcn.FCN32s(4, upsampling="random").upsample.weight
    assert weight[0, 1].abs().max() > 0  # a bilinear kernel keeps the classes apart
    assert fcn.FCN32s(4, upsampling="learned").upsample.weight[0, 1].abs().max() == 0


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
        ({"geometry": "shifted"}, "textbook, corrected"),
        ({"backbone": "alexnet"}, "resnet18, resnet50, vgg16"),
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


QUICK = [("32s", "resnet18"), ("16s", "efficientnet_lite0"), ("8s", "resnet50")]  # each variant, each kind


@pytest.mark.parametrize(
    ("variant", "backbone"),
    [
        pytest.param(*both, marks=() if both in QUICK else pytest.mark.slow)  # VGG-16 takes 537 MB
        for both in itertools.product(fcn.VARIANTS, backbones.BACKBONES)
    ],
)
def test_every_variant_and_backbone_loads_back(tmp_path, variant, backbone):
    torch.manual_seed(0)
    model = fcn.FCN(variant, 3, backbone, geometry="corrected", classes="abc").eval()
    again = fcn.load(fcn.save(model, tmp_path / "model.pt"))
    assert again.arguments == model.arguments and again.classes == model.classes
    batch = images(1, 3, 33, 40)
    with torch.inference_mode():
        assert torch.equal(again(batch), model(batch))


def test_checkpoints_from_before_the_variants_load(tmp_path, build):
    path = fcn.save(build("32s"), tmp_path / "model.pt")
    content = torch.load(path, weights_only=True)
    content["arguments"] = {"num_classes": 5, "upsampling": "bilinear"}
    torch.save(content, path)
    assert torch.equal(fcn.load(path)(images(1, 3, 40, 40)), build("32s")(images(1, 3, 40, 40)))


def test_a_variant_that_does_not_exist_is_refused(tmp_path, build):
    with pytest.raises(ValueError, match=r"32s, 16s, 8s; got '4s'"):
        fcn.FCN("4s")
    path = fcn.save(build("32s"), tmp_path / "model.pt")
    content = torch.load(path, weights_only=True)
    for arguments in ({"variant": "4s"}, {"variant": "16s"}, {"depth": 3}):
        torch.save(content | {"arguments": content["arguments"] | arguments}, path)
        with pytest.raises(ValueError, match=r"model\.pt"):
            fcn.load(path)


def test_failed_save_leaves_the_old_file(tmp_path, monkeypatch, model):
    path = fcn.save(model, tmp_path / "model.pt")
    before = path.read_bytes()

    def half_a_save(content, file):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(fcn.checkpoint.torch, "save", half_a_save)
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
    content = torch.load(path, weights_only=True)
    content["arguments"]["num_classes"], content["classes"] = 7, None
    torch.save(content, tmp_path / "classes.pt")
    for name in [*cases, "other.pt", "evil.pt", "classes.pt"]:
        with pytest.raises(ValueError) as error:
            fcn.load(tmp_path / name)
        assert name in str(error.value)
    assert "code was run" not in capsys.readouterr().out


OWN = ClassList(("ground", "cup", "pen"), ((0, 0, 0), (1, 2, 3), (250, 5, 6)))


def test_a_checkpoint_holds_own_names_and_colours(tmp_path, tiny_backbone):
    model = fcn.FCN("8s", 3, tiny_backbone, classes=OWN)
    again = fcn.load(fcn.save(model, tmp_path / "model.pt"))
    for one in (model, again):
        assert (one.classes, one.colours, one.colormap) == (OWN.names, OWN.colours, OWN.colours)
    # what training.train writes after each epoch is such a file, too
    content = checkpoint.describe(model) | {"training": {}}
    assert fcn.load(checkpoint.write(tmp_path / "epoch.pt", content)).colours == OWN.colours


@pytest.mark.parametrize("classes", [None, OWN.names, ClassList(OWN.names)])
def test_without_own_colours_vocs_palette_is_painted(tmp_path, tiny_backbone, classes):
    model = fcn.load(fcn.save(fcn.FCN("8s", 3, tiny_backbone, classes=classes), tmp_path / "model.pt"))
    assert model.classes == (OWN.names if classes else None)
    assert model.colours is None and model.colormap == voc_colormap(3)


def test_checkpoints_from_before_the_colours_load(tmp_path, tiny_backbone):
    path = fcn.save(fcn.FCN("8s", 3, tiny_backbone, classes=OWN), tmp_path / "model.pt")
    content = torch.load(path, weights_only=True)
    del content["colours"]
    torch.save(content, path)
    assert (fcn.load(path).classes, fcn.load(path).colours) == (OWN.names, None)


def test_colours_that_do_not_fit_are_refused_with_the_files_name(tmp_path, tiny_backbone):
    path = fcn.save(fcn.FCN("8s", 3, tiny_backbone, classes=OWN), tmp_path / "model.pt")
    content = torch.load(path, weights_only=True)
    torch.save(content | {"colours": [[0, 0, 0]]}, path)
    with pytest.raises(ValueError, match=r"model\.pt: .* 1 different colours for 3 classes"):
        fcn.load(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"taps": ("layer1", "layer2", "layer3")}, r"\(64, 16, 24\).*design says \[\(128, 8, 12\)"),
        ({"taps": ("layer2", "layer3", "layer5")}, r"gives maps \[\(128, 8, 12\), \(256, 4, 6\)\] for 64x96"),
        ({"channels": (128, 256, 500)}, r"\(500, 2, 3\)"),
    ],
)
def test_a_backbone_that_is_not_what_its_design_says_is_refused(monkeypatch, change, words):
    wrong = dataclasses.replace(backbones.BACKBONES["resnet18"], **change)
    monkeypatch.setitem(backbones.BACKBONES, "resnet18", wrong)
    with pytest.raises(ValueError, match=words):
        fcn.FCN32s(3)(torch.zeros(1, 3, 60, 90, dtype=torch.uint8))


# --- Fine-tuning ---


def test_a_frozen_backbone_keeps_its_weights_and_its_statistics():
    torch.manual_seed(0)
    network = fcn.FCN8s(3, backbone="efficientnet_lite0")
    fcn.freeze(network.backbone)
    before = copy.deepcopy(network.state_dict())
    batch, label = images(2, 3, 64, 64), torch.randint(3, (2, 64, 64), dtype=torch.uint8)
    training.train(network, [(batch, label)], epochs=2, device="cpu", precision="float32", live=False)
    after = network.state_dict()
    changed = {name.partition(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"score", "score16", "score8"}
    assert network.training and not network.backbone.stage1[1].training


def test_without_freezing_the_statistics_move():
    torch.manual_seed(0)
    network = fcn.FCN32s(3)
    network.backbone.requires_grad_(False)
    network.backbone.bn1.requires_grad_(True)
    before = network.backbone.bn1.running_mean.clone(), network.backbone.layer1[0].bn1.running_mean.clone()
    network.train()(images(2, 3, 64, 64))
    assert not torch.equal(before[0], network.backbone.bn1.running_mean)
    assert torch.equal(before[1], network.backbone.layer1[0].bn1.running_mean)


def test_batch_normalisation_can_be_frozen_alone():
    network = fcn.FCN32s(3)
    fcn.freeze(network.backbone, only=torch.nn.BatchNorm2d)
    still = {name for name, p in network.backbone.named_parameters() if not p.requires_grad}
    assert still and all("bn" in name or "downsample.1" in name for name in still)
    assert network.backbone.conv1.weight.requires_grad


def test_parameter_groups_hold_each_parameter_once_and_nothing_frozen():
    network = fcn.FCN8s(3, upsampling="learned")
    first, second = fcn.parameter_groups(network, backbone_lr=1e-4)
    assert first["lr"] == 1e-4 and "lr" not in second
    assert {id(p) for p in first["params"]} == {id(p) for p in network.backbone.parameters()}
    ids = [id(p) for group in (first, second) for p in group["params"]]
    assert sorted(ids) == sorted(id(p) for p in network.parameters())
    fcn.freeze(network.backbone)
    (only,) = fcn.parameter_groups(network, backbone_lr=1e-4)
    assert {id(p) for p in only["params"]} == {id(p) for p in network.parameters() if p.requires_grad}


def test_groups_are_trained_at_their_own_rates():
    """AdamW's first step moves a weight by about its rate, whatever the gradient."""
    torch.manual_seed(0)
    network = fcn.FCN32s(3)
    before = copy.deepcopy(network)
    batch, label = images(2, 3, 64, 64), torch.randint(3, (2, 64, 64), dtype=torch.uint8)
    training.train(
        network,
        [(batch, label)],
        epochs=1,
        lr=1e-2,
        schedule="poly",
        parameters=fcn.parameter_groups(network, backbone_lr=1e-4, weight_decay=0),
        device="cpu",
        precision="float32",
        live=False,
    )
    moved = (network.backbone.conv1.weight - before.backbone.conv1.weight).abs().max().item()
    assert moved == pytest.approx(1e-4, rel=0.01)
    assert (network.score.bias - before.score.bias).abs().max().item() == pytest.approx(1e-2, rel=0.01)


def test_a_checkpoint_of_an_unknown_backbone_says_so(model, tmp_path):
    content = checkpoint.describe(model)
    content["arguments"] = content["arguments"] | {"backbone": "resnet19"}
    path = checkpoint.write(tmp_path / "odd.pt", content)
    with pytest.raises(
        ValueError, match=r"odd\.pt: made with .* can't be built: backbone must be one of resnet18"
    ):
        fcn.load(path)
