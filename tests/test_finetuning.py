"""Training as people do it: from one's own network with other classes, for longer, keeping the best."""

import csv
import functools
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from voc_layout import make_folder

from d2lseg import classes, cli, fcn, training, voc
from d2lseg.cli import losses, train
from d2lseg.cli.options import make_parser
from d2lseg.engine import checkpoint
from d2lseg.engine.freezing import trainable
from d2lseg.engine.history import History

SHORT = ["--batch", "2", "--crop", "32", "48", "--precision", "float32", "--threads", "1"]
OWN = ("background", "cup", "plate")
UPSAMPLINGS = ["upsample", "upsample_to16", "upsample_to8"]


pytestmark = pytest.mark.usefixtures("same_threads")


def run(*words):
    return cli.main([str(word) for word in words])


def own_folder(path, names=OWN):
    """A folder with classes of its own: 3 images to train on, 1 to validate on."""
    make_folder(path, {"train": [(40, 60), (33, 48), (50, 47)], "val": [(41, 52)]})
    for mask in (path / "SegmentationClass").iterdir():
        label = np.random.default_rng(1).choice([0, 1, 2, 255], Image.open(mask).size[::-1])
        Image.fromarray(label.astype(np.uint8)).save(mask)
    classes.write_classes(path / "classes.txt", names)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return own_folder(tmp_path_factory.mktemp("data") / "set")


def rows(out):
    with (out / "history.csv").open(newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def error_of(capsys):
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ")
    return line


@pytest.fixture
def called(monkeypatch):
    """Record with what the command calls `training.train`, and train nothing."""
    found = {}

    def fake(model, train_iter, val_iter, **options):
        found.update(options, model=model, train_iter=train_iter)
        return History(interrupted=True)

    monkeypatch.setattr(train, "train", fake)
    return found


def started(called, folder, out, *more):
    assert run("train", "--data", folder, *SHORT, "--epochs", 1, "--out", out, *more) == 130
    return called["model"]


# ------------------------------------------------------------------ weights of another network


@functools.cache
def filled(variant="8s", names=OWN, backbone="resnet18"):
    """A network whose every tensor is told apart from that of a new one."""
    torch.manual_seed(1)
    model = fcn.FCN(variant, len(names), classes=names, backbone=backbone)
    for tensor in model.state_dict().values():
        tensor += 0.25 if tensor.is_floating_point() else 1
    return model


def taken(model, source):
    """The layers, by their first name, whose tensors are those of the source."""
    old = source.state_dict()
    same = {}
    for name, value in model.state_dict().items():
        same.setdefault(name.partition(".")[0], []).append(name in old and torch.equal(value, old[name]))
    return {name for name, found in same.items() if all(found)}


@pytest.mark.parametrize(
    ("variant", "names", "upsampling", "fit", "left"),
    [
        ("8s", OWN, "bilinear", {"backbone", "score", "score16", "score8"}, []),
        ("8s", ("background", "fork"), "bilinear", {"backbone"}, ["score", "score16", "score8"]),
        ("8s", ("background", "plate", "cup"), "bilinear", {"backbone"}, ["score", "score16", "score8"]),
        ("32s", OWN, "bilinear", {"backbone", "score"}, ["score16", "score8"]),
        ("8s", OWN, "learned", {"backbone", "score", "score16", "score8"}, UPSAMPLINGS),
    ],
)
def test_what_fits_is_taken_and_what_does_not_is_named(variant, names, upsampling, fit, left):
    source = filled()
    torch.manual_seed(0)
    model = fcn.FCN(variant, len(names), classes=names, upsampling=upsampling)
    assert fcn.start_from(model, source) == left
    assert taken(model, source) == fit
    assert model.classes == names and "cup" in source.classes


def test_layers_of_a_finer_network_start_anew():
    assert fcn.start_from(fcn.FCN8s(3, classes=OWN), filled("32s")) == ["score16", "score8"]


def test_without_names_the_number_of_classes_decides():
    assert fcn.start_from(fcn.FCN32s(3), filled("32s")) == []
    assert fcn.start_from(fcn.FCN32s(4), filled("32s")) == ["score"]


def test_another_backbone_is_refused():
    with pytest.raises(ValueError, match="FCN on vgg16, and this one is on resnet18"):
        with torch.device("meta"):
            vgg = fcn.FCN32s(3, backbone="vgg16")
        fcn.start_from(fcn.FCN32s(3), vgg)


def test_the_command_starts_from_the_shipped_weights(folder, tmp_path, called, capsys):
    model, photos = started(called, folder, tmp_path / "run", "--init", "photos"), fcn.pretrained("photos")
    expected = photos.arguments | {"num_classes": 3}
    assert model.arguments == expected and model.classes == OWN and taken(model, photos) == {"backbone"}
    out = capsys.readouterr().out
    assert "FCN-8s on EfficientNet-Lite0, 3.0 million parameters, weights of photos" in out
    assert "left out of photos: score, score16, score8" in out
    settings = json.loads((tmp_path / "run" / "settings.json").read_text())
    assert settings["init"] == "photos" and settings["backbone"] == "efficientnet_lite0"


def test_the_command_starts_from_a_file_and_takes_what_is_given_besides(folder, tmp_path, called, capsys):
    source = filled("32s")
    path = fcn.save(source, tmp_path / "model.pt")
    model = started(called, folder, tmp_path / "run", "--init", path, "--variant", "16s")
    assert model.variant == "16s" and taken(model, source) == {"backbone", "score"}
    assert f"left out of {path}: score16" in capsys.readouterr().out


def test_without_init_the_defaults_are_as_ever(folder, tmp_path, called):
    arguments = started(called, folder, tmp_path / "run").arguments
    assert arguments == {"variant": "32s", "num_classes": 3, "backbone": "resnet18"} | {
        "upsampling": "bilinear",
        "geometry": "textbook",
    }


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--init", "photos", "--backbone", "resnet18"], "--init photos: a network on efficientnet_lite0"),
        (["--init", "nowhere.pt"], "nowhere.pt: no such checkpoint"),
        (["--freeze", "backbone", "--backbone-lr", "1e-4"], "--backbone-lr has no meaning with a frozen"),
        (["--class-weights", "nowhere.txt"], "nowhere.txt: no such file of class weights; give balanced"),
    ],
)
def test_contradictions_are_named(folder, tmp_path, called, capsys, more, words):
    assert run("train", "--data", folder, *SHORT, "--epochs", 1, "--out", tmp_path / "run", *more) == 1
    assert words in error_of(capsys) and "model" not in called


