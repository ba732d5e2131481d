"""The commands, run in this process if possible, and once under a real torchrun."""

import argparse
import contextlib
import csv
import inspect
import io
import json
import math
import os
import re
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from PIL import Image
from voc_layout import make_folder, palette, write_pair

from d2lseg import backbones, classes, cli, emojivoc, fcn, metrics, prediction, training, voc
from d2lseg.cli import common, losses, options, train
from d2lseg.cli import predict as predict_command
from d2lseg.datasets import recognise
from d2lseg.engine import checkpoint, distributed, files
from d2lseg.engine.devices import PRECISIONS, out_of_memory
from d2lseg.engine.history import History

ROOT = Path(__file__).resolve().parent.parent
ALIKE = ["--precision", "float32", "--threads", "1"]
SHORT = ["--epochs", "2", "--batch", "2", "--crop", "32", "48", "--variant", "8s", "--seed", "3", *ALIKE]


pytestmark = pytest.mark.usefixtures("same_threads")


def run(*words):
    """Run a command as if it were typed."""
    return cli.main([str(word) for word in words])


def train_run(folder, out, *more):
    return run("train", "--data", folder, *SHORT, "--out", out, *more)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "set"
    make_folder(path)
    return path


@pytest.fixture(scope="module")
def finished(folder, tmp_path_factory):
    """The folder of a training run that was not interrupted, and what it printed."""
    out, printed = tmp_path_factory.mktemp("runs") / "whole", io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert train_run(folder, out) == 0
    return out, printed.getvalue()


@pytest.fixture(scope="module")
def trained(finished):
    """The folder alone."""
    return finished[0]


def weights(path):
    return checkpoint.read(path)["state"]


def same_weights(a, b):
    a, b = weights(a), weights(b)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def rows(out):
    with (out / "history.csv").open(newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def error_of(capsys):
    """Return the one line that an error printed."""
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ")
    return line


# ------------------------------------------------------------------ train


def test_train_writes_everything_about_a_run(trained, folder):
    names = {"model.pt", "best.pt", "checkpoint.pt", "history.csv", "history.png", "settings.json"}
    assert {path.name for path in trained.iterdir()} == names
    model = fcn.load(trained / "model.pt")
    assert model.classes == voc.VOC_CLASSES and model.arguments["backbone"] == "resnet18"
    assert model.notes["rows"] == rows(trained) and len(model.notes["rows"]) == 2
    settings = json.loads((trained / "settings.json").read_text())
    assert model.notes["settings"] == settings and not model.notes["interrupted"]
    assert settings["data"] == str(folder) and settings["crop"] == [32, 48] and settings["epochs"] == 2
    assert settings["precision"] == "float32" and settings["threads"] == 1 and settings["seed"] == 3
    with Image.open(trained / "history.png") as curve:
        assert min(curve.size) > 100
    # the model is saved without the optimizer, which takes twice the bytes of the weights
    assert same_weights(trained / "model.pt", trained / "checkpoint.pt")
    sizes = [(trained / name).stat().st_size for name in ("model.pt", "checkpoint.pt")]
    assert 2.9 < sizes[1] / sizes[0] < 3.1


def test_train_says_what_it_does_and_what_came_out(finished):
    out, text = finished
    last = rows(out)[-1]
    for words in (
        "5 training and 2 validation images, 21 classes",
        "FCN-8s on ResNet-18, 11.2 million parameters, random weights",
        "2 epochs, batch 2, crop 32x48, learning rate 0.002 (one_cycle), seed 3",
        "float32, 1 CPU thread\n",
        f"pixel accuracy {last['pixel_acc']:.3f}, all background {last['baseline_acc']:.3f}",
        f"mIoU           {last['miou']:.3f}, all background {last['baseline_miou']:.3f}",
        f"in {out}: model.pt, best.pt, checkpoint.pt, history.csv, history.png, settings.json",
    ):
        assert words in text
    assert [line.split()[0] for line in text.splitlines() if line.startswith("   ")] == ["epoch", "1", "2"]


@pytest.mark.slow
def test_the_same_command_gives_the_same_weights_and_another_seed_others(trained, folder, tmp_path):
    assert train_run(folder, tmp_path / "again") == 0
    assert same_weights(trained / "model.pt", tmp_path / "again" / "model.pt")
    assert train_run(folder, tmp_path / "other", "--seed", 1) == 0
    assert not same_weights(trained / "model.pt", tmp_path / "other" / "model.pt")


def interrupt(monkeypatch, steps):
    """Press Ctrl-C after so many steps; an epoch has three."""
    whole, taken = torch.optim.AdamW.step, []

    def step(*arguments, **options):
        result = whole(*arguments, **options)
        taken.append(1)
        if len(taken) == steps:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(torch.optim.AdamW, "step", step)


@pytest.mark.slow  # test_training resumes bit by bit in the fast lane
@pytest.mark.parametrize("workers", [0, 2])
def test_an_interrupted_run_resumes_bit_by_bit(trained, folder, tmp_path, monkeypatch, capsys, workers):
    out, more = tmp_path / "run", ("--workers", workers)
    with monkeypatch.context() as patch:
        interrupt(patch, steps=4)
        assert train_run(folder, out, *more) == 130
    assert "--resume" in capsys.readouterr().out
    assert len(rows(out)) == 1 and fcn.load(out / "model.pt").notes["interrupted"]
    assert not same_weights(out / "model.pt", out / "checkpoint.pt")  # it has the half epoch too
    assert train_run(folder, out, "--resume", *more) == 0
    assert f"resuming from {out / 'checkpoint.pt'}\n    epoch " in capsys.readouterr().out
    assert same_weights(out / "model.pt", trained / "model.pt")
    fixed = ("epoch", "loss", "pixel_acc", "miou", "baseline_acc", "baseline_miou")
    ours, theirs = ([{k: row[k] for k in fixed} for row in rows(place)] for place in (out, trained))
    assert ours == theirs


@pytest.mark.slow
def test_a_run_interrupted_in_its_first_epoch_starts_again(trained, folder, tmp_path, monkeypatch):
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        interrupt(patch, steps=1)
        assert train_run(folder, out) == 130
    assert {path.name for path in out.iterdir()} == {"model.pt", "settings.json"}
    assert train_run(folder, out) == 1  # without --resume, nothing is overwritten
    assert train_run(folder, out, "--resume") == 0
    assert same_weights(out / "model.pt", trained / "model.pt")


def test_a_finished_run_is_not_trained_further(trained, folder, capsys):
    before = weights(trained / "model.pt")
    assert train_run(folder, trained, "--resume") == 0
    after = weights(trained / "model.pt")
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert "pixel accuracy" in capsys.readouterr().out


def stamps(out):
    """What changes when a file of a folder is written (its time) or replaced (its node)."""
    found = {path: path.stat() for path in out.iterdir()}
    return {path: (s.st_ino, s.st_size, s.st_mtime_ns) for path, s in found.items()}


def test_an_earlier_run_is_not_overwritten(trained, folder, capsys):
    before = stamps(trained)
    assert train_run(folder, trained) == 1
    words = error_of(capsys)
    assert "checkpoint.pt: " in words and "--resume" in words and "--out" in words
    assert stamps(trained) == before


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--batch", 3], r"settings\.json: trained with batch=2 \(now 3\)"),
        (["--crop", 32, 32, "--scale", 0.5, 2], r"crop=\[32, 48\] \(now \[32, 32\]\), scale=None \(now \["),
        (["--geometry", "corrected"], r"geometry='textbook' \(now 'corrected'\)"),
        (["--lr", 1e-3], r"checkpoint\.pt: trained with lr=0\.002 \(now 0\.001\)"),
    ],
)
def test_a_run_resumes_with_the_same_settings_only(trained, folder, capsys, more, words):
    before = stamps(trained)
    assert train_run(folder, trained, "--resume", *more) == 1
    assert re.search(words, error_of(capsys))
    assert stamps(trained) == before


