"""What is wrong with a dataset as a whole, told in the same words by the importer and the doctor.

Files are added one by one, each with what its reader found in it; the findings come at the end.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..classes import VOID, ClassList
from ..engine.images import MaskFile, oddities

BLACK = (0, 0, 0)
Colour = tuple[int, ...]


@dataclass(frozen=True)
class Finding:
    """Something wrong (a fault) or unusual (a warning, with which training still works).

    Parameters
    ----------
    what : str
        What was found, and where.
    advice : str
        What to do, unless ``what`` already says it.
    """

    what: str
    advice: str = ""
    warning: bool = False

    def __str__(self) -> str:
        words = f"{self.what}; {self.advice}" if self.advice else self.what
        # on one line, even if a file name or a library's message contains line breaks
        return f"{'warning' if self.warning else 'fault'}: {' '.join(words.split())}"


class BadFiles(ValueError):
    """Several faults of a dataset, which `findings` lists; nothing was written."""

    def __init__(self, place: str | Path, findings: Sequence[Finding] = ()) -> None:
        self.findings = list(findings)
        lines = "\n".join(map(str, findings))
        super().__init__(f"{place}: {len(self.findings)} faults; nothing was written\n{lines}")


def stop_at(place: str | Path, findings: Iterable[Finding], errors: Iterable[Exception]) -> None:
    """Raise if there is a fault: a single error as its reader raised it, several as `BadFiles`."""
    faults, singles = [finding for finding in findings if not finding.warning], list(errors)
    if len(singles) == 1 and not faults:
        raise singles[0]
    if len(faults) == 1 and not singles:
        raise ValueError(str(faults[0]).removeprefix("fault: "))
    if faults or singles:
        raise BadFiles(place, [*faults, *(Finding(str(error)) for error in singles)])


def some(names: Iterable[object], most: int = 5) -> str:
    """Return a few of many names."""
    names = list(names)
    shown = ", ".join(map(str, names[:most]))
    return f"{shown} and {len(names) - most:,} more" if len(names) > most else shown


class Examination:
    """Collect what the files of a dataset hold, and judge them together.

    Attributes
    ----------
    counts : ndarray
        int64, (256,): pixels of each index in the labels.
    """

    def __init__(self) -> None:
        self.counts = np.zeros(256, np.int64)
        self._odd: dict[tuple[str, str], list[str]] = defaultdict(list)  # what is odd, advice -> files
        # index -> the colours that palettes give it -> files
        self._palettes: dict[int, dict[Colour, list[str]]] = defaultdict(lambda: defaultdict(list))

    def add_image(self, path: str | Path) -> None:
        """Note what of an image file is not as its header says."""
        for odd in oddities(path):
            self._odd[odd].append(os.path.basename(path))

    def add_doubt(self, path: str | Path, what: str, advice: str) -> None:
        """Note what of a file only the user can know."""
        self._odd[what, advice].append(os.path.basename(path))

    def add_label(self, label: np.ndarray) -> None:
        """Count the indices of a label, uint8 (H, W)."""
        self.counts += np.bincount(np.asarray(label).ravel(), minlength=256)

    def add_palette(self, path: str | Path, mask: MaskFile) -> None:
        """Note the colours that the palette of a mask file gives the indices in use."""
        if mask.palette is None:
            return
        for index in np.unique(mask.pixels).tolist():
            colour = tuple(mask.palette[3 * index : 3 * index + 3])
            if index != VOID and len(colour) == 3:
                self._palettes[index][colour].append(os.path.basename(path))

    def findings(self, place: str | Path, classes: ClassList | None, void: bool = True) -> list[Finding]:
        """Judge everything that was added; `place` names the dataset.

        Without `classes`, or without colours of their own, palettes can only be compared with each other.
        Unless `void`, it is known what 255 means.
        """
        return [
            *(self._void_findings(place, classes) if void else []),
            *self._palette_findings(place, classes),
            *(
                Finding(f"{place}: {some(files)}: {what}", advice, warning=True)
                for (what, advice), files in self._odd.items()
            ),
        ]

    def absent(self, classes: ClassList) -> list[str]:
        """Return the names of the classes that no label holds."""
        return [name for name, count in zip(classes.names, self.counts, strict=False) if not count]

    def _void_findings(self, place: str | Path, classes: ClassList | None) -> list[Finding]:
        """Tell a foreground of 255, which would be void, from void."""
        if classes is None or not self.counts[VOID] or not (absent := self.absent(classes)):
            return []
        present = np.flatnonzero(self.counts[:VOID]).tolist()
        if len(present) > 1:
            what = f"{place}: never in the masks: {some(absent)}, while {VOID}, void, is"
            advice = f"if {VOID} means one of them, import the masks again with --map"
            return [Finding(what, advice, warning=True)]
        others = f"{present[0]} and {VOID}" if present else f"{VOID} alone"
        what = f"{place}: the masks hold {others}, and {VOID} means void: no {some(absent)} can be learned"
        if present and present[0]:
            advice = f"if {VOID} is the background, import the masks again with --map {present[0]}:1 {VOID}:0"
        else:
            advice = f"if {VOID} is the foreground, import the masks again with --map 0:0 {VOID}:1"
        return [Finding(what, advice)]

    def _palette_findings(self, place: str | Path, classes: ClassList | None) -> list[Finding]:
        """Look for palettes that contradict each other, or that put black on an index above 0."""
        advice = (
            "the stored numbers are no classes: import the masks with a list of classes that has their "
            "colours, such as 'background 0 0 0', or with --map if the numbers are right"
        )
        if classes is not None and classes.colours is not None:
            return []  # each palette has been compared with these colours
        for index, colours in sorted(self._palettes.items()):
            if len(colours) > 1:  # one index is enough: the others follow from it
                each = " and ".join(f"{colour} in {some(files, 2)}" for colour, files in colours.items())
                return [Finding(f"{place}: the palettes give index {index} the colours {each}", advice)]
            if index and BLACK in colours and BLACK not in self._palettes.get(0, {}):
                what = f"{place}: the palettes put black on index {index}, and another colour on 0"
                return [Finding(f"{what}, the background: {some(colours[BLACK])}", advice)]
        return []