def test_init_and_weights_exclude_each_other(folder, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        run("train", "--epochs", 1, "--out", tmp_path, "--init", "photos", "--weights", "imagenet")
    assert stop.value.code == 2 and "not allowed with" in capsys.readouterr().err


def test_the_docs_and_the_help_have_one_recipe(capsys):
    text = (Path(__file__).parent.parent / "docs" / "fine-tuning.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^python -m d2lseg train --data data/mine .*$", text, re.MULTILINE)
    with pytest.raises(SystemExit):
        run("train", "--help")
    assert f"  {command}\n" in capsys.readouterr().out
    options = make_parser().parse_args(command.split()[3:])
    (code,) = (b for b in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "keep_best" in b)
    numbers = f'("{options.data}", {options.batch}, {tuple(options.crop)}, scale=(0.5, 2), jitter=0.3)'
    assert numbers in code and options.scale == [0.5, 2] and options.jitter == 0.3
    assert f"    epochs={options.epochs:g},\n    lr=1e-3,\n" in code and options.lr == 1e-3
    assert "backbone_lr=1e-4)" in code and options.backbone_lr == 1e-4 and "loss=" not in code
    assert options.freeze == "batch-norm" and "only=fcn.BATCH_NORM" in code


# ------------------------------------------------------------------ what is trained, and how


def test_freeze_alone_freezes_the_backbone(folder, tmp_path, called, capsys):
    model = started(called, folder, tmp_path / "run", "--freeze")
    assert not any(p.requires_grad for p in model.backbone.parameters())
    (group,) = called["parameters"]
    assert {id(p) for p in group["params"]} == {id(p) for p in model.score.parameters()}
    assert "random weights, backbone frozen" in capsys.readouterr().out


def test_batch_norm_alone_may_be_frozen(folder, tmp_path, called):
    model = started(called, folder, tmp_path / "run", "--freeze", "batch-norm").train()
    for part in model.backbone.modules():
        if isinstance(part, nn.BatchNorm2d):
            assert not part.training and not part.weight.requires_grad
    assert model.backbone.conv1.weight.requires_grad


def test_rates_and_decay_arrive(folder, tmp_path, called):
    more = ["--backbone-lr", 1e-5, "--lr", 1e-3, "--weight-decay", 0.5]
    model = started(called, folder, tmp_path / "run", *more)
    backbone, rest = called["parameters"]
    assert backbone["lr"] == 1e-5 and "lr" not in rest and called["lr"] == 1e-3
    assert backbone["weight_decay"] == rest["weight_decay"] == 0.5
    assert {id(p) for p in backbone["params"]} == {id(p) for p in model.backbone.parameters()}


def test_jitter_arrives(folder, tmp_path, called):
    started(called, folder, tmp_path / "run", "--jitter", 0.4)
    assert called["train_iter"].dataset.jitter == 0.4


@pytest.mark.parametrize("name", ["ce", "ce+dice"])
def test_loss_and_balanced_weights_arrive(folder, tmp_path, called, name):
    started(called, folder, tmp_path / "run", "--loss", name, "--class-weights", "balanced")
    loss, dataset = called["loss"], voc.VOCSegDataset(folder)
    counts = torch.stack([torch.stack([(label == c).sum() for c in range(3)]) for _, label in dataset]).sum(0)
    weights = counts.sum() / (3 * counts)
    logits, label = torch.randn(2, 3, 5, 4), torch.randint(3, (2, 5, 4))
    want = nn.functional.cross_entropy(logits, label, weights.float())
    want = want + training.dice_loss(logits, label) if name == "ce+dice" else want
    torch.testing.assert_close(loss(logits, label), want)


def test_without_options_the_loss_is_the_plain_one(folder, tmp_path, called):
    started(called, folder, tmp_path / "run")
    assert called["loss"] is training.segmentation_loss


@pytest.mark.parametrize(
    "text",
    [
        "cup 2\nbackground 1\nplate 0.5\n",
        "\nbackground: 1\ncup, 2\nplate 0.5",
        "plate .5\ncup 2e0\nbackground 1",
    ],
)
def test_class_weights_from_a_file(tmp_path, text):
    (tmp_path / "weights.txt").write_text(text)
    table = classes.ClassList(OWN)
    assert losses.read_weights(str(tmp_path / "weights.txt"), table) == [1, 2, 0.5]


def test_a_class_name_may_have_spaces(tmp_path):
    (tmp_path / "weights.txt").write_text("background 1\ntraffic light 3\n")
    table = classes.ClassList(("background", "traffic light"))
    assert losses.read_weights(str(tmp_path / "weights.txt"), table) == [1, 3]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("background 1\ncup 2\n", "no weight for plate"),
        ("", "no weight for background, cup, plate"),
        ("background 1\ncup 2\nplate 1\nfork 1\n", "'fork 1' does not begin with a class"),
        ("background 1\ncup 2\ncup 1\n", "'cup 1' does not begin with a class"),
        ("background 1\ncup\nplate 1\n", "'cup' does not begin with a class"),
        ("background 1\ncup two\nplate 1\n", "'cup two' does not end in a number"),
        ("background 1\ncup -1\nplate 1\n", "'cup -1' does not end in a number"),
        ("background 1\ncup nan\nplate 1\n", "'cup nan' does not end in a number"),
        ("background 0\ncup 0\nplate 0\n", "all weights are 0"),
    ],
)
def test_class_weights_that_are_wrong_are_named(tmp_path, text, words):
    path = tmp_path / "weights.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=re.escape(f"{path}: {words}")):
        losses.read_weights(str(path), classes.ClassList(OWN))