def test_damaged_settings_are_named_and_missing_ones_written(trained, folder, tmp_path, capsys):
    out = shutil.copytree(trained, tmp_path / "run")
    path, before = out / "settings.json", json.loads((out / "settings.json").read_text())
    for text in ("{", "[]", "{}"):
        path.write_text(text)
        assert train_run(folder, out, "--resume") == 1
        assert re.search(r"settings\.json: .*delete it", error_of(capsys))
    path.unlink()
    assert train_run(folder, out, "--resume") == 0
    assert json.loads(path.read_text()) == before


@pytest.mark.slow
def test_minutes_instead_of_epochs(folder, tmp_path):
    more = [*SHORT[2:], "--minutes", 0.005, "--out", tmp_path / "run"]
    assert run("train", "--data", folder, *more) == 0
    assert rows(tmp_path / "run")[-1]["seconds"] >= 0.3


@pytest.fixture
def called(monkeypatch):
    """Record how `training.train` and `voc.load_data_voc` are called, and train nothing."""
    found = {}

    def load(*arguments, **options):
        found["data"] = inspect.signature(loaders).bind(*arguments, **options).arguments
        return loaders(*arguments, **options)

    def fake(*arguments, **options):
        found["train"] = inspect.signature(training.train).bind(*arguments, **options).arguments
        return History(interrupted=True)

    loaders = voc.load_data_voc
    monkeypatch.setattr(voc, "load_data_voc", load)
    monkeypatch.setattr(train, "train", fake)
    return found


def test_every_option_arrives(folder, tmp_path, called, monkeypatch):
    synchronised = []
    monkeypatch.setattr(
        train.distributed,
        "synchronize_batch_norm",
        lambda model, device: synchronised.append(device) or model,
    )
    words = (
        "--minutes 2 --batch 3 --crop 64 96 --lr 1e-4 --weight-decay 0 --schedule poly --scale 0.5 2 --seed 5"
    )
    words += " --workers 0 --cache --sync-batch-norm --upsampling learned --geometry corrected --variant 16s"
    words += " --device cpu --precision float32 --threads 1 --backbone resnet50"
    assert run("train", "--data", folder, "--out", tmp_path / "run", *words.split()) == 130
    want = {"epochs": None, "max_seconds": 120, "lr": 1e-4, "schedule": "poly", "seed": 5}
    want |= {"device": torch.device("cpu"), "precision": "float32", "resume": False}
    assert {key: called["train"][key] for key in want} == want
    assert [group["weight_decay"] for group in called["train"]["parameters"]] == [0]
    want = {"batch_size": 3, "crop_size": (64, 96), "scale": (0.5, 2), "seed": 5, "num_workers": 0}
    want |= {"cache": True, "rank": 0, "world_size": 1}
    assert {key: called["data"][key] for key in want} == want
    assert synchronised == [torch.device("cpu")]
    arguments = fcn.load(tmp_path / "run" / "model.pt").arguments
    assert arguments == {"variant": "16s", "num_classes": 21, "backbone": "resnet50"} | {
        "upsampling": "learned",
        "geometry": "corrected",
    }


