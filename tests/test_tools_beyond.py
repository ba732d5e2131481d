"""The command that compares networks after the FCN at equal time."""

import dataclasses

import pytest
import torch

from d2lseg import beyond, experiments, fcn
from d2lseg.engine import files
from tools import beyond as tool
from tools import photos


@pytest.fixture
def tables(monkeypatch, tmp_path):
    """Tables of its own."""
    monkeypatch.setattr(tool, "SPEED", tmp_path / "speed.csv")
    monkeypatch.setattr(tool, "KEPT", tmp_path / "kept.csv")


@pytest.fixture
def quick(tables, monkeypatch, tmp_path):
    """Few and small scenes and photographs, too."""
    monkeypatch.setattr(photos, "BASE", photos.replace(photos.BASE, crop=32, batch=2))
    monkeypatch.setattr(experiments, "BATCH", 2)
    monkeypatch.setattr(experiments, "CROP", (32, 64))
    monkeypatch.setattr(experiments, "RESULTS", tmp_path / "results")
    folder = tool.emojivoc.prepare(tmp_path / "few", 8, 26)
    monkeypatch.setattr(tool.emojivoc, "prepare", lambda: folder)


def speeds(**ms):
    return [{"dataset": "emoji", "model": model, "ms_step": str(cost)} for model, cost in ms.items()]


def test_equal_time_and_equal_steps(tables):
    files.write_csv(tool.SPEED, speeds(**{"FCN-8s": 100.0, "dilated 8": 400.0}))
    assert tool.budget("emoji", "FCN-8s") == 1000 and tool.budget("emoji", "dilated 8") == 250
    assert tool.budget("emoji", "dilated 8", "steps") == 1000


def test_a_network_that_was_not_timed_is_named():
    with pytest.raises(ValueError, match=r"no row of U-Net on emoji; run python -m tools"):
        tool.budget("emoji", "U-Net")


def test_a_network_starts_from_its_seed():
    one, same, other = (tool.build("emoji", "dilated 8", seed) for seed in (0, 0, 1))
    assert isinstance(one, beyond.Dilated) and torch.equal(one.score.weight, same.score.weight)
    assert not torch.equal(one.score.weight, other.score.weight)
    net = tool.build("emoji", "FCN-32s", 0)
    assert isinstance(net, fcn.FCN) and net.arguments["geometry"] == "corrected"


def test_photographs_need_their_folder():
    with pytest.raises(ValueError, match="--data FOLDER"):
        tool.load("photos", 0)


def rows_of(*runs):
    return [
        {"dataset": d, "model": m, "equal": e, "seed": s, "steps": "7", "miou": v, "band_3": v}
        for d, m, e, s, v in runs
    ]


def test_tables_of_several_processes_become_one(tmp_path, tables):
    first = rows_of(("photos", "FCN-8s", "time", "0", "0.5"), ("emoji", "dilated 8", "steps", "0", "0.6"))
    second = rows_of(("emoji", "dilated 8", "time", "1", "0.7"), ("emoji", "dilated 8", "time", "0", "0.8"))
    paths = [files.write_csv(tmp_path / f"{i}.csv", rows) for i, rows in enumerate((first, second))]
    tool.main(["merge", *map(str, paths)])
    tool.main(["merge", *map(str, paths)])  # each run stays there once
    assert files.read_csv(tool.KEPT) == [second[1], second[0], first[1], first[0]]
    printed = tool.table(files.read_csv(tool.KEPT))
    assert "| emoji | time | dilated 8 | 7 | 0.750 (spread 0.100) | 0.750 |" in printed


@pytest.mark.slow
def test_rows_are_kept_at_once_and_nothing_is_trained_twice(quick, photo_folder, monkeypatch, capsys):
    monkeypatch.setattr(
        tool, "DATASETS", {k: dataclasses.replace(v, seconds=0.002) for k, v in tool.DATASETS.items()}
    )
    rows = tool.measure("emoji", steps=1, rounds=1) + tool.measure("photos", photo_folder, 1, 1)
    assert [row["model"] for row in rows] == 2 * list(tool.MODELS)
    assert all(float(row[key]) > 0 for row in rows for key in ("ms_step", "ms_image", "parameters"))
    files.write_csv(tool.SPEED, [row | {"ms_step": "1.0"} for row in rows])
    options = ["train", "--data", str(photo_folder), "--models", "FCN-8s", "concatenating", "--seeds", "0"]
    tool.main([*options, "--equal", "steps"])
    assert [(r["dataset"], r["model"]) for r in files.read_csv(tool.KEPT)] == [
        ("emoji", "concatenating"),
        ("photos", "concatenating"),  # FCN-8s at equal steps is FCN-8s at equal time
    ]
    tool.main(options)
    kept = files.read_csv(tool.KEPT)
    assert len(kept) == 6 and all(
        0 <= float(r[k]) <= 1 for r in kept for k in ("miou", "pixel_acc", "band_3")
    )
    assert {row["steps"] for row in kept} == {"2"}
    names = sorted(path.name for path in (experiments.RESULTS / "predictions").iterdir())
    assert len(names) == 10 and names[0].startswith("beyond-FCN-8s-")
    capsys.readouterr()
    tool.main(options)
    assert capsys.readouterr().out == ""
