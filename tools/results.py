"""Score the checkpoint of notebook 05 and draw the README's picture: ``python -m tools.results``.

Prints the README's table of measured results. Run it from the repository's root, in the course's environment,
after notebook 05.
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import torch

from d2lseg import emojivoc, fcn, metrics, prediction, training, voc
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
    """Evaluate, print, draw."""
    model = fcn.load(voc.data_dir() / "checkpoints" / "fcn32s_emojivoc.pt")
    _, val_iter = voc.load_data_voc(emojivoc.prepare(), 16, (160, 224))
    print(table(training.evaluate(model, val_iter), model.notes))
    n = model.notes
    print(f"\n{n['epochs']} epochs, seed {n['seed']}, {n['precision']}, {n['threads']} threads, {n['torch']}")
    draw(model, val_iter.dataset, PICTURE)


if __name__ == "__main__":
    main()