@pytest.mark.parametrize(
    ("name", "crop"), [("emojivoc", (160, 224)), ("voc2012", (320, 480)), (None, (320, 480))]
)
def test_named_data_is_prepared_and_has_its_crop(folder, tmp_path, monkeypatch, called, name, crop):
    monkeypatch.setattr(emojivoc, "prepare", lambda: folder if name == "emojivoc" else None)
    monkeypatch.setattr(voc, "download", lambda: folder if name == "voc2012" else None)
    data = ["--data", name or folder]
    assert run("train", *data, "--epochs", 0.5, "--out", tmp_path / "run") == 130
    assert called["data"]["voc_dir"] == folder and called["data"]["crop_size"] == crop
    assert called["train"]["epochs"] == 0.5 and called["train"]["max_seconds"] is None


def test_a_process_that_is_not_the_first_writes_and_prints_nothing(
    folder, tmp_path, monkeypatch, called, capsys
):
    @contextlib.contextmanager
    def joined(device):
        yield distributed.Ranks(1, 2, 1)

    monkeypatch.setattr(distributed, "joined", joined)
    monkeypatch.setattr(distributed, "in_turns", lambda make: make())
    assert train_run(folder, tmp_path / "run", "--device", "cpu") == 130
    assert not (tmp_path / "run").exists() and capsys.readouterr().out == ""
    assert called["data"]["rank"] == 1 and called["data"]["world_size"] == 2


@pytest.mark.usefixtures("interrupts")
@pytest.mark.parametrize("interrupted", [True, False])
def test_only_a_second_interrupt_does_not_stop_the_writing(folder, tmp_path, monkeypatch, interrupted):
    before, save = signal.getsignal(signal.SIGINT), fcn.save

    def save_slowly(*arguments, **options):
        signal.raise_signal(signal.SIGINT)
        return save(*arguments, **options)

    monkeypatch.setattr(train, "train", lambda *arguments, **options: History(interrupted=interrupted))
    monkeypatch.setattr(fcn, "save", save_slowly)
    assert train_run(folder, tmp_path / "run") == 130
    assert (tmp_path / "run" / "model.pt").exists() == interrupted
    assert signal.getsignal(signal.SIGINT) is before


# ------------------------------------------------------------------ evaluate


@pytest.fixture(scope="module")
def scored(folder, trained, tmp_path_factory):
    path = tmp_path_factory.mktemp("scores") / "scores.json"
    words = ["evaluate", "--checkpoint", trained / "model.pt", "--data", folder, "--json", path]
    assert run(*words, *ALIKE) == 0
    return json.loads(path.read_text(), parse_constant=pytest.fail)  # JSON has no NaN


def test_evaluate_repeats_the_scores_of_the_run(scored, trained):
    last = rows(trained)[-1]
    assert scored["pixel_acc"] == last["pixel_acc"] and scored["miou"] == last["miou"]
    assert scored["baseline"]["pixel_acc"] == last["baseline_acc"]
    assert scored["baseline"]["miou"] == last["baseline_miou"]


def test_evaluate_gives_the_scores_of_the_module(scored, trained, folder):
    torch.set_num_threads(1)
    _, val_iter = voc.load_data_voc(folder, 2, (32, 48))
    matrix = training.evaluate(fcn.load(trained / "model.pt"), val_iter, precision="float32")
    ours, base = metrics.scores(matrix), metrics.background_baseline(matrix)
    for key in ("pixel_acc", "mean_acc", "miou", "fw_iou"):
        assert scored[key] == getattr(ours, key) and scored["baseline"][key] == getattr(base, key)
    assert tuple(scored["per_class"]) == voc.VOC_CLASSES
    absent = [name for name, iou in scored["per_class"].items() if iou is None]
    for iou, want in zip(scored["per_class"].values(), ours.per_class.tolist(), strict=True):
        assert math.isnan(want) if iou is None else iou == want
    assert "cat" in absent and "background" not in absent


def test_evaluate_notes_what_it_measured(scored, trained, folder):
    settings = scored["settings"]
    assert settings["checkpoint"] == str(trained / "model.pt") and settings["data"] == str(folder)
    assert (settings["split"], settings["images"], settings["precision"]) == ("val", 2, "float32")
    assert settings["versions"]["torch"] == torch.__version__


def test_evaluate_prints_a_table_with_the_baseline(trained, folder, capsys, scored):
    words = ["evaluate", "--checkpoint", trained / "model.pt", "--data", folder, "--split", "train"]
    assert run(*words, *ALIKE) == 0
    text = capsys.readouterr().out
    assert "on 5 images" in text and "written" not in text
    assert re.search(r"\n +network +all background\npixel accuracy +0\.\d{3} +0\.\d{3}\n", text)
    assert re.search(r"\ncat +-\n", text) and "-: neither labelled nor predicted" in text


def test_no_note_on_absent_classes_if_all_occur(own, capsys, monkeypatch):
    monkeypatch.setattr(training, "evaluate", lambda *_: torch.ones(3, 3, dtype=torch.int64))
    where = ["--data", own / "set", "--classes", own / "names.txt"]
    assert run("evaluate", "--checkpoint", own / "run" / "model.pt", *where, *ALIKE) == 0
    text = capsys.readouterr().out
    assert "neither" not in text and "\nroad                         0.200\n" in text


def test_images_that_are_void_everywhere_have_no_score(tmp_path, trained, capsys):
    make_folder(tmp_path / "void", {"train": [(40, 40)], "val": [(40, 40)]})
    write_pair(tmp_path / "void", "val_00", np.full((40, 40), voc.VOID))
    where = ["--data", tmp_path / "void", "--json", tmp_path / "scores.json"]
    assert run("evaluate", "--checkpoint", trained / "model.pt", *where, *ALIKE) == 0
    found = json.loads((tmp_path / "scores.json").read_text(), parse_constant=pytest.fail)
    assert found["miou"] is found["pixel_acc"] is None and set(found["per_class"].values()) == {None}


