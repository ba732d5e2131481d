"""How hard is EmojiVOC? ``python -m tools.emojivoc_statistics [FOLDER]`` prints it for both lists."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from d2lseg import emojivoc, voc
from d2lseg.engine import layout

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


@dataclass(frozen=True)
class Statistics:
    """The difficulty of a set of scenes.

    Attributes
    ----------
    scenes, objects : int
        How many there are.
    background_share : float
        Background by labelled (not void) pixels: the pixel accuracy of predicting background everywhere.
    area_quantiles : dict of float to float
        `QUANTILES` of an object's labelled pixels as a share of its image.
    occluded_scenes, cut_scenes : float
        Share of scenes in which an object loses at least 5 % of its pixels to objects in front of it, or to
        the border of the image.
    scenes_per_class : dict of str to int
        In how many scenes each class is labelled.
    """

    scenes: int
    objects: int
    background_share: float
    area_quantiles: dict[float, float]
    occluded_scenes: float
    cut_scenes: float
    scenes_per_class: dict[str, int]


def statistics(folder: str | Path, split: str = "trainval") -> Statistics:
    """Measure how difficult the scenes of a drawn set are.

    Pixel counts come from the masks, occluded and cut objects from the notes kept while drawing. Without the
    notes or the list, it is a FileNotFoundError.
    """
    folder = Path(folder)
    notes = emojivoc.read_scenes(folder).get("objects")
    if notes is None or not layout.list_path(folder, split).is_file():
        raise FileNotFoundError(f"{folder}: no EmojiVOC split {split!r} here. Draw it: emojivoc.prepare()")
    names = layout.read_ids(folder, split)
    masks = [voc.read_mask(layout.pair_paths(folder, name)[1]) for name in names]
    counts = torch.stack([torch.bincount(mask.flatten(), minlength=256) for mask in masks])  # (scenes, 256)
    return _summarise(counts[:, : len(voc.VOC_CLASSES)], [notes[name] for name in names])


def _summarise(labelled: torch.Tensor, notes: list[list[dict]]) -> Statistics:
    """Summarise pixel counts (scenes, C) and the notes on each scene's objects."""
    areas = [thing["area"] for scene in notes for thing in scene]
    per_class = (labelled > 0).sum(0).tolist()
    return Statistics(
        scenes=len(notes),
        objects=len(areas),
        background_share=(labelled[:, 0].sum() / labelled.sum()).item(),
        area_quantiles=dict(zip(QUANTILES, np.quantile(areas, QUANTILES).tolist(), strict=True)),
        occluded_scenes=float(np.mean([any(o["visible"] < 0.95 for o in scene) for scene in notes])),
        cut_scenes=float(np.mean([any(o["inside"] < 0.95 for o in scene) for scene in notes])),
        scenes_per_class=dict(zip(voc.VOC_CLASSES[1:], per_class[1:], strict=True)),
    )


def main(folder: str | Path | None = None) -> None:
    """Print the statistics of both lists, of the default set if no folder is given."""
    folder = emojivoc.prepare() if folder is None else folder
    for split in ("train", "val"):
        print(split)
        for name, value in vars(statistics(folder, split)).items():
            print(f"    {name}: {value}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
