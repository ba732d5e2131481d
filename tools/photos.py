"""How the shipped weights were made: ``python -m tools.photos`` with a folder of Pascal VOC's photographs.

``search`` trains each recipe for about five minutes and scores it on photographs of the official *train*
list that it was not trained on, so that the validation photographs have no part in the choice. ``train``
trains the chosen recipe on all of ``train_aug``, and resumes after an interruption. ``score`` scores a
checkpoint on the validation photographs, with bootstrap intervals, and keeps the result in
``d2lseg/results/photos.csv``; ``table`` prints what is kept there. ``limits`` measures a checkpoint at other
scales, on people of different sizes and on drawings; ``calibrate`` compares its confidence with its accuracy,
and keeps the tables in ``d2lseg/results/photos_calibration.csv``. ``pack`` writes the file that ships, and
``draw`` the README's figure from it.

The folder is in VOC layout, with the lists ``train``, ``train_aug`` (with the masks of SBD) and ``val``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.transforms.functional import InterpolationMode, resize

from d2lseg import emojivoc, fcn, metrics, plotting, prediction, training, voc
from d2lseg.classes import VOID
from d2lseg.datasets import photos
from d2lseg.engine import checkpoint, files

HELD_OUT = 3  # every third photograph of the official train list is kept from the search's training
PASSES = 1.2  # over the photographs in the search, with the crop of `BASE`; larger crops get fewer
SHIPPED = Path(fcn.__file__).parent / "weights" / "photos.pt"
FIGURE = Path(fcn.__file__).parents[1] / "docs" / "photos.jpg"
CALIBRATION = Path(fcn.__file__).parent / "results" / "photos_calibration.csv"
KEPT = Path(fcn.__file__).parent / "results" / "photos.csv"
SIZES = {"up to 1 %": (0, 0.01), "1 to 5 %": (0.01, 0.05), "5 to 20 %": (0.05, 0.2), "over 20 %": (0.2, 1)}


@dataclass(frozen=True)
class Recipe:
    """All that a training run depends on, besides its length and seed."""

    variant: str = "8s"
    backbone: str = "efficientnet_lite0"
    weights: str | None = "imagenet"
    geometry: str = "corrected"
    crop: int = 288
    batch: int = 8
    lr: float = 1e-3
    backbone_lr: float = 1e-3
    scale: tuple[float, float] = (0.5, 2.0)
    jitter: float = 0.0
    dice: bool = False
    freeze_norm: bool = False


BASE = Recipe()
RECIPES = {
    "base": BASE,
    "ResNet-18 from scratch": replace(BASE, backbone="resnet18", weights=None),
    "textbook geometry": replace(BASE, geometry="textbook"),
    "rate x 2": replace(BASE, lr=2e-3, backbone_lr=2e-3),
    "rate / 2": replace(BASE, lr=5e-4, backbone_lr=5e-4),
    "backbone's rate / 4": replace(BASE, lr=2e-3, backbone_lr=5e-4),
    "batch norm frozen": replace(BASE, freeze_norm=True),
    "jitter": replace(BASE, jitter=0.3),
    "with Dice": replace(BASE, dice=True),
    "batch 16, crop 224": replace(BASE, batch=16, crop=224),
    "crop 384, batch 4": replace(BASE, batch=4, crop=384),
}
CHOSEN = BASE
COMMANDS = ("search", "train", "score", "table", "limits", "calibrate", "pack", "draw")


def build(recipe: Recipe, seed: int) -> fcn.FCN:
    """Build a recipe's model, always from the same random numbers."""
    training.set_seed(seed)
    return fcn.FCN(
        recipe.variant,
        len(photos.NAMES),
        recipe.backbone,
        geometry=recipe.geometry,
        weights=recipe.weights,
        classes=photos.CLASSES,
    )