# ------------------------------------------------------------------ own classes


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A folder with its own classes, a list of them with colours, and a training run on both."""
    place = tmp_path_factory.mktemp("own")
    make_folder(place / "set", {"train": [(40, 60), (33, 48)], "val": [(41, 52)]})
    for path in (place / "set" / "SegmentationClass").iterdir():
        label = np.random.default_rng(1).choice([0, 1, 2, 255], Image.open(path).size[::-1])
        Image.fromarray(label.astype(np.uint8)).save(path)
    (place / "names.txt").write_text("ground 0 0 0\nroad 9 8 7\nsky 1 2 3\n")
    assert train_run(place / "set", place / "run", "--classes", place / "names.txt", "--epochs", 1) == 0
    return place


def test_own_classes_are_trained_scored_and_painted(own, tmp_path):
    model = fcn.load(own / "run" / "model.pt")
    assert model.classes == ("ground", "road", "sky") and model.arguments["num_classes"] == 3
    words = ["--checkpoint", own / "run" / "model.pt", *ALIKE]
    where = ["--data", own / "set", "--classes", own / "names.txt", "--json", tmp_path / "s.json"]
    assert run("evaluate", *words, *where) == 0
    assert list(json.loads((tmp_path / "s.json").read_text())["per_class"]) == ["ground", "road", "sky"]
    image = own / "set" / "JPEGImages" / "val_00.jpg"
    assert run("predict", *words, image, "--out", tmp_path / "out") == 0
    table = classes.read_classes(own / "names.txt")
    label = voc.read_mask(tmp_path / "out" / "val_00.png", table)
    assert torch.equal(label, prediction.predict(model, voc.read_image(image)))
    with Image.open(tmp_path / "out" / "val_00.png") as mask:
        assert mask.getpalette()[:9] == [0, 0, 0, 9, 8, 7, 1, 2, 3]


@pytest.mark.slow
def test_classes_txt_in_the_folder_is_enough(own, tmp_path):
    (own / "set" / "classes.txt").write_text("ground\nroad\nsky\n")
    assert train_run(own / "set", tmp_path / "run", "--batch", 1) == 0
    assert fcn.load(tmp_path / "run" / "model.pt").classes == ("ground", "road", "sky")
    (own / "set" / "classes.txt").unlink()


@pytest.mark.parametrize(
    ("names", "named"),
    [
        ("ground\nroad\n", ("model.pt", "3 classes", "has 2", "--classes")),
        ("ground\nlake\nair\n", ("model.pt", "1 is 'road'", "'lake'", "--classes")),
    ],
)
def test_other_classes_than_the_networks_are_refused(own, tmp_path, capsys, names, named):
    (tmp_path / "names.txt").write_text(names)
    model = ["--checkpoint", own / "run" / "model.pt"]
    assert run("evaluate", *model, "--data", own / "set", "--classes", tmp_path / "names.txt") == 1
    error = error_of(capsys)
    assert all(word in error for word in named), error


def test_a_network_without_names_is_scored_and_used(own, tmp_path, capsys):
    path = fcn.save(fcn.FCN32s(3), tmp_path / "model.pt")
    table = ["--classes", own / "names.txt"]
    assert run("evaluate", "--checkpoint", path, "--data", own / "set", *table, *ALIKE) == 0
    image = own / "set" / "JPEGImages" / "val_00.jpg"
    assert run("predict", "--checkpoint", path, image, "--out", tmp_path / "out", *ALIKE) == 0
    assert re.search(r"val_00\.jpg \(41x52\): class \d \d+\.\d%", capsys.readouterr().out)


# ------------------------------------------------------------------ predict


def shares(text):
    """Read the printed lines: file name -> {class: share}."""
    lines = re.findall(r"^(\S+) \(\d+x\d+\): (.+)$", text, re.MULTILINE)
    return {
        Path(path).name: {name: float(share) for name, share in re.findall(r"(\w+) ([\d.]+)%", found)}
        for path, found in lines
    }


def test_the_shipped_weights_go_by_their_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    photo = prediction.sample_photo("grace_hopper")
    assert run("predict", "--checkpoint", "photos", photo) == 0
    out = tmp_path / "predictions"
    assert sorted(p.name for p in out.iterdir()) == [
        "grace_hopper.png",
        "grace_hopper_overlay.jpg",
        "legend.png",
    ]
    mask = np.array(Image.open(out / "grace_hopper.png"))
    assert mask.shape == (600, 512) and (mask[190:310, 200:310] == 5).mean() > 0.9
    assert "photos: 7 classes" in capsys.readouterr().out


def test_predict_writes_masks_overlays_and_a_legend(trained, folder, tmp_path, capsys):
    out, paths = tmp_path / "out", sorted((folder / "JPEGImages").iterdir())
    assert (
        run("predict", "--checkpoint", trained / "model.pt", folder / "JPEGImages", "--out", out, *ALIKE) == 0
    )
    assert {p.name for p in out.iterdir()} == {"legend.png"} | {
        name for p in paths for name in (f"{p.stem}.png", f"{p.stem}_overlay.jpg")
    }
    text = capsys.readouterr().out
    printed, model = shares(text), fcn.load(trained / "model.pt")
    assert list(printed) == [p.name for p in paths] and "7 of 7 images" in text
    for path in paths:
        image, label = voc.read_image(path), voc.read_mask(out / f"{path.stem}.png")
        assert torch.equal(label, prediction.predict(model, image))
        with Image.open(out / f"{path.stem}.png") as mask:
            assert mask.mode == "P" and mask.getpalette()[:63] == palette()[:63]
        values, counts = label.unique(return_counts=True)
        for value, count in zip(values.tolist(), counts.tolist(), strict=True):
            share = printed[path.name][voc.VOC_CLASSES[value]]
            assert share == pytest.approx(100 * count / label.numel(), abs=0.051)
        overlay = voc.read_image(out / f"{path.stem}_overlay.jpg")
        wanted = predict_command.plotting.overlay(image, label)
        assert overlay.shape == image.shape
        assert (
            (overlay.int() - wanted.int()).abs().float().mean()
            < 20
            < (overlay.int() - 128).abs().float().mean()
        )


def test_an_overlay_is_painted_in_bands(tmp_path):
    torch.manual_seed(0)
    size = (2 * predict_command.BAND + 7, 20)
    image = torch.randint(256, (3, *size), dtype=torch.uint8)
    label = torch.randint(21, size, dtype=torch.uint8)
    wanted = predict_command.plotting.overlay(image, label)
    table = classes.VOC
    predict_command.write_results(image, label, (tmp_path / "a.png", tmp_path / "a.jpg"), table)
    assert torch.equal(image, wanted)


def test_tiles_and_windows_arrive(trained, folder, tmp_path, monkeypatch):
    found = {}

    def tiled(*arguments, **options):
        found.update(inspect.signature(whole).bind(*arguments, **options).arguments)
        return whole(*arguments, **options)

    whole = prediction.predict_tiled
    monkeypatch.setattr(prediction, "predict_tiled", tiled)
    words = "--tile 32 64 --overlap 0 --batch 2 --window smooth --precision float32 --threads 1".split()
    path = folder / "JPEGImages" / "train_04.jpg"
    assert run("predict", "--checkpoint", trained / "model.pt", path, "--out", tmp_path, *words) == 0
    want = {"tile": (32, 64), "overlap": 0, "batch_size": 2, "window": "smooth", "precision": "float32"}
    assert {key: found[key] for key in want} == want
    model, image = fcn.load(trained / "model.pt"), voc.read_image(path)
    label = whole(model, image, (32, 64), 0, window="smooth")
    assert torch.equal(voc.read_mask(tmp_path / "train_04.png"), label)
    assert not torch.equal(label, prediction.predict(model, image))  # the tiles did matter


def test_a_broken_image_does_not_stop_the_others(trained, folder, tmp_path, capsys, monkeypatch):
    place, out = tmp_path / "holiday", tmp_path / "out"
    place.mkdir()
    good = (folder / "JPEGImages" / "val_00.jpg").read_bytes()
    (place / "a.jpg").write_bytes(good)
    (place / "b.png").write_text("not an image")
    (place / "c.jpg").write_bytes(good[: len(good) // 2])
    (place / "d.JPG").write_bytes(good)
    Image.fromarray(np.zeros((99, 100, 3), np.uint8)).save(place / "e.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4000)  # at twice as many PIL refuses to read
    assert run("predict", "--checkpoint", trained / "model.pt", place, "--out", out, *ALIKE) == 1
    printed = capsys.readouterr()
    assert list(shares(printed.out)) == ["a.jpg", "d.JPG"] and "2 of 5 images" in printed.out
    lines = [line for line in printed.err.splitlines() if line.startswith("error")]
    assert len(lines) == 4 and lines[-1] == "error: 3 of 5 images could not be read"
    for line, name in zip(lines, ("b.png", "c.jpg", "e.png"), strict=False):
        assert name in line
    names = {"a.png", "a_overlay.jpg", "d.png", "d_overlay.jpg", "legend.png"}
    assert {path.name for path in out.iterdir()} == names


def test_nothing_is_written_if_no_image_can_be_read(trained, tmp_path, capsys):
    (tmp_path / "a.jpg").write_text("not an image")
    words = ["--checkpoint", trained / "model.pt", tmp_path / "a.jpg", "--out", tmp_path / "out"]
    assert run("predict", *words) == 1
    assert not (tmp_path / "out").exists() and "1 of 1 images" in capsys.readouterr().err


def test_the_images_of_a_folder_are_sorted_and_each_there_once(tmp_path):
    for name in ("b.JPEG", "a.png", "c.webp", "notes.txt", ".hidden.jpg", "deeper/d.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.jpg").mkdir()
    found = predict_command.find_images(
        [tmp_path / "notes.txt", tmp_path, tmp_path / "deeper" / ".." / "a.png"]
    )
    assert [path.name for path in found] == ["notes.txt", "a.png", "b.JPEG", "c.webp"]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (
            ["a/x.jpg", "b/x.jpg"],
            r"out/x\.png: .*a/x\.jpg .*b/x\.jpg",
        ),
        (["a/x.jpg", "b/X.png"], r"out/.*a/x\.jpg .*b/X\.png"),
        (["a/x.jpg", "a/x_overlay.png"], None),
        (["a/x_overlay.jpg", "out/x.jpg"], None),
        (["out/x.png"], r"out/x\.png: .*out/x\.png itself"),
        (["out/x.jpg", "out/x_overlay.jpg"], r"out/.*out/x_overlay\.jpg itself"),
        (["a/legend.jpg"], r"legend\.png: .*legend .*a/legend\.jpg"),
    ],
)
def test_no_result_takes_the_place_of_another(trained, tmp_path, capsys, names, words):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tmp_path / name)
    before = sorted(tmp_path.rglob("*"))
    paths = [tmp_path / name for name in names]
    status = run("predict", "--checkpoint", trained / "model.pt", *paths, "--out", tmp_path / "out", *ALIKE)
    if words is None:
        assert status == 0
    else:
        assert status == 1 and re.search(words, error_of(capsys).replace(os.sep, "/"))
        assert sorted(tmp_path.rglob("*")) == before


def test_a_legend_shows_the_colours_that_were_found(tmp_path):
    predict_command.write_legend(tmp_path / "legend.png", {0, 3, 12}, classes.VOC)
    colours = voc.read_image(tmp_path / "legend.png").flatten(1).T.unique(dim=0).tolist()
    assert list(voc.VOC_COLORMAP[3]) in colours and list(voc.VOC_COLORMAP[12]) in colours
    assert list(voc.VOC_COLORMAP[5]) not in colours
    predict_command.write_legend(tmp_path / "legend.png", {0}, classes.VOC)
    words = voc.read_image(tmp_path / "legend.png")
    assert words.float().mean() > 200 and int(words.min()) < 50  # black words on white


# ------------------------------------------------------------------ errors


class Call:
    """A command that fails, and how to make it fail."""

    def __init__(self, words, *command, patch=None):
        self.words, self.command, self.patch = words, command, patch


def raises(error):
    def function(*arguments, **options):
        raise error

    return function


TRAIN = ("train", "--data", "{set}", *SHORT, "--out", "{tmp}/run")
EVALUATE = ("evaluate", "--checkpoint", "{model}", "--data", "{set}")
PREDICT = ("predict", "--checkpoint", "{model}", "--out", "{tmp}/out")
GPU_FULL = RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.\nSee the documentation")
CPU_FULL = RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
CALLS = {
    "no data": Call("no such folder; expected emojivoc", "train", "--data", "x", *SHORT, "--out", "x"),
    "no VOC layout": Call("no such list", "evaluate", "--checkpoint", "{model}", "--data", "{tmp}"),
    "no list": Call("test.txt: no such list", *EVALUATE, "--split", "test"),
    "no checkpoint": Call("no such checkpoint", "predict", "--checkpoint", "x", "{text}", "--out", "x"),
    "a text as checkpoint": Call("not a readable", "evaluate", "--checkpoint", "{text}", "--data", "{set}"),
    "no classes": Call("x: no such file", *EVALUATE, "--classes", "x"),
    "broken classes": Call("text.txt: 1 classes; expected 2", *TRAIN, "--classes", "{text}"),
    "no weights": Call("x: no such weights file", *TRAIN, "--weights", "x"),
    "a text as weights": Call("{text}: not a file of weights", *TRAIN, "--weights", "{text}"),
    "others' weights": Call("not the weights of ResNet-18", *TRAIN, "--weights", "{other}"),
    "no image": Call("x.jpg: no such file or folder", *PREDICT, "x.jpg"),
    "no image inside": Call("no images in this folder", *PREDICT, "{empty}"),
    "a tile off the grid": Call("multiples of 32", *PREDICT, "{set}/JPEGImages", "--tile", "50", "50"),
    "an odd device": Call("--device tpu9: ", *TRAIN, "--device", "tpu9"),
    "no such GPU": Call("--device cuda:99: ", *EVALUATE, "--device", "cuda:99"),
    "sync without CUDA": Call("needs CUDA GPUs", *TRAIN, "--sync-batch-norm", "--device", "cpu"),
    "a broken mask": Call("train_00.png: ", "train", "--data", "{broken}", *SHORT, "--out", "{tmp}/run"),
    "a broken mask in a worker": Call(
        "train_00.png: ", "train", "--data", "{broken}", *SHORT, "--out", "{tmp}/run", "--workers", "1"
    ),
    "a file as folder": Call("{text}", "train", "--data", "{set}", *SHORT, "--out", "{text}"),
    "no host": Call(
        "the host is down", "evaluate", "--checkpoint", "{model}", "--data", "voc2012",
        patch=(voc, "download", ConnectionError("the host is down")),
    ),
    "no permission": Call("error: scores.json: Permission denied", *EVALUATE, "--json", "scores.json",
        patch=(files, "written_whole", PermissionError(13, "Permission denied", "scores.json"))),
    "a full disk": Call("error: No space left on device", *TRAIN,
        patch=(checkpoint.torch, "save", OSError("No space left on device"))),
    "a spoilt loss": Call("the loss is nan", *TRAIN,
        patch=(torch.optim.AdamW, "step", FloatingPointError("the loss is nan"))),
    "a full GPU in training": Call("a batch of 2 ", *TRAIN, patch=(fcn.FCN, "forward", CPU_FULL)),
    "a full GPU": Call("error: out of memory; try a smaller --batch, --crop or --tile", *EVALUATE,
        patch=(training, "evaluate", GPU_FULL)),
    "a full memory": Call("error: MemoryError", *PREDICT, "{set}/JPEGImages",
        patch=(prediction, "predict_tiled", MemoryError())),
}  # fmt: skip


@pytest.fixture
def places(trained, folder, tmp_path):
    """What the commands of `CALLS` name in braces."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").write_text("only one line\n")
    torch.save({"other": torch.zeros(1)}, tmp_path / "other.pth")
    make_folder(tmp_path / "broken")
    for path in (tmp_path / "broken" / "SegmentationClass").glob("train_*"):
        path.write_text("broken")
    (tmp_path / "broken" / "ImageSets" / "Segmentation" / "train.txt").write_text("train_00\n")
    where = {"model": trained / "model.pt", "set": folder, "tmp": tmp_path, "text": tmp_path / "text.txt"}
    where |= {"empty": tmp_path / "empty", "other": tmp_path / "other.pth", "broken": tmp_path / "broken"}
    return where


