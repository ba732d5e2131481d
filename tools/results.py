"""Print the table of `docs/results.md` and draw its figure: ``python -m tools.results``.

It reads what ``python -m d2lseg.experiments`` has kept, and the validation scenes. Run it from the root of
the repository, in the course's environment.
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import torch

from d2lseg import emojivoc, experiments, metrics
from d2lseg.classes import VOC_CLASSES
from d2lseg.plotting import show_predictions
from d2lseg.voc import VOCSegDataset

ROOT = Path(__file__).resolve().parent.parent
FIGURE = ROOT / "docs" / "prediction.png"
SHOWN_SETUP = "32s"


def experiments_table() -> str:
    """Format the kept scores as a Markdown table: means over three seeds, and largest minus smallest."""
    speed = {row["kind"]: row for row in experiments.read("speed")}
    lines = [
        "| model, three seeds | steps | pixel accuracy | mIoU | mIoU within 3 px of a boundary | per image |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, setup in experiments.SETUPS.items():
        columns = (experiments.mean_and_spread(name, c) for c in ("pixel_acc", "miou", "band_3"))
        scores = " | ".join(f"{mean:.3f} (spread {spread:.3f})" for mean, spread in columns)
        time = f"{float(speed[setup.kind]['ms_image']):.1f} ms"
        lines.append(f"| FCN-{name} | {setup.steps} | {scores} | {time} |")
    return "\n".join(lines)


def baseline_line(dataset: VOCSegDataset) -> str:
    """Score a prediction of background everywhere on whole validation images, in one sentence."""
    matrix, classes = 0, len(VOC_CLASSES)
    for _, label in dataset:
        matrix = matrix + metrics.confusion_matrix(torch.zeros_like(label), label, classes)
    base = metrics.background_baseline(matrix)
    return (
        f"Predicting background everywhere scores {base.pixel_acc:.3f} in pixel accuracy, "
        f"{base.mean_acc:.3f} in mean accuracy and {base.miou:.3f} in mIoU "
        f"on the {len(dataset)} validation scenes."
    )


def draw(dataset: VOCSegDataset, path: Path) -> None:
    """Draw the scenes in `experiments.SHOWN_SCENES` with kept predictions and true labels, as a PNG file."""
    images, labels = zip(*(dataset[i] for i in experiments.SHOWN_SCENES), strict=True)
    show_predictions(images, experiments.kept_predictions(SHOWN_SETUP), labels)
    path.parent.mkdir(exist_ok=True)
    plt.savefig(path, dpi=90)
    plt.close()


def main() -> None:
    """Print the table and the baseline, and draw the figure."""
    dataset = VOCSegDataset(emojivoc.prepare(), "val")
    print(f"{experiments_table()}\n\n{baseline_line(dataset)}")
    draw(dataset, FIGURE)


if __name__ == "__main__":
    main()