def test_pixels_are_counted_as_a_loop_counts_them():
    g = torch.Generator().manual_seed(0)
    labels = [torch.randint(5, (4, n), generator=g).to(torch.uint8) for n in (3, 7)]
    labels[1][0] = 255
    want = [sum(int(v) == c for label in labels for v in label.flatten()) for c in range(6)]
    assert training.count_pixels(iter(labels), 6).tolist() == want


# ------------------------------------------------------------------ everything frozen


def everything_frozen():
    model = fcn.FCN32s(3)
    fcn.freeze(model)
    return model


@pytest.mark.parametrize(
    "groups",
    [lambda model: None, fcn.parameter_groups, functools.partial(fcn.parameter_groups, backbone_lr=1)],
)
def test_a_model_that_is_all_frozen_is_refused(groups):
    model, batches = everything_frozen(), [(torch.zeros(1, 3, 64, 64, dtype=torch.uint8), None)]
    with pytest.raises(ValueError, match="nothing to train: every parameter is frozen"):
        training.train(model, batches, epochs=1, live=False, parameters=groups(model))
    with pytest.raises(ValueError, match="nothing to train"):
        trainable(model, [{"params": model.parameters()}])


def test_frozen_parameters_are_left_out_of_groups():
    model = fcn.FCN32s(3)
    fcn.freeze(model.backbone)
    groups = trainable(
        model, [{"params": model.backbone.parameters()}, {"params": model.parameters(), "lr": 1}]
    )
    assert groups == [{"params": list(model.score.parameters()), "lr": 1}]