@pytest.mark.parametrize("name", CALLS)
def test_a_user_error_is_one_line(places, monkeypatch, capsys, name):
    call = CALLS[name]
    if call.patch:
        place, attribute, error = call.patch
        monkeypatch.setattr(place, attribute, raises(error))
    assert run(*(word.format(**places) for word in call.command)) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if "error" in line]  # and a bar
    assert len(lines) == 1 and "Traceback" not in lines[0]
    assert lines[0].startswith("error: ") and call.words.format(**places) in lines[0]


@pytest.mark.parametrize("shown", ["--traceback", "D2LSEG_TRACEBACK"])
def test_a_traceback_is_shown_on_request(monkeypatch, shown):
    words = ["evaluate", "--checkpoint", "x", "--data", "x"]
    if shown == "D2LSEG_TRACEBACK":
        monkeypatch.setenv(shown, "0")
        assert run(*words) == 1
        monkeypatch.setenv(shown, "1")
    else:
        words.append(shown)
    with pytest.raises(FileNotFoundError, match="no such checkpoint"):
        run(*words)


@pytest.mark.parametrize("error", [TypeError("a bug"), KeyError("a bug")])
def test_a_bug_has_its_traceback(monkeypatch, error):
    monkeypatch.setattr(fcn, "load", raises(error))
    with pytest.raises(type(error)):
        run("evaluate", "--checkpoint", "x", "--data", "x")


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (GPU_FULL, True),
        (CPU_FULL, True),
        (torch.cuda.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("MPS backend out of memory"), True),
        (RuntimeError("sizes do not match"), False),
        (MemoryError("out of memory on cpu with a batch of 2"), False),  # says it already
        (ValueError("out of memory"), False),
    ],
)
def test_full_memory_is_told_from_other_errors(error, full):
    assert out_of_memory(error) == full


