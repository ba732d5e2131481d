"""The shipped weights, the seven classes they know, and the command that made them."""

import os
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import torch
from PIL import Image

from d2lseg import emojivoc, experiments, fcn, metrics, prediction, training, voc
from d2lseg.classes import VOC_CLASSES
from d2lseg.datasets import photos as seven
from d2lseg.engine import files
from tools import photos

FOLDER = Path(os.environ.get("D2LSEG_PHOTOS", Path(__file__).resolve().parents[2] / "shared" / "voc-part"))
real = pytest.mark.skipif(
    not FOLDER.is_dir(),
    reason=f"{FOLDER} is missing: set D2LSEG_PHOTOS to a folder of VOC's photographs in VOC layout",
)


@pytest.fixture(scope="module")
def shipped():
    return fcn.pretrained("photos")


def share(label, name):
    return (label == seven.NAMES.index(name)).float().mean().item()


# --- The seven classes ---


def test_seven_classes_keep_their_pixels_and_all_others_become_void():
    label = torch.tensor([[*range(21), 255]], dtype=torch.uint8)
    found = seven.seven_classes(label)
    assert found.dtype == torch.uint8
    for number, new in zip(label[0].tolist(), found[0].tolist(), strict=True):
        name = VOC_CLASSES[number] if number != 255 else "void"
        assert new == (seven.NAMES.index(name) if name in seven.NAMES else 255)


def test_their_colours_are_vocs():
    for name, colour in zip(seven.NAMES, seven.CLASSES.colormap, strict=True):
        assert colour == voc.VOC_COLORMAP[VOC_CLASSES.index(name)]


# --- The weights ---


def test_the_shipped_weights_know_their_classes_and_how_they_were_made(shipped):
    assert shipped.classes == seven.NAMES and shipped.colormap == seven.CLASSES.colormap
    assert shipped.arguments["backbone"] == "efficientnet_lite0" and shipped.arguments["variant"] == "8s"
    assert shipped.notes["recipe"] == vars(photos.CHOSEN)
    assert not shipped.training and {p.dtype for p in shipped.parameters()} == {torch.float32}
    assert Path(photos.SHIPPED).stat().st_size < 8e6


def test_unknown_weights_are_refused():
    with pytest.raises(ValueError, match="name must be one of photos, emoji; got 'drawings'"):
        fcn.pretrained("drawings")


def test_every_name_has_its_file():
    names = {path.stem for path in Path(photos.SHIPPED).parent.glob("*.pt")}
    assert names == set(fcn.PRETRAINED) and len(fcn.PRETRAINED) == len(names)


@pytest.mark.slow
def test_the_emoji_weights_are_those_of_the_kept_scores():
    model = fcn.pretrained("emoji")
    assert (model.notes["setup"], model.notes["seed"]) == (experiments.SHIPPED_SETUP, 0)
    (row,) = [r for r in experiments.read("scores") if (r["setup"], r["seed"]) == ("32s", "0")]
    dataset = voc.VOCSegDataset(emojivoc.prepare(), "val")
    whole = training.evaluate(model, voc.whole_images(dataset), precision="float32")
    assert metrics.scores(whole).miou == pytest.approx(float(row["miou"]), abs=2e-3), "rounded to 16 bits"


def box(label, top, bottom, left, right):
    return label[top:bottom, left:right]


@pytest.mark.parametrize(
    ("name", "thing", "inside", "outside"),
    [
        ("chelsea", "cat", [(0, 300, 100, 320)], (0, 200, 400, 451)),  # the face; the curtain
        (
            "astronaut",
            "person",
            [(120, 170, 200, 240), (250, 450, 130, 250)],
            (0, 250, 330, 512),
        ),  # the rocket
        ("grace_hopper", "person", [(190, 310, 200, 310), (400, 470, 150, 430)], (0, 300, 430, 512)),
    ],
)
def test_the_photographs_that_ship_are_recognised(shipped, name, thing, inside, outside):
    """Faces and chests are found where they are, and what is behind them is not taken for them."""
    label = prediction.predict(shipped, voc.read_image(prediction.sample_photo(name)))
    assert all(share(box(label, *place), thing) > 0.9 for place in inside)
    assert share(box(label, *outside), thing) < 0.05 and share(label, thing) > 0.3
    others = set(seven.NAMES[1:]) - {thing}
    assert sum(share(label, other) for other in others) < 0.1


def test_unknown_photographs_are_refused():
    with pytest.raises(ValueError, match="chelsea, astronaut, grace_hopper; got 'lena'"):
        prediction.sample_photo("lena")


def test_packing_rounds_weights_and_nothing_else(tmp_path, shipped):
    model = fcn.load(photos.pack(shipped, tmp_path / "again.pt"))
    for (name, a), b in zip(model.state_dict().items(), shipped.state_dict().values(), strict=True):
        assert torch.equal(a, b), name  # rounded once, rounding again changes nothing


# --- The command ---


@pytest.fixture
def quick(monkeypatch):
    recipe = photos.Recipe(backbone="resnet18", weights=None, crop=32, batch=2)
    monkeypatch.setattr(photos, "CHOSEN", recipe)
    monkeypatch.setattr(
        photos, "RECIPES", {"quick": recipe, "odd": photos.replace(recipe, dice=True, freeze_norm=True)}
    )
    monkeypatch.setattr(photos, "BASE", recipe)


