"""The textbook's recipe turns into ours one step at a time, and both are scored alike."""

from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import torch

from benchmarks import __main__ as benchmarks
from benchmarks import photos, textbook
from d2lseg import experiments, voc
from d2lseg.datasets.photos import seven_classes
from d2lseg.engine import files


@pytest.fixture
def quick(monkeypatch):
    """Crops that fit into the small photographs, and small batches."""
    monkeypatch.setattr(photos, "CROP", (32, 32))
    monkeypatch.setattr(photos, "OUR_CROP", (32, 32))
    monkeypatch.setattr(photos, "BATCH", 2)


def test_each_step_changes_one_thing_and_the_last_recipe_is_ours():
    names = [name for name in photos.RECIPES if "scratch" not in name]
    assert names == ["textbook", "rate x 10", "AdamW", "one cycle", "our crops", "ours"]
    recipes = [vars(photos.RECIPES[name]) for name in names]
    for name, before, after in zip(names[1:], recipes, recipes[1:], strict=False):
        changed = {key for key in before if before[key] != after[key]}
        assert len(changed - {"rate"}) == (name != "rate x 10"), name
    assert recipes[-1] == vars(photos.Recipe(adamw=True, one_cycle=True, our_data=True, ours=True))


@pytest.mark.parametrize("pretrained", [True, False])
def test_the_textbooks_network_takes_any_size_and_its_own_network_the_standardised_image(pretrained):
    torch.manual_seed(0)
    model = photos.Textbook(pretrained).eval()
    images = torch.randint(0, 256, (1, 3, 33, 65), dtype=torch.uint8)
    with torch.no_grad():
        logits = model(images)
        assert logits.shape == (1, 7, 33, 65)
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in (model.design.mean, model.design.std))
        whole = model.network((images / 255 - mean) / std)
    assert whole.shape == (1, 7, 64, 96) and torch.equal(whole[..., :33, :65], logits)
    assert model.network.transpose_conv.kernel_size == (64, 64)


def test_its_way_of_scoring_crops_and_takes_everything_else_for_background(photo_folder, quick):
    (batch,) = photos.validation_crops(photo_folder)  # 3 photographs: the last, smaller batch is left out
    images, labels = batch
    assert images.shape == (2, 3, 32, 32) and images.dtype == torch.uint8
    assert set(labels.unique().tolist()) <= {0, 1}, "cats, and void and aeroplanes as background"
    originals = [voc.read_image(photo_folder / "JPEGImages" / f"p{i}.jpg") for i in (9, 10, 11)]
    windows = torch.cat(
        [image.float().unfold(1, 32, 1).unfold(2, 32, 1).flatten(1, 2) for image in originals], 1
    )
    for image in images:
        assert (windows == image[:, None]).all(0).flatten(1).all(1).any(), (
            "the pixels of a photograph, unchanged"
        )
    again = photos.validation_crops(photo_folder)
    assert torch.equal(again[0][0], images), "the same crops for each model"


def test_its_way_counts_void_and_other_classes_as_background(photo_folder, quick):
    crops = photos.validation_crops(photo_folder)
    labels = torch.cat([labels for _, labels in crops])
    assert textbook.evaluate(photos.AllBackground(), crops) == pytest.approx(
        float((labels == 0).float().mean())
    )


def test_the_rate_follows_the_recipe(photo_folder, quick, monkeypatch):
    model = photos.Textbook(False)
    rates = []

    class Recorder(torch.optim.AdamW):
        def step(self):
            rates.append(self.param_groups[0]["lr"])

    monkeypatch.setattr(torch.optim, "AdamW", Recorder)
    batches = [(torch.zeros(2, 3, 32, 32, dtype=torch.uint8), torch.zeros(2, 32, 32, dtype=torch.uint8))]
    recipe = photos.Recipe(adamw=True, one_cycle=True, our_data=True)
    _, steps, _, curve = photos.fit(recipe, model, batches, seconds=1, score=lambda: 0.25, pace=0.25)
    assert steps == len(rates) == 4
    assert rates[0] == pytest.approx(photos.RATE / 25) and rates[-1] < max(rates) <= photos.RATE
    assert [score for _, score in curve] == [0.25] * 4