# ------------------------------------------------------------------ after each epoch


MORE = [((50, 50), 1), ((None, 10, 5), 2), ((None, None), 1), ((5, 6), 2)]


class Scripted:
    """Stands for `training.evaluate` with scores that are given: the share of a class that is right."""

    def __init__(self, *shares):
        self.shares = list(shares)

    def __call__(self, *arguments):
        share = self.shares.pop(0)
        right = torch.tensor([[0, 0], [100 - share, share]]) if share is not None else torch.zeros(2, 2)
        return right.to(torch.int64)


BATCHES = [(torch.zeros(2, 3, 32, 64, dtype=torch.uint8), torch.zeros(2, 32, 64, dtype=torch.uint8))]
PLAIN = {"device": "cpu", "precision": "float32", "live": False}


@pytest.mark.parametrize(
    ("shares", "best"),
    [((10, 50, 30), 2), *(pytest.param(*case, marks=pytest.mark.slow) for case in MORE)],
)
def test_the_best_model_and_the_table_after_each_epoch(tmp_path, monkeypatch, shares, best):
    monkeypatch.setattr(training, "evaluate", Scripted(*shares))
    model, weights, lengths = fcn.FCN32s(2), [], []

    def look(model, history):
        train.keep_best(tmp_path, {"seed": 0}, model, history)
        weights.append(model.score.weight.detach().clone())
        lengths.append(len(rows(tmp_path)))

    history = training.train(model, BATCHES, BATCHES, epochs=len(shares), after_epoch=look, **PLAIN)
    assert lengths == list(range(1, len(shares) + 1)) and len(history.rows) == len(shares)
    kept = fcn.load(tmp_path / "best.pt")
    assert torch.equal(kept.score.weight, weights[best - 1])
    assert len(kept.notes["rows"]) == best and kept.notes["settings"] == {"seed": 0}


def test_the_checkpoint_comes_after_the_callback(tmp_path):
    """If the callback is cut off, the epoch is repeated, and so is what the callback does."""
    path = tmp_path / "last.pt"

    def stop(model, history):
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        training.train(fcn.FCN32s(2), BATCHES, epochs=1, after_epoch=stop, checkpoint_path=path, **PLAIN)
    assert not path.exists()


@pytest.fixture(scope="module")
def trained(folder, tmp_path_factory):
    """A run of two epochs, fine-tuned from the shipped weights."""
    out = tmp_path_factory.mktemp("runs") / "two"
    assert run("train", "--data", folder, *SHORT, "--epochs", 2, "--init", "photos", "--out", out) == 0
    return out


@pytest.mark.slow
def test_a_run_keeps_its_best_model(trained):
    best = fcn.load(trained / "best.pt")
    mious = [row["miou"] for row in rows(trained)]
    assert best.notes["rows"][-1]["miou"] == max(mious) and best.classes == OWN
    assert len(best.notes["rows"]) == mious.index(max(mious)) + 1
    assert best.arguments["backbone"] == "efficientnet_lite0"


# ------------------------------------------------------------------ longer


