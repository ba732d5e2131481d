"""Score the checkpoint of notebook 05 and draw the README's picture: ``python -m tools.results``.

Prints the README's tables of measured results. Run it from the repository's root, in the course's
environment, after notebook 05. One table only reads what ``python -m d2lseg.experiments`` has kept.
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import torch

from d2lseg import emojivoc, experiments, fcn, metrics, prediction, training, voc
from d2lseg.plotting import show_predictions

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "prediction.png"
SHOWN = range(0, 25, 5)  # every fifth validation scene: not picked by hand


def table(matrix: torch.Tensor, notes: dict) -> str:
    """Write the scores and their baseline as a Markdown table.

    Parameters
    ----------
    matrix : Tensor
        Confusion matrix of the validation scenes, (21, 21).
    notes : dict
        What notebook 05 kept with its checkpoint.

    Returns
    -------
    str
        Markdown.
    """
    ours, base = metrics.scores(matrix), metrics.background_baseline(matrix)
    rows = [("all background (no training)", base, "-"), ("FCN-32s", ours, f"{notes['seconds']:.0f} s")]
    lines = [
        "| EmojiVOC, 200 validation scenes | pixel accuracy | mean accuracy | mIoU | training time |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, s, seconds in rows:
        lines.append(f"| {name} | {s.pixel_acc:.3f} | {s.mean_acc:.3f} | {s.miou:.3f} | {seconds} |")
    return "\n".join(lines)


def experiments_table() -> str:
    """Write the kept scores of the offline experiments as a Markdown table.

    Returns
    -------
    str
        Markdown: the mean of three seeds, and the largest value minus the smallest.
    """
    speed = {row["kind"]: row for row in experiments.read("speed")}
    lines = [
        "| model, three seeds | steps | pixel accuracy | mIoU | mIoU within 3 px of a boundary | a picture |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, setup in experiments.SETUPS.items():
        columns = (experiments.mean_and_spread(name, c) for c in ("pixel_acc", "miou", "band_3"))
        scores = " | ".join(f"{mean:.3f} (spread {spread:.3f})" for mean, spread in columns)
        picture = f"{float(speed[setup.kind]['ms_picture']):.1f} ms"
        lines.append(f"| FCN-{name} | {setup.steps} | {scores} | {picture} |")
    return "\n".join(lines)


def draw(model: torch.nn.Module, dataset: voc.VOCSegDataset, path: Path) -> None:
    """Draw image, prediction and truth of a few validation scenes.

    Parameters
    ----------
    model : nn.Module
        The trained model.
    dataset : VOCSegDataset
        Whole validation images.
    path : Path
        The PNG file to write.
    """
    images, labels = zip(*(dataset[i] for i in SHOWN), strict=True)
    show_predictions(images, [prediction.predict(model, image) for image in images], labels)
    path.parent.mkdir(exist_ok=True)
    plt.savefig(path, dpi=90)


def main() -> None:
    """Print, evaluate, draw."""
    print(experiments_table() + "\n")
    model = fcn.load(voc.data_dir() / "checkpoints" / "fcn32s_emojivoc.pt")
    _, val_iter = voc.load_data_voc(emojivoc.prepare(), 16, (160, 224))
    print(table(training.evaluate(model, val_iter), model.notes))
    n = model.notes
    print(f"\n{n['epochs']} epochs, seed {n['seed']}, {n['precision']}, {n['threads']} threads, {n['torch']}")
    draw(model, val_iter.dataset, PICTURE)


if __name__ == "__main__":
    main()
