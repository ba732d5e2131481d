import functools
from pathlib import Path

import notebook_cells
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from d2lseg import emojivoc, experiments, fcn, metrics, training, voc
from tools import results


def draw(folder, n_train=8, n_val=4, styles=emojivoc.STYLES, _prepare=emojivoc.prepare):
    """Draw a few scenes, of one style or of both."""
    return _prepare(folder / "-".join(styles), n_train=n_train, n_val=n_val, styles=styles)


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Experiments small enough for a test: 12 scenes, setups of 2 and 3 steps, an empty results folder."""
    folder = emojivoc.prepare(tmp_path / "data", n_train=8, n_val=4)
    monkeypatch.setenv("D2LSEG_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(experiments.emojivoc, "prepare", lambda: folder)
    monkeypatch.setattr(experiments, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(experiments, "BATCH", 4)
    monkeypatch.setattr(experiments, "CROP", (64, 64))
    monkeypatch.setattr(experiments, "SHOWN_SCENES", range(2))
    monkeypatch.setattr(experiments, "BAND_WIDTHS", (1, 3))
    setups = {"32s": experiments.Setup(2, {"variant": "32s"}), "8s": experiments.Setup(3, {"variant": "8s"})}
    monkeypatch.setattr(experiments, "SETUPS", setups)
    monkeypatch.setattr(experiments, "SKIPS", ("32s", "8s"))
    return folder


@pytest.mark.slow
def test_train_and_score_by_the_command_line(small, capsys):
    experiments.main(["train", "--seeds", "0", "1", "--setups", "32s", "8s"])
    assert capsys.readouterr().out.count("'steps'") == 4
    experiments.main(["score", "--seeds", "0", "1", "--setups", "32s", "8s"])
    rows = experiments.read("scores")
    assert [(row["setup"], row["seed"], row["steps"]) for row in rows] == [
        ("32s", "0", "2"),
        ("32s", "1", "2"),
        ("8s", "0", "3"),
        ("8s", "1", "3"),
    ]
    model = fcn.load(experiments.checkpoint("8s", 1))
    assert type(model.score8) is torch.nn.Conv2d and model.notes["setup"] == "8s"
    _, val_iter = voc.load_data_voc(small, 4, (64, 64))
    scores = metrics.scores(training.evaluate(model, val_iter, precision="float32"))
    assert float(rows[3]["miou"]) == pytest.approx(scores.miou, abs=1e-4)
    values = [float(row["miou"]) for row in rows[2:]]
    mean, spread = experiments.mean_and_spread("8s", "miou")
    assert mean == pytest.approx(sum(values) / 2) and spread == pytest.approx(abs(values[0] - values[1]))
    kept = experiments.kept_predictions("8s")
    dataset = voc.VOCSegDataset(small, "val")
    for guess, (image, _) in zip(kept, dataset, strict=False):
        assert guess.shape == image.shape[1:]
    assert len(kept) == 2


def save_other(path, weights, **notes):
    """Save a checkpoint again, with other weights or with other notes."""
    model = fcn.load(path)
    if weights:
        torch.nn.init.normal_(model.score.bias)
    fcn.save(model, path, **(model.notes | notes))


@pytest.mark.slow
def test_ship_writes_rounded_weights_that_load(small, monkeypatch, tmp_path, capsys):
    experiments.main(["train", "--seeds", "0", "--setups", "32s"])
    monkeypatch.setattr(experiments, "__file__", str(tmp_path / "experiments.py"))
    experiments.main(["ship"])
    path = tmp_path / "weights" / "emoji.pt"
    assert capsys.readouterr().out.endswith(f"{path}\n")
    trained, shipped = fcn.load(experiments.checkpoint("32s", 0)), fcn.load(path)
    assert shipped.notes == trained.notes and shipped.classes == trained.classes
    for name, value in trained.state_dict().items():
        exact = not value.is_floating_point() or "running_" in name
        expected = value if exact else value.half().float()
        assert torch.equal(shipped.state_dict()[name], expected), name


@pytest.mark.slow
def test_only_changed_weights_are_scored_again(small, monkeypatch):
    chosen = ["--seeds", "0", "--setups", "32s", "8s"]
    experiments.main(["train", *chosen])
    experiments.main(["score", *chosen])
    before, score_one, scored = experiments.read("scores"), experiments.score_one, []
    monkeypatch.setattr(experiments, "score_one", lambda *which: scored.append(which) or score_one(*which))
    experiments.main(["score", *chosen])
    save_other(experiments.checkpoint("32s", 0), weights=False, seconds=1.5)
    experiments.main(["score", *chosen])
    assert scored == [] and experiments.read("scores") == before, "the same weights have the same scores"
    save_other(experiments.checkpoint("8s", 0), weights=True)
    experiments.main(["score", *chosen])
    assert scored == [("8s", 0)]
    after = experiments.read("scores")
    assert after[0] == before[0] and after[1]["digest"] != before[1]["digest"]
    assert after[1]["seconds"] == before[1]["seconds"], "the time of training does not identify a model"


@pytest.mark.slow
@pytest.mark.parametrize("keep_column", [True, False])
def test_rows_without_a_digest_are_read_but_belong_to_no_checkpoint(small, monkeypatch, keep_column):
    experiments.main(["train", "--seeds", "0", "--setups", "32s"])
    experiments.main(["score", "--seeds", "0", "--setups", "32s"])
    (row,) = experiments.read("scores")
    old = row | {"digest": ""} if keep_column else {k: v for k, v in row.items() if k != "digest"}
    experiments.write("scores", [old])
    assert experiments.mean_and_spread("32s", "miou") == (float(row["miou"]), 0)
    experiments.main(["score", "--seeds", "0", "--setups", "32s"])
    assert experiments.read("scores") == [row]


def test_the_digest_changes_with_each_part_of_the_weights():
    state = {"weight": torch.arange(6.0).view(2, 3), "steps": torch.tensor(7)}
    digests = [
        experiments.digest(changed)
        for changed in (
            state,
            state | {"steps": torch.tensor(8)},
            state | {"weight": torch.arange(6.0).view(3, 2)},
            state | {"weight": torch.arange(6.0).view(2, 3).nextafter(torch.tensor(9.0))},
            state | {"weight": torch.arange(6.0, dtype=torch.float64).view(2, 3)},
            state | {"weight": torch.arange(6).to(torch.bfloat16).view(2, 3)},
            {"bias": state["weight"], "steps": state["steps"]},
        )
    ]
    assert len(set(digests)) == len(digests) and all(len(digest) == 16 for digest in digests)
    mirrored = {"steps": state["steps"], "weight": state["weight"].T.contiguous().T}
    assert experiments.digest(mirrored) == digests[0], "neither order nor memory layout matters"


@pytest.mark.slow
def test_training_resumes_with_the_missing_checkpoints(small):
    first = experiments.train_one("32s", 0)
    before = first.stat().st_mtime_ns
    assert [path for *_, path in experiments.train_all(["32s"], [0, 1])] == [
        first,
        experiments.checkpoint("32s", 1),
    ]
    assert first.stat().st_mtime_ns == before
    models = [fcn.load(experiments.checkpoint("32s", seed)) for seed in (0, 1)]
    assert not torch.equal(models[0].score.weight, models[1].score.weight)


@pytest.mark.slow
def test_time_by_the_command_line(small, monkeypatch, capsys):
    measure = experiments.measure
    monkeypatch.setattr(experiments, "measure", lambda: measure(rounds=2, steps=2))
    experiments.main(["time"])
    rows = experiments.read("speed")
    assert [row["kind"] for row in rows] == ["32s", "8s"]
    assert all(float(row["ms_step"]) > 0 and float(row["ms_image"]) > 0 for row in rows)
    assert int(rows[0]["parameters"]) == sum(p.numel() for p in fcn.FCN32s().parameters())
    assert "ms_step_spread" in capsys.readouterr().out


@pytest.fixture
def small_comparisons(small, monkeypatch):
    """Comparisons of one step, on the scenes of `small` and on four scenes in each style."""
    comparison = experiments.Comparison
    monkeypatch.setattr(experiments, "STYLE_SCENES", (4, 2))
    monkeypatch.setattr(experiments.emojivoc, "prepare", functools.partial(draw, small.parent))
    chosen = {
        "void left out": comparison(1),
        "void as background": comparison(1, void_as_background=True),
        "fluent": comparison(1, styles=("fluent",)),
    }
    monkeypatch.setattr(experiments, "COMPARISONS", chosen)


@pytest.mark.slow
def test_comparisons_are_kept_as_matrices_and_resume(small_comparisons, monkeypatch, capsys):
    experiments.main(["compare", "--seeds", "0"])
    assert capsys.readouterr().out.count("kept") == 3
    monkeypatch.setattr(experiments, "SEEDS", (0,))
    ways = ("void left out", "void as background")
    honest, painted = (experiments.compared("void left out", way)[0] for way in ways)
    # painting void adds pixels to the row of background, and changes no other row
    assert torch.equal(honest[1:], painted[1:]) and painted[0].sum() > honest[0].sum()
    first, second = (experiments.compared(name, ways[0])[0] for name in ways)
    assert torch.equal(first.sum(1), second.sum(1)), "both models meet the same labels"
    assert experiments.compared("fluent", "twemoji")[0].sum() > 0

    trained = []
    monkeypatch.setattr(experiments, "compare_one", lambda name, seed: trained.append((name, seed)) or {})
    assert len(list(experiments.compare_all([0, 1]))) == 6
    assert trained == [(name, 1) for name in experiments.COMPARISONS], "seed 0 is kept already"


@pytest.mark.slow
def test_own_data_is_the_dataset_of_notebook_11(tmp_path, monkeypatch):
    monkeypatch.setattr(experiments, "PLACES", 6)
    monkeypatch.setattr(experiments, "OWN_PLACES", (2, 4))
    monkeypatch.setattr(experiments, "OWN_STEPS", (1, 2))
    monkeypatch.setattr(experiments, "BATCH", 4)
    monkeypatch.setattr(experiments, "CROP", (64, 64))
    folder = experiments.own_data(tmp_path)
    namespace = {"emojivoc": emojivoc, "torch": torch}
    (source,) = [s for s in notebook_cells.cells("11_your_own_data", None) if "def photograph" in s]
    exec(source, namespace)
    for letter, step, light in (("a", 0, 1.0), ("b", 6, 0.9)):
        image, mask = namespace["photograph"](3, step, light)
        with Image.open(tmp_path / "photos" / f"place003{letter}.jpg") as file:
            assert file.size == image.shape[:0:-1]
        with Image.open(tmp_path / "masks" / f"place003{letter}.png") as file:
            assert np.array_equal(np.asarray(file), mask.numpy())
    train, val = (set(voc.VOCSegDataset(folder, part).ids) for part in ("train", "val"))
    assert not {name[:-1] for name in train} & {name[:-1] for name in val}, "no place is in both lists"
    few = voc.VOCSegDataset(folder, "train_2").ids
    assert len(few) == 4 and len({name[:-1] for name in few}) == 2, "both images of each place"
    row = next(experiments.own_rows(folder, 2, seed=0))
    assert 0 <= row["miou_val"] <= 1 and row["places"] == 2 and row["steps"] == 1


def test_a_run_grows_until_it_knows_its_own_images(tmp_path, monkeypatch):
    rising = {250: 0.5, 500: 0.94, 1000: 0.95, 2000: 0.99}
    monkeypatch.setattr(experiments, "_own_scores", lambda *a: {"miou_train": rising[a[-1]], "miou_val": 0.1})
    rows = list(experiments.own_rows(tmp_path, 12, seed=3))
    assert [row["steps"] for row in rows] == [250, 500, 1000]
    monkeypatch.setattr(experiments, "RESULTS", tmp_path)
    experiments.write("own_data", [*rows, {**rows[0], "seed": 4}])
    assert [(row["seed"], row["steps"]) for row in experiments.converged()] == [("3", "1000"), ("4", "250")]


def test_a_setup_chooses_its_images_and_its_loss(small, monkeypatch):
    setup = experiments.Setup
    chosen = {
        "plain": setup(1, {"variant": "32s"}),
        "unflipped": setup(1, {"variant": "32s"}, {"flip": False, "jitter": 0.3}),
        "balanced": setup(1, {"variant": "32s"}, loss="balanced"),
        "Dice": setup(1, {"variant": "32s"}, loss="ce+dice"),
    }
    monkeypatch.setattr(experiments, "SETUPS", chosen)
    plain, unflipped = (experiments.batches(name, 0).dataset for name in ("plain", "unflipped"))
    assert (plain.flip, plain.jitter, unflipped.flip, unflipped.jitter) == (True, 0, False, 0.3)
    logits = torch.randn(1, 21, 8, 8, generator=torch.Generator().manual_seed(0))
    label = torch.arange(64).view(1, 8, 8) % 3
    dataset = voc.VOCSegDataset(small, "train")
    counts = sum((dataset[i][1].flatten().bincount(minlength=256)[:21] for i in range(8)), torch.zeros(21))
    entropy = training.segmentation_loss(logits, label)
    weighted = training.segmentation_loss(logits, label, training.balanced_weights(counts))
    assert experiments.loss_of("plain")(logits, label) == entropy != weighted
    assert experiments.loss_of("balanced")(logits, label) == weighted
    assert experiments.loss_of("Dice")(logits, label) == entropy + training.dice_loss(logits, label)


def test_missing_results_name_the_command(small):
    with pytest.raises(FileNotFoundError, match=r"d2lseg\.experiments compare"):
        experiments.compared("void left out", "void left out")
    with pytest.raises(FileNotFoundError, match=r"d2lseg\.experiments own-data"):
        experiments.read("own_data")
    with pytest.raises(FileNotFoundError, match=r"d2lseg\.experiments time"):
        experiments.read("speed")
    with pytest.raises(FileNotFoundError, match=r"d2lseg\.experiments train, then score"):
        experiments.mean_and_spread("32s", "miou")
    with pytest.raises(FileNotFoundError, match="train and score"):
        experiments.kept_predictions("32s")
    experiments.write("scores", [{"setup": "32s", "miou": 0.5}])
    for name, column in (("8s", "miou"), ("32s", "mean_iou")):
        with pytest.raises(ValueError, match=column):
            experiments.mean_and_spread(name, column)


def naive_ceiling(label, stride, classes):
    """Compute the shares in loops and enlarge them with torch's interpolation."""
    height, width = (-(-n // stride) for n in label.shape)
    cells = torch.zeros(1, classes, height, width)
    for i in range(label.shape[0]):
        for j in range(label.shape[1]):
            if label[i, j] != 255:
                cells[0, int(label[i, j]), i // stride, j // stride] += 1 / stride**2
    large = torch.nn.functional.interpolate(cells, scale_factor=stride, mode="bilinear")
    return large[0, :, : label.shape[0], : label.shape[1]]


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 20), st.integers(1, 20), st.sampled_from([1, 2, 3, 4, 8]), st.integers(0, 99))
def test_shrink_and_enlarge_equals_loops(height, width, stride, seed):
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(4, (height, width), generator=generator).to(torch.uint8)
    label[torch.rand(height, width, generator=generator) < 0.2] = 255
    shares = naive_ceiling(label, stride, 4)
    got = experiments.shrink_and_enlarge(label, stride, 4)
    assert got.dtype == torch.uint8 and got.shape == label.shape
    won = shares.gather(0, got.long()[None])[0]
    torch.testing.assert_close(won, shares.amax(0), atol=1e-6, rtol=0)  # ties may go either way


def test_stride_one_returns_every_label_and_coarse_strides_lose():
    torch.manual_seed(0)
    label = torch.randint(21, (40, 50), dtype=torch.uint8)
    label[0, :5] = 255
    assert metrics.scores(experiments.stride_ceiling([label], 1)).miou == 1
    blob = torch.zeros(64, 64, dtype=torch.uint8)
    blob[20:40, 23:50] = 7
    ious = [metrics.scores(experiments.stride_ceiling([blob], s)).per_class[7].item() for s in (4, 8, 16, 32)]
    assert ious == sorted(ious, reverse=True) and ious[-1] < 0.9
    with pytest.raises(ValueError, match="at least 1, got 0"):
        experiments.shrink_and_enlarge(label, 0)


def test_band_and_interior_share_the_whole():
    generator = torch.Generator().manual_seed(0)
    label = torch.zeros(30, 40, dtype=torch.uint8)
    label[8:20, 10:30], label[12:14, 5:9] = 2, 255
    guess = torch.randint(3, label.shape, generator=generator)
    matrices = experiments.band_matrices([(guess, label), (label.clamp(max=2), label)], (1, 4), 3)
    assert list(matrices) == ["whole", "band_1", "interior_1", "band_4", "interior_4"]
    for width in (1, 4):
        assert torch.equal(matrices[f"band_{width}"] + matrices[f"interior_{width}"], matrices["whole"])
    assert 0 < matrices["band_1"].sum() < matrices["band_4"].sum() < matrices["whole"].sum()
    assert matrices["whole"].sum() == 2 * (label != 255).sum()


def test_compared_setups_get_the_same_time():
    ms = {row["kind"]: float(row["ms_step"]) for row in experiments.read("speed")}
    minutes = {name: setup.steps * ms[setup.kind] / 60_000 for name, setup in experiments.SETUPS.items()}
    long = minutes.pop("8s long")
    assert max(minutes.values()) < 1.08 * min(minutes.values())
    assert long == pytest.approx(3 * minutes["8s"])


def test_kept_comparisons_are_complete():
    for name, comparison in experiments.COMPARISONS.items():
        styled = comparison.styles != emojivoc.STYLES
        for way in emojivoc.STYLES if styled else ("void left out", "void as background"):
            matrices = experiments.compared(name, way)
            assert len(matrices) == len(experiments.SEEDS)
            assert all(matrix.shape == (21, 21) and matrix.sum() > 0 for matrix in matrices)
        if not styled:
            assert len(experiments.kept_predictions(name)) == len(experiments.SHOWN_SCENES)
    rows = [(int(row["places"]), int(row["seed"])) for row in experiments.converged()]
    assert rows == [(n, seed) for n in experiments.OWN_PLACES for seed in experiments.SEEDS]


def test_kept_results_are_complete():
    rows = experiments.read("scores")
    assert [(row["setup"], int(row["seed"])) for row in rows] == [
        (name, seed) for name in experiments.SETUPS for seed in experiments.SEEDS
    ]
    assert all(int(row["steps"]) == experiments.SETUPS[row["setup"]].steps for row in rows)
    for name in experiments.SKIPS:
        kept = experiments.kept_predictions(name)
        assert len(kept) == len(experiments.SHOWN_SCENES)
        for index, guess in zip(experiments.SHOWN_SCENES, kept, strict=True):
            scene = emojivoc.compose_scene(800 + index)
            assert guess.shape == scene.label.shape and guess.max() < 21


def test_fcn_8s_reaches_what_the_readme_promises():
    for name, least in (("8s", 0.60), ("8s long", 0.76)):
        assert all(float(row["miou"]) >= least for row in experiments.read("scores") if row["setup"] == name)


def test_the_page_of_results_shows_the_kept_table():
    page = Path(__file__).resolve().parent.parent / "docs" / "results.md"
    assert results.experiments_table() in page.read_text(encoding="utf-8")


def test_the_baseline_is_that_of_the_scenes_given(small):
    dataset = voc.VOCSegDataset(small, "val")
    labels = [label for _, label in dataset]
    zeros = sum(int((label == 0).sum()) for label in labels)
    share = zeros / sum(int((label != 255).sum()) for label in labels)
    line = results.baseline_line(dataset)
    assert f"{share:.3f} in pixel accuracy" in line and "on the 4 validation scenes" in line


def test_the_page_of_results_quotes_the_baseline_of_the_200_validation_scenes():
    page = Path(__file__).resolve().parent.parent / "docs" / "results.md"
    assert "in mIoU on the 200 validation scenes." in page.read_text(encoding="utf-8")


def test_the_figure_shows_kept_predictions_and_needs_no_checkpoint(small, tmp_path, monkeypatch):
    dataset, shown = voc.VOCSegDataset(small, "val"), []
    labels = [dataset[i][1] for i in experiments.SHOWN_SCENES]
    monkeypatch.setattr(experiments, "kept_predictions", lambda name: shown.append(name) or labels)
    path = tmp_path / "docs" / "prediction.png"
    results.draw(dataset, path)
    assert shown == ["32s"] and path.read_bytes()[:4] == b"\x89PNG"
    assert not experiments.checkpoint("32s", 0).exists()
