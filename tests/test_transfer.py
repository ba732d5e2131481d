"""The command that measures what pretrained features bring."""

import copy

import pytest
import torch

from d2lseg import fcn
from d2lseg.engine import files
from tools import photos, transfer


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """Small crops, few photographs, a few steps, and tables of its own."""
    monkeypatch.setattr(photos, "BASE", photos.replace(photos.BASE, crop=32, batch=2))
    monkeypatch.setattr(transfer, "WAYS", {"scratch": (4,), "frozen": (2, 4), "fine-tuned": (9,)})
    monkeypatch.setattr(transfer, "OFFICIAL", 6)
    monkeypatch.setattr(transfer, "SEEDS", (0, 1))
    monkeypatch.setattr(transfer, "SPEED", tmp_path / "speed.csv")
    monkeypatch.setattr(transfer, "KEPT", tmp_path / "kept.csv")


def test_photographs_are_drawn_by_seed_from_the_list_that_has_enough(photo_folder, quick):
    few, again, others = (transfer.load(photo_folder, 3, seed).dataset for seed in (0, 0, 1))
    assert few.split == "train" and len(few.ids) == 3 and few.ids == again.ids != others.ids
    many = transfer.load(photo_folder, 9, 0).dataset
    assert many.split == "train_aug" and sorted(many.ids) == [f"p{i}" for i in range(9)]
    with pytest.raises(ValueError, match="9 photographs on the list, expected at least 10"):
        transfer.load(photo_folder, 10, 0)


@pytest.mark.slow
def test_frozen_features_stay_and_the_others_move(photo_folder, quick):
    for way in ("frozen", "fine-tuned"):
        before = copy.deepcopy(transfer.build(way, 0).backbone.state_dict())
        after = transfer.train_one(photo_folder, way, 4, 0, steps=2).backbone.state_dict()
        assert all(torch.equal(before[k], after[k]) for k in before) == (way == "frozen")
    scratch, pretrained = transfer.build("scratch", 0), transfer.build("fine-tuned", 0)
    assert not torch.equal(scratch.backbone.stage1[0].weight, pretrained.backbone.stage1[0].weight)
    assert isinstance(scratch, fcn.FCN) and scratch.variant == "8s"


@pytest.mark.slow
def test_steps_follow_the_measured_cost(photo_folder, quick, monkeypatch):
    rows = transfer.measure(photo_folder, steps=1)
    assert [row["way"] for row in rows] == ["scratch", "frozen", "fine-tuned"]
    assert all(float(row["ms_step"]) > 0 for row in rows)
    files.write_csv(
        transfer.SPEED, [{"way": "frozen", "ms_step": "250.0"}, {"way": "scratch", "ms_step": "600.0"}]
    )
    monkeypatch.setattr(transfer, "SECONDS", 30)
    assert transfer.budget("frozen") == 120 and transfer.budget("scratch") == 50


@pytest.mark.slow
def test_train_keeps_a_row_at_once_and_resumes(photo_folder, quick, monkeypatch, capsys):
    calls = []

    def interrupted(folder, way, count, seed, steps):
        if len(calls) == 3:
            calls.clear()
            raise KeyboardInterrupt
        calls.append((way, count, seed))
        return transfer.build(way, seed)

    monkeypatch.setattr(transfer, "train_one", interrupted)
    monkeypatch.setattr(transfer, "budget", lambda way: 1)
    with pytest.raises(KeyboardInterrupt):
        transfer.train(photo_folder)
    assert len(files.read_csv(transfer.KEPT)) == 3
    for _ in range(2):
        try:
            transfer.train(photo_folder)
        except KeyboardInterrupt:
            continue
    rows = files.read_csv(transfer.KEPT)
    keys = [(row["way"], int(row["photos"]), int(row["seed"])) for row in rows]
    one_seed = [("scratch", 4), ("frozen", 2), ("frozen", 4), ("fine-tuned", 9)]
    assert keys == [(*key, seed) for seed in (0, 1) for key in one_seed]
    transfer.main(["table"])
    printed = capsys.readouterr().out
    assert "| way | 2 photographs | 4 photographs | 9 photographs |" in printed
    values = [float(row["miou"]) for row in rows if row["way"] == "scratch"]
    assert f"| scratch |  | {sum(values) / 2:.3f} (spread {max(values) - min(values):.3f}) |  |" in printed


@pytest.mark.slow
def test_drawings_of_one_style_are_trained_on_and_both_are_scored(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("D2LSEG_DATA", str(tmp_path))
    monkeypatch.setattr(transfer, "EMOJI", tmp_path / "emoji.csv")
    monkeypatch.setattr(transfer, "EMOJI_SECONDS", 0.1)
    monkeypatch.setattr(transfer, "SEEDS", (0,))
    monkeypatch.setattr(transfer.experiments, "STYLE_SCENES", (8, 2))
    ways = {name: transfer.EMOJI_WAYS[name] for name in ("frozen", "fine-tuned")}
    monkeypatch.setattr(transfer, "EMOJI_WAYS", ways)
    transfer.main(["emoji"])
    transfer.main(["emoji"])  # nothing is missing, so nothing is trained
    rows = files.read_csv(transfer.EMOJI)
    assert [(row["way"], row["seed"]) for row in rows] == [("frozen", "0"), ("fine-tuned", "0")]
    assert all(0 <= float(row[style]) <= 1 for row in rows for style in ("fluent", "twemoji"))
    assert capsys.readouterr().out.count("'way'") == 2