@pytest.mark.slow
def test_search_trains_without_the_photographs_that_it_scores(photo_folder, tmp_path, quick, monkeypatch):
    seen, original = [], photos.batches
    monkeypatch.setattr(photos, "batches", lambda *a: seen.append(original(*a).dataset.ids) or original(*a))
    photos.main(
        ["search", "--data", str(photo_folder), "--out", str(tmp_path / "out"), "--recipes", "quick", "odd"]
    )
    assert seen == [["p1", "p2", "p4", "p5", "p6", "p7", "p8"]] * 2
    rows = (tmp_path / "out" / "search.csv").read_text().splitlines()
    assert rows[0].startswith("recipe,miou,pixel_acc") and [row.split(",")[0] for row in rows[1:]] == [
        "quick",
        "odd",
    ]


@pytest.mark.slow
def test_train_score_and_pack_by_the_command_line(photo_folder, tmp_path, quick, capsys, monkeypatch):
    monkeypatch.setattr(photos, "KEPT", tmp_path / "photos.csv")
    common = ["--data", str(photo_folder), "--out", str(tmp_path / "out"), "--seed", "1"]
    photos.main(["train", *common, "--epochs", "1"])
    model = fcn.load(tmp_path / "out" / "seed1.pt")
    assert model.notes["seed"] == 1 and model.notes["epochs"] == 1
    photos.main(["score", *common])
    printed = capsys.readouterr().out
    assert "\n3 photographs; all background: " in printed and "\ncat " in printed
    photos.main(["score", *common])  # the rows of a run are replaced, not added
    rows = files.read_csv(tmp_path / "photos.csv")
    assert [row["score"] for row in rows] == ["pixel accuracy", "mIoU", *seven.NAMES]
    assert float(rows[1]["low"]) <= float(rows[1]["value"]) <= float(rows[1]["high"])
    before = (tmp_path / "out" / "seed1.pt").stat().st_mtime_ns
    photos.main(["train", *common, "--epochs", "1"])  # finished: resumed and written again, the same
    assert torch.equal(fcn.load(tmp_path / "out" / "seed1.pt").score.weight, model.score.weight)
    assert (tmp_path / "out" / "seed1.pt").stat().st_mtime_ns > before


@pytest.mark.slow
def test_the_figure_is_drawn_from_the_shipped_weights(tmp_path, shipped):
    path = photos.draw(shipped, tmp_path / "photos.jpg")
    with Image.open(path) as figure:
        assert figure.size == (780, 520)
    plt.close("all")


def test_the_model_card_shows_the_kept_scores():
    card = (Path(photos.__file__).parents[1] / "docs" / "photo-weights.md").read_text(encoding="utf-8")
    assert photos.table(files.read_csv(photos.KEPT)) in card


@pytest.mark.slow
def test_limits_are_measured(photo_folder, quick, capsys, monkeypatch):
    torch.manual_seed(0)
    model = fcn.FCN32s(7, classes=seven.CLASSES).eval()
    monkeypatch.setattr(photos.emojivoc, "prepare", lambda: photo_folder)
    photos.limits(photo_folder, model)
    printed = capsys.readouterr().out
    assert printed.count("photographs times") == 4 and printed.count("of their pixels are found") == 4
    val = photos.validation(photo_folder)
    whole = metrics.scores(photos.matrices(model, val).sum(0))
    assert photos.at_scale(model, val, 1).miou == pytest.approx(whole.miou)


def test_calibration_is_measured_and_a_temperature_helps(photo_folder, quick, tmp_path, capsys):
    torch.manual_seed(0)
    model = fcn.FCN32s(7, classes=seven.CLASSES).eval()
    torch.nn.init.normal_(model.score.weight, std=1)  # sure, and mostly wrong
    photos.calibrate(photo_folder, model, tmp_path / "calibration.csv")
    rows = files.read_csv(tmp_path / "calibration.csv")
    assert len(rows) == 2 * 2 * 10 and {row["photographs"] for row in rows} == {"as they are", "dark"}
    errors = {}
    for key in dict.fromkeys((row["photographs"], row["temperature"]) for row in rows):
        own = [row for row in rows if (row["photographs"], row["temperature"]) == key]
        table = torch.tensor([[float(row[k]) for k in ("pixels", "confidence", "right")] for row in own])
        errors[key] = metrics.calibration_error(table.double())
    before, after = (errors[key] for key in errors if key[0] == "as they are")
    assert after < before and capsys.readouterr().out.count("calibration error") == 4


# --- Real photographs ---


@pytest.mark.slow
@real
@torch.inference_mode()
def test_twelve_photographs_of_the_official_val_list(shipped):
    """Far from the whole list, so only a floor; the model card has the scores."""
    dataset = voc.VOCSegDataset(FOLDER, "val", target_transform=seven.seven_classes)
    dataset.ids = dataset.ids[::25]
    each = photos.matrices(shipped, dataset)
    assert len(each) == 12
    found, nothing = metrics.scores(each.sum(0)), metrics.background_baseline(each.sum(0))
    assert found.pixel_acc > nothing.pixel_acc + 0.1 and found.miou > 0.5 > 0.2 > nothing.miou