@pytest.mark.slow
def test_a_finished_run_becomes_longer(trained, folder, tmp_path, capsys):
    import shutil

    out = shutil.copytree(trained, tmp_path / "run")
    words = ["train", "--data", folder, *SHORT, "--init", "photos", "--out", out, "--resume"]
    assert run(*words, "--epochs", 1) == 1
    assert "already trained for 2 epochs" in error_of(capsys)
    assert json.loads((out / "settings.json").read_text())["epochs"] == 2
    assert run(*words, "--epochs", 4) == 0
    assert [row["epoch"] for row in rows(out)] == [1, 2, 3, 4]
    same = ("epoch", "loss", "miou")
    assert [[row[k] for k in same] for row in rows(out)[:2]] == [[r[k] for k in same] for r in rows(trained)]
    assert json.loads((out / "settings.json").read_text())["epochs"] == 4
    assert fcn.load(out / "model.pt").notes["settings"]["epochs"] == 4
    best = fcn.load(out / "best.pt").notes["rows"]
    assert best[-1]["miou"] == max(row["miou"] for row in rows(out))


def tiny():
    torch.manual_seed(0)
    return nn.Sequential(Scale(), nn.Conv2d(3, 2, 1))


class Scale(nn.Module):
    def forward(self, images):
        return images / 255


def test_a_longer_run_goes_on_where_the_schedule_of_the_longer_run_is(tmp_path, rates):
    """After 2 of 2 epochs, epoch 3 of 4 begins with the rate that a run of 4 epochs has there."""
    options = PLAIN | {"lr": 0.5, "checkpoint_path": tmp_path / "last.pt", "resume": True, "schedule": "poly"}
    training.train(tiny(), BATCHES, epochs=2, **options)
    history = training.train(tiny(), BATCHES, epochs=4, **options)
    assert rates == [0.5 * training.poly(share) for share in (0, 1 / 2, 2 / 4, 3 / 4)]
    assert [row["epoch"] for row in history.rows] == [1, 2, 3, 4]
    assert len(training.train(tiny(), BATCHES, epochs=4, **options).rows) == 4, "and then it is finished"


def test_a_length_in_minutes_may_follow_one_in_epochs(tmp_path):
    options = PLAIN | {"checkpoint_path": tmp_path / "last.pt", "resume": True}
    before = training.train(tiny(), BATCHES, epochs=2, **options).rows[-1]["seconds"]
    history = training.train(tiny(), BATCHES, max_seconds=before + 0.05, **options)
    assert len(history.rows) > 2 and history.rows[-1]["seconds"] >= before + 0.05
    with pytest.raises(ValueError, match="already trained for"):
        training.train(tiny(), BATCHES, max_seconds=before / 2, **options)


def test_other_frozen_parts_on_resuming_are_named(tmp_path):
    options = PLAIN | {"checkpoint_path": tmp_path / "last.pt", "resume": True}
    training.train(tiny(), BATCHES, epochs=1, **options)
    model = tiny()
    model[1].bias.requires_grad_(False)
    with pytest.raises(ValueError, match=r"last\.pt: trained with other parameters frozen"):
        training.train(model, BATCHES, epochs=2, **options)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--init", "emoji"], "init=None (now 'emoji')"),
        (["--freeze"], "freeze=None (now 'backbone')"),
        (["--loss", "ce+dice"], "loss='ce' (now 'ce+dice')"),
        (["--class-weights", "balanced"], "class_weights=None (now 'balanced')"),
        (["--backbone-lr", "1e-4"], "backbone_lr=None (now 0.0001)"),
        (["--jitter", "0.4"], "jitter=0.0 (now 0.4)"),
    ],
)
@pytest.mark.slow
def test_the_settings_of_an_older_run_stand_for_the_plain_ones(folder, tmp_path, called, capsys, more, words):
    """Settings that were written before these options were there."""
    out = tmp_path / "run"
    started(called, folder, out)
    checkpoint.write(out / "checkpoint.pt", {})
    settings = json.loads((out / "settings.json").read_text())
    old = {key: value for key, value in settings.items() if key not in train.FIXED_LATER}
    (out / "settings.json").write_text(json.dumps(old))
    (out / "model.pt").unlink()
    started(called, folder, out, "--resume")
    (out / "settings.json").write_text(json.dumps(old))
    capsys.readouterr()
    assert run("train", "--data", folder, *SHORT, "--epochs", 1, "--out", out, "--resume", *more) == 1
    assert words in error_of(capsys)