def test_a_runtime_error_of_torch_is_a_bug(monkeypatch):
    monkeypatch.setattr(fcn, "load", lambda *_: torch.zeros(2) @ torch.zeros(3))
    with pytest.raises(RuntimeError, match="size"):
        run("evaluate", "--checkpoint", "x", "--data", "x")


def test_ctrl_c_ends_with_one_word(monkeypatch, capsys):
    monkeypatch.setattr(fcn, "load", raises(KeyboardInterrupt))
    assert run("evaluate", "--checkpoint", "x", "--data", "x") == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_an_error_names_its_process_if_there_are_several(monkeypatch, capsys):
    monkeypatch.setattr(distributed, "ranks", lambda: distributed.Ranks(3, 4, 1))
    assert run("evaluate", "--checkpoint", "x", "--data", "x") == 1
    assert capsys.readouterr().err.startswith("error in process 3: x: no such checkpoint")


# ------------------------------------------------------------------ the machine


@pytest.mark.parametrize(
    ("asked", "processes", "taken"),
    [
        (None, 1, "cuda:2"),
        ("cpu", 2, "cpu"),
        ("cuda", 1, "cuda:2"),
        ("cuda:1", 1, "cuda:1"),
        ("cuda:1", 4, "cuda:2"),  # each process has taken the GPU with its own number
    ],
)
def test_each_process_computes_where_it_should(monkeypatch, asked, processes, taken):
    @contextlib.contextmanager
    def joined(device):
        yield distributed.Ranks(2, processes, 2)

    monkeypatch.setattr(distributed, "joined", joined)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(common, "best_device", lambda: torch.device("cuda", 2))
    wanted = argparse.Namespace(device=asked, precision="float32", threads=None)
    with common.machine(wanted) as here:
        assert here.device == torch.device(taken) and here.precision == "float32"
        assert ("4 processes" in str(here)) == (processes == 4)


