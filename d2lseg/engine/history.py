"""What a training run measured, as a table, a file and a curve that grows while it runs."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from . import distributed, files

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass
class History:
    """What a training run measured, one row per epoch.

    Parameters
    ----------
    settings : dict
        Device, precision, seed, learning rate and so on.
    rows : list of dict
        Keys ``epoch``, ``loss``, ``images_per_second``, ``seconds`` (since the start) and, with a validation
        set, ``pixel_acc``, ``miou``, ``baseline_acc``, ``baseline_miou``.
    interrupted : bool
        Whether the run was stopped before its end.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, float]] = field(default_factory=list)
    interrupted: bool = False

    def __str__(self) -> str:
        columns = ["epoch", "loss", "pixel_acc", "miou", "images_per_second", "seconds"]
        heads = ["epoch", "loss", "pixel acc", "mIoU", "images/s", "seconds"]
        shapes = ["{:.0f}", "{:.3f}", "{:.3f}", "{:.3f}", "{:.1f}", "{:.0f}"]
        lines = ["  ".join(f"{head:>9}" for head in heads)]
        for row in self.rows:
            cells = (s.format(row[c]) if c in row else "-" for c, s in zip(columns, shapes, strict=True))
            lines.append("  ".join(f"{cell:>9}" for cell in cells))
        return "\n".join(lines)

    def interrupt(self, epoch: int) -> None:
        """Note that the run was stopped in an epoch, and say so in the first process."""
        self.interrupted = True
        if distributed.ranks().first:
            print(f"Interrupted in epoch {epoch}: the model keeps what it has learned so far.")

    def write_csv(self, path: str | os.PathLike) -> Path:
        """Write the rows to a CSV file, whose first line names the columns.

        Raises
        ------
        ValueError
            If no epoch has ended yet.
        """
        if not self.rows:
            raise ValueError(f"{path}: nothing to write, no epoch has ended yet")
        return files.write_csv(path, self.rows)

    def plot(self, figure: Figure | None = None) -> Figure:
        """Draw the loss on the left, and the validation scores with their baselines on the right.

        Parameters
        ----------
        figure : Figure, optional
            A figure to redraw; a new one of pyplot's by default.
        """
        if figure is None:
            import matplotlib.pyplot as plt  # loaded only where a figure is wanted: a cluster needs none

            figure = plt.figure(figsize=(8, 2.8), layout="constrained")
        figure.clear()
        left, right = figure.subplots(1, 2)
        for ax in (left, right):
            ax.locator_params(axis="x", integer=True, min_n_ticks=1)  # there are no half epochs
        epochs = [row["epoch"] for row in self.rows]
        left.plot(epochs, [row["loss"] for row in self.rows], "o-", color="#0072b2")
        left.set(xlabel="epoch", ylabel="training loss", ylim=(0, None))
        scored = [row for row in self.rows if "miou" in row]  # a resumed run may gain or lose its val_iter
        if scored:
            for key, base, name, color in (
                ("pixel_acc", "baseline_acc", "pixel accuracy", "#d55e00"),
                ("miou", "baseline_miou", "mIoU", "#009e73"),
            ):
                values = [row[key] for row in scored]
                right.plot([row["epoch"] for row in scored], values, "o-", color=color, label=name)
                right.axhline(scored[0][base], ls="--", color=color, label=f"{name}, all background")
            right.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
        right.set(xlabel="epoch", ylabel="validation score", ylim=(0, 1))
        return figure


class LivePlot:
    """Redraw a history in one place of a notebook; outside notebooks print its newest row."""

    def __init__(self, history: History, live: bool = True) -> None:
        self.history = history
        self.figure: Figure | None = None
        self.handle: Any = None  # IPython's, for drawing anew in the same place
        self.live = live and distributed.ranks().first

    def update(self) -> None:
        """Show the newest row, if the plot is live."""
        if not self.live:
            return
        if not _in_notebook():
            lines = str(self.history).splitlines()
            tqdm.write("\n".join(lines if len(lines) == 2 else lines[-1:]))  # above the bar, not into it
            return
        import matplotlib.pyplot as plt
        from IPython.display import display

        self.figure = self.history.plot(self.figure)
        if self.handle is None:
            self.handle = display(self.figure, display_id=True)
        else:
            self.handle.update(self.figure)
        plt.close(self.figure)  # or the notebook would draw it once more at the end of the cell


def _in_notebook() -> bool:
    """Whether this process is a Jupyter kernel."""
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    return getattr(get_ipython(), "kernel", None) is not None