@pytest.mark.slow
def test_a_kept_pace_counts_the_time_instead_of_the_clock(photo_folder, quick):
    batches = [(torch.zeros(2, 3, 32, 32, dtype=torch.uint8), torch.zeros(2, 32, 32, dtype=torch.uint8))]
    plain = photos.Recipe(our_data=True)
    _, steps, seconds, curve = photos.fit(plain, photos.Textbook(False), batches, 3, lambda: 0.5, pace=0.5)
    assert steps == 6 and seconds == 3 and [second for second, _ in curve] == [0.5, 1, 1.5, 2, 2.5, 3]
    validation = voc.whole_images(voc.VOCSegDataset(photo_folder, "val", target_transform=seven_classes))
    _, steps, _, curve = photos.train(photo_folder, "ours, from scratch", 0, 3, None, pace=0.5)
    assert steps == 6 and curve == []
    _, steps, seconds, curve = photos.train(photo_folder, "ours", 0, 3, validation, pace=0.5)
    assert steps == 6 and seconds == 3 and curve[-1][0] == 3 and 0 <= curve[-1][1] <= 1


@pytest.mark.slow
def test_the_pace_is_measured_for_each_recipe(photo_folder, quick, monkeypatch, tmp_path):
    monkeypatch.setattr(photos, "PACE", tmp_path / "pace.csv")
    rows = photos.paces(photo_folder, ["textbook", "ours"], rounds=2, seconds=0.2)
    assert [row["recipe"] for row in rows] == ["textbook", "ours"]
    assert all(float(row["ms_step"]) > 0 for row in rows)
    monkeypatch.setattr(photos, "paces", lambda *_: rows)
    assert benchmarks.main(["photos", "--data", str(photo_folder), "--keep-pace"]) == 0
    assert files.read_csv(tmp_path / "pace.csv") == rows


@pytest.mark.slow
def test_measure_keeps_each_row_and_resumes(photo_folder, quick, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(experiments, "RESULTS", tmp_path)
    arguments = ["photos", "--data", str(photo_folder), "--minutes", "0.005", "--keep"]
    assert benchmarks.main(arguments) == 0
    assert [row["recipe"] for row in files.read_csv(tmp_path / "textbook.csv")] == ["textbook", "ours"]
    assert benchmarks.main([*arguments, "--all", "--figure", str(tmp_path / "figure.png")]) == 0
    rows = files.read_csv(tmp_path / "textbook.csv")
    assert [row["recipe"] for row in rows] == [
        "textbook",
        "ours",
        photos.BASELINE,
        *list(photos.RECIPES)[1:5],
        *list(photos.RECIPES)[6:],
    ]
    assert all(
        int(row["steps"]) >= (row["recipe"] != photos.BASELINE) and 0 <= float(row["its_way"]) <= 1
        for row in rows
    )
    assert {row["recipe"] for row in files.read_csv(tmp_path / "textbook_curve.csv")} == set(photos.PAIR)
    printed = capsys.readouterr().out
    assert (
        printed.count("| textbook, from scratch | ") == 1
        and (tmp_path / "figure.png").stat().st_size > 10_000
    )
    plt.close("all")


def test_the_table_has_means_and_ranges():
    rows = [
        {"recipe": "ours", "steps": steps, "its_way": "0.5", "pixel_acc": acc, "miou": "0.25"}
        for steps, acc in (("10", "0.6"), ("20", "0.8"))
    ]
    assert photos.table(rows[:1]).splitlines()[-1] == "| ours | 10 | 0.500 | 0.600 | 0.250 |"
    line = photos.table(rows).splitlines()[-1]
    assert line == "| ours | 15 | 0.500 (0.500 to 0.500) | 0.700 (0.600 to 0.800) | 0.250 (0.250 to 0.250) |"


def test_the_command_asks_for_its_folder(capsys):
    with pytest.raises(SystemExit):
        benchmarks.main(["photos"])
    assert "photos needs --data FOLDER" in capsys.readouterr().err


def test_the_page_of_benchmarks_shows_the_kept_table():
    page = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
    rows = files.read_csv(experiments.RESULTS / "textbook.csv")
    assert photos.table(rows) in page.read_text(encoding="utf-8")