def test_only_the_first_process_prints(capsys):
    for rank in (0, 1):
        common.Machine(distributed.Ranks(rank, 2), torch.device("cpu"), "bf16").say("one", rank)
    assert capsys.readouterr().out == "one\n0\n"


# ------------------------------------------------------------------ the parser


def parsers():
    whole = options.make_parser()
    (commands,) = (a for a in whole._actions if isinstance(a, argparse._SubParsersAction))
    return commands.choices


@pytest.mark.parametrize("name", ["train", "evaluate", "predict"])
def test_every_option_is_explained_in_a_sentence(name):
    command = parsers()[name]
    text = " ".join(command.format_help().split())
    for action in command._actions:
        assert action.help, action.dest
        if action.dest == "help":
            continue
        sentence, _, default = action.help.partition(" (default: ")
        assert sentence[0].isupper() and sentence.endswith(".") and len(sentence.split()) > 3, action.help
        # an option with a default says which
        if action.default not in (None, False):
            assert default, action.dest
        for word in action.option_strings:
            assert f" {word} " in f"{text} "
    assert f"example: python -m d2lseg {name} " in text


def test_help_does_not_wait_for_torch():
    code = "import sys; from d2lseg import cli\ntry: cli.main(['train', '--help'])\n"
    code += "finally: print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert "--backbone" in done.stdout and done.stdout.splitlines()[-1] == "False False"