def load(folder: Path, recipe: Recipe, seed: int, split: str) -> tuple[DataLoader, voc.VOCSegDataset]:
    """Return batches of a list, and its dataset, whose ``ids`` a caller may cut down."""
    train_iter, _ = voc.load_data_voc(
        folder,
        recipe.batch,
        (recipe.crop, recipe.crop),
        seed=seed,
        cache=True,
        target_transform=photos.seven_classes,
        scale=recipe.scale,
        jitter=recipe.jitter,
        train_split=split,
    )
    dataset = train_iter.dataset
    assert isinstance(dataset, voc.VOCSegDataset)
    return train_iter, dataset


def batches(folder: Path, recipe: Recipe, seed: int, without: Sequence[str]) -> DataLoader:
    """Load ``train_aug``, but not the photographs named in `without`."""
    train_iter, dataset = load(folder, recipe, seed, "train_aug")
    dataset.ids = [name for name in dataset.ids if name not in set(without)]
    return train_iter


def run(
    folder: Path,
    recipe: Recipe,
    seed: int = 0,
    epochs: float = 1,
    checkpoint_path: Path | None = None,
    without: Sequence[str] = (),
) -> tuple[fcn.FCN, training.History]:
    """Train one recipe."""
    model = build(recipe, seed)
    if recipe.freeze_norm:
        fcn.freeze(model.backbone, only=torch.nn.BatchNorm2d)
    history = training.train(
        model,
        batches(folder, recipe, seed, without),
        epochs=epochs,
        lr=recipe.lr,
        loss=training.cross_entropy_and_dice if recipe.dice else training.segmentation_loss,
        parameters=fcn.parameter_groups(model, recipe.backbone_lr),
        seed=seed,
        live=False,
        checkpoint_path=checkpoint_path,
        resume=checkpoint_path is not None,
    )
    return model, history


def matrices(model: fcn.FCN, dataset: voc.VOCSegDataset) -> Tensor:
    """Return the confusion matrix of each photograph, whole: int64 (N, C, C)."""
    pairs = (dataset[index] for index in range(len(dataset)))
    count = len(photos.NAMES)
    return torch.stack([metrics.confusion_matrix(prediction.predict(model, x), y, count) for x, y in pairs])


def search(folder: Path, names: list[str], out: Path) -> None:
    """Train and score recipes, and append a row for each to a CSV file."""
    held_out = voc.VOCSegDataset(folder, "train", target_transform=photos.seven_classes)
    held_out.ids = held_out.ids[::HELD_OUT]
    for name in names:
        recipe = RECIPES[name]
        passes = PASSES * (BASE.crop / recipe.crop) ** 2  # so that all see the same number of pixels
        model, history = run(folder, recipe, epochs=passes, without=held_out.ids)
        found = metrics.scores(matrices(model, held_out).sum(0))
        row = {"recipe": name, "miou": f"{found.miou:.4f}", "pixel_acc": f"{found.pixel_acc:.4f}"}
        row |= {"passes": f"{passes:.2f}", "minutes": f"{history.rows[-1]['seconds'] / 60:.1f}"}
        print(row, flush=True)
        files.write_csv(out, [*files.read_csv(out), row])


def validation(folder: Path) -> voc.VOCSegDataset:
    """Return the photographs that no training run saw, with the seven classes."""
    return voc.VOCSegDataset(folder, "val", target_transform=photos.seven_classes)


def score(folder: Path, model: fcn.FCN, kept: Path) -> None:
    """Score a model on the validation photographs; print and keep values and 95 % intervals."""
    each = matrices(model, validation(folder))
    total = each.sum(0)
    drawn = [_values(scores) for scores in metrics.bootstrap(each)]
    rows = []
    for name, value in _values(metrics.scores(total)).items():
        samples = torch.tensor([values[name] for values in drawn], dtype=torch.float64)
        low, high = samples.nanquantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
        rows.append({"epochs": model.notes["epochs"], "seed": model.notes["seed"], "score": name})
        rows[-1] |= {"value": f"{value:.4f}", "low": f"{low:.4f}", "high": f"{high:.4f}"}
        print(f"{name:15} {value:.3f}  ({low:.3f} to {high:.3f})")
    print(f"{len(each)} photographs; all background: {metrics.background_baseline(total)}", flush=True)
    this = (str(model.notes["epochs"]), str(model.notes["seed"]))
    others = [row for row in files.read_csv(kept) if (row["epochs"], row["seed"]) != this]
    files.write_csv(kept, [*others, *rows])


def _values(found: metrics.Scores) -> dict[str, float]:
    """Return the scores that are kept, by name."""
    by_class = dict(zip(photos.NAMES, found.per_class.tolist(), strict=True))
    return {"pixel accuracy": found.pixel_acc, "mIoU": found.miou} | by_class


def table(rows: list[dict[str, str]]) -> str:
    """Write the kept scores as a table in Markdown: one row a score, one column a run."""
    runs = list(dict.fromkeys((row["epochs"], row["seed"]) for row in rows))
    lines = [
        "| score | " + " | ".join(f"{float(epochs):g} passes, seed {seed}" for epochs, seed in runs) + " |"
    ]
    lines.append("| --- |" + " --- |" * len(runs))
    for name in dict.fromkeys(row["score"] for row in rows):
        cells = {
            (row["epochs"], row["seed"]): "{value:.3f} ({low:.3f} to {high:.3f})".format(
                **{key: float(row[key]) for key in ("value", "low", "high")}
            )
            for row in rows
            if row["score"] == name
        }
        lines.append(f"| {name} | " + " | ".join(cells[run] for run in runs) + " |")
    return "\n".join(lines)


def at_scale(model: fcn.FCN, dataset: voc.VOCSegDataset, factor: float) -> metrics.Scores:
    """Score predictions for photographs of another size, brought back to the masks' size."""
    total = torch.zeros(len(photos.NAMES), len(photos.NAMES), dtype=torch.int64)
    for image, label in (dataset[index] for index in range(len(dataset))):
        size = [max(1, round(factor * side)) for side in label.shape]
        guess = prediction.predict(model, resize(image, size, antialias=True))
        guess = resize(guess[None], list(label.shape), InterpolationMode.NEAREST_EXACT)[0]
        total += metrics.confusion_matrix(guess, label, len(photos.NAMES))
    return metrics.scores(total)


def people_by_size(model: fcn.FCN, dataset: voc.VOCSegDataset) -> dict[str, float]:
    """Return the share of people's pixels that are found, by how much of the photograph people fill."""
    person, found = photos.NAMES.index("person"), dict.fromkeys(SIZES, (0, 0))
    for image, label in (dataset[index] for index in range(len(dataset))):
        people = label == person
        share = people.float().mean().item()
        name = next((name for name, (low, high) in SIZES.items() if low < share <= high), None)
        if name is not None:
            hits = int((prediction.predict(model, image)[people] == person).sum())
            found[name] = (found[name][0] + hits, found[name][1] + int(people.sum()))
    return {name: hits / max(pixels, 1) for name, (hits, pixels) in found.items()}


def limits(folder: Path, model: fcn.FCN) -> None:
    """Measure a model where it was not meant to be used, and print what comes out."""
    val = validation(folder)
    for factor in (0.25, 0.5, 1, 2):
        print(f"photographs times {factor:g}: {at_scale(model, val, factor)}", flush=True)
    for name, found in people_by_size(model, val).items():
        print(f"people who fill {name} of the photograph: {found:.0%} of their pixels are found", flush=True)
    scenes = voc.VOCSegDataset(emojivoc.prepare(), "val", target_transform=photos.seven_classes)
    print(f"drawings, {len(scenes)} scenes of EmojiVOC: {metrics.scores(matrices(model, scenes).sum(0))}")


def sampled(model: fcn.FCN, dataset: voc.VOCSegDataset, brightness: float) -> list[tuple[Tensor, Tensor]]:
    """Return logits and labels of every fourth pixel in both directions, for each photograph."""
    found = []
    for image, label in (dataset[index] for index in range(len(dataset))):
        logits = prediction.predict_logits(model, (brightness * image).to(torch.uint8))
        found.append((logits[:, ::4, ::4].clone(), label[::4, ::4]))
    return found