def test_choices_and_defaults_are_those_of_the_module():
    assert set(options.VARIANTS) == set(fcn.VARIANTS) and set(options.BACKBONES) == set(backbones.BACKBONES)
    assert options.UPSAMPLINGS == fcn.UPSAMPLINGS and options.GEOMETRIES == fcn.GEOMETRIES
    assert set(options.SCHEDULES) == set(training.SCHEDULES) and set(options.PRECISIONS) == set(PRECISIONS)
    assert set(options.LOSSES) == set(losses.LOSSES)
    assert options.WINDOWS == prediction.WINDOWS and options.FORMS == recognise.FORMS
    parse = options.make_parser().parse_args
    pairs = [
        (parse(["train", "--epochs", "1", "--out", "x"]), training.train,
         {"lr": "lr", "schedule": "schedule", "seed": "seed"}),
        (parse(["train", "--epochs", "1", "--out", "x"]), fcn.parameter_groups,
         {"weight_decay": "weight_decay", "backbone_lr": "backbone_lr"}),
        (parse(["train", "--epochs", "1", "--out", "x"]), voc.load_data_voc, {"jitter": "jitter"}),
        (argparse.Namespace(**options.ARCHITECTURE), fcn.FCN, {name: name for name in options.ARCHITECTURE}),
        (parse(["evaluate", "--checkpoint", "x", "--data", "x"]), training.evaluate,
         {"tile": "tile", "overlap": "overlap"}),
        (parse(["predict", "--checkpoint", "x", "--out", "x", "x"]), prediction.predict_tiled,
         {"tile": "tile", "overlap": "overlap", "batch": "batch_size", "window": "window"}),
    ]  # fmt: skip
    for given, function, names in pairs:
        defaults = inspect.signature(function).parameters
        assert {k: getattr(given, k) for k in names} == {k: defaults[v].default for k, v in names.items()}
    assert "768 768" in parsers()["predict"].format_help() and prediction.TILE == (768, 768)


@pytest.mark.parametrize(
    "words",
    [
        "",
        "paint",
        "train --out x",
        "train --epochs 1",
        "train --out x --epochs 1 --minutes 1",
        "train --out x --epochs 0",
        "train --out x --epochs inf",
        "train --out x --epochs one",
        "train --out x --minutes -1",
        "train --out x --epochs 1 --batch 0",
        "train --out x --epochs 1 --batch 2.5",
        "train --out x --epochs 1 --crop 32",
        "train --out x --epochs 1 --seed -1",
        "train --out x --epochs 1 --weight-decay -0.1",
        "train --out x --epochs 1 --weight-decay nan",
        "train --out x --epochs 1 --variant 4s",
        "train --out x --epochs 1 --vari 8s",
        "evaluate --checkpoint x",
        "predict --checkpoint x --out x",
        "predict --checkpoint x --out x x --window round",
    ],
)
def test_wrong_usage_exits_with_two(words, capsys):
    with pytest.raises(SystemExit) as stopped:
        run(*words.split())
    assert stopped.value.code == 2 and "error: " in capsys.readouterr().err


def commands_in(text):
    """Return the complete commands in a text, those without dots."""
    found = re.findall(
        r"^(?:python|torchrun .*?) ?-m d2lseg ((?:train|evaluate|predict).*)$", text, re.MULTILINE
    )
    return [shlex.split(command) for command in found if "..." not in command]


def test_the_commands_in_the_course_are_understood():
    notebook = json.loads((ROOT / "notebooks" / "05_training.ipynb").read_text(encoding="utf-8"))
    cells = "\n".join("".join(cell["source"]) for cell in notebook["cells"])
    pages = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md")))
    found = commands_in(pages) + commands_in(cells)
    assert len(found) >= 5
    for words in found:
        assert options.make_parser().parse_args(words).command == words[0]


def test_python_m_d2lseg_is_the_command_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["d2lseg", "evaluate", "--checkpoint", "x", "--data", "x"])
    monkeypatch.setenv("TQDM_MININTERVAL", "kept")
    monkeypatch.delenv("TQDM_MININTERVAL")
    with pytest.raises(SystemExit) as stopped:
        runpy.run_module("d2lseg", run_name="__main__")
    assert stopped.value.code == 1 and "no such checkpoint" in capsys.readouterr().err
    assert os.environ["TQDM_MININTERVAL"] == "60"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.delenv("TQDM_MININTERVAL")
    with pytest.raises(SystemExit):
        runpy.run_module("d2lseg", run_name="__main__")
    assert "TQDM_MININTERVAL" not in os.environ
    runpy.run_module("d2lseg.__main__", run_name="imported")  # as a worker process does


# ------------------------------------------------------------------ several processes


def torchrun(*words):
    """Run a command in two processes, and return what they printed."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    return subprocess.run(
        [*command, "-m", "d2lseg", *map(str, words)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        timeout=300,
    )


@pytest.mark.slow
@pytest.mark.skipif(not dist.is_available(), reason="this torch has no torch.distributed")
def test_two_processes_train_and_score_as_one_and_print_once(folder, tmp_path):
    out = tmp_path / "run"
    done = torchrun("train", "--data", folder, *SHORT, "--device", "cpu", "--out", out)
    assert done.returncode == 0, done.stderr
    for words in ("machine   cpu, float32, 1 CPU thread, 2 processes", "epoch       loss", "pixel accuracy"):
        assert done.stdout.count(words) == 1, done.stdout
    settings = json.loads((out / "settings.json").read_text())
    assert settings["processes"] == 2 and len(rows(out)) == 2
    words = [
        "evaluate",
        "--checkpoint",
        out / "model.pt",
        "--data",
        folder,
        "--device",
        "cpu",
        *ALIKE,
        "--json",
    ]
    done = torchrun(*words, tmp_path / "two.json")
    assert done.returncode == 0 and done.stdout.count("frequency-weighted IoU") == 1, done.stderr
    assert run(*words, tmp_path / "one.json") == 0
    two, one = (json.loads((tmp_path / name).read_text()) for name in ("two.json", "one.json"))
    assert two == one and one["miou"] == rows(out)[-1]["miou"]