def best_temperature(pairs: Sequence[tuple[Tensor, Tensor]]) -> float:
    """Return the number that the logits should be divided by, for the lowest cross-entropy."""
    logits = torch.cat([z.flatten(1).T for z, _ in pairs])  # (pixels, C)
    labels = torch.cat([y.flatten() for _, y in pairs]).long()
    temperatures = torch.linspace(0.5, 4, 141).tolist()
    return min(temperatures, key=lambda t: float(F.cross_entropy(logits / t, labels, ignore_index=VOID)))


def calibrate(folder: Path, model: fcn.FCN, kept: Path) -> None:
    """Choose a temperature on every other photograph, and keep reliability tables of the others."""
    rows = []
    for name, brightness in {"as they are": 1.0, "dark": 0.4}.items():
        pairs = sampled(model, validation(folder), brightness)
        for t in (1.0, best_temperature(pairs[::2])):
            table = torch.stack([metrics.reliability(z / t, y) for z, y in pairs[1::2]]).sum(0)
            pixels, sure, right = table.sum(0).tolist()
            print(
                f"{name:12} T {t:.2f}: confidence {sure / pixels:.3f}, right {right / pixels:.3f}, "
                f"calibration error {metrics.calibration_error(table):.3f}"
            )
            for pixels, sure, right in table.tolist():
                row = {"photographs": name, "temperature": f"{t:.3f}", "pixels": f"{pixels:.0f}"}
                rows.append(row | {"confidence": f"{sure:.1f}", "right": f"{right:.0f}"})
    files.write_csv(kept, rows)


def pack(model: fcn.FCN, path: Path = SHIPPED) -> Path:
    """Write the file that ships."""
    return checkpoint.write(path, checkpoint.halved(checkpoint.describe(model, **model.notes)))


def draw(model: fcn.FCN, path: Path = FIGURE) -> Path:
    """Draw the photographs that ship, with the predicted classes over them below."""
    shown = [voc.read_image(prediction.sample_photo(name)) for name in prediction.PHOTOS]
    answers = [prediction.predict(model, photo) for photo in shown]
    colours = plotting.palette_for(answers, "safe")
    over = [plotting.overlay(x, y, colormap=colours) for x, y in zip(shown, answers, strict=True)]
    figure = plotting.show_images([*shown, *over], 2, len(shown), scale=2.6)[0].figure
    legend = {"loc": "outside lower center", "ncols": 4}
    plotting.class_legend(figure, *answers, class_names=model.classes, colormap=colours, **legend)
    figure.savefig(path, dpi=100, pil_kwargs={"quality": 85})
    return path


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    matplotlib.use("Agg")
    parser = argparse.ArgumentParser(prog="python -m tools.photos", description=__doc__.split("\n\n")[0])
    parser.add_argument("what", choices=COMMANDS)
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="the photographs, in VOC layout")
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES), metavar="NAME")
    parser.add_argument("--epochs", type=float, default=30, help="length of train (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=voc.data_dir() / "photos", metavar="DIR")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    trained = options.out / f"seed{options.seed}.pt"
    if options.what == "search":
        search(options.data, options.recipes, options.out / "search.csv")
    elif options.what == "train":
        started = time.perf_counter()
        state = options.out / f"seed{options.seed}-state.pt"
        model, _ = run(options.data, CHOSEN, options.seed, epochs=options.epochs, checkpoint_path=state)
        notes = {"recipe": vars(CHOSEN), "seed": options.seed, "epochs": options.epochs}
        notes |= {"minutes": round((time.perf_counter() - started) / 60, 1)}
        fcn.save(model, trained, **notes)
    elif options.what == "score":
        score(options.data, fcn.load(trained), KEPT)
    elif options.what == "table":
        print(table(files.read_csv(KEPT)))
    elif options.what == "limits":
        limits(options.data, fcn.load(trained))
    elif options.what == "calibrate":
        calibrate(options.data, fcn.load(trained), CALIBRATION)
    elif options.what == "pack":
        print(pack(fcn.load(trained)))
    else:
        print(draw(fcn.pretrained()))


if __name__ == "__main__":
    main()
