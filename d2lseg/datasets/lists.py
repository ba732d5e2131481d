"""Lists of images to train and to validate on: kept, checked, or chosen at random."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .examination import Finding, some
from .sources import Item, Source


def split(
    names: Sequence[str],
    val_share: float = 0.2,
    seed: int = 0,
    source: Callable[[str], Any] | None = None,
) -> dict[str, list[str]]:
    """Divide images at random into ``"train"`` and ``"val"``, each a sorted list of IDs.

    Parameters
    ----------
    names : sequence of str
        The IDs, in any order.
    val_share : float
        Share to validate on, above 0 and below 1. Each list gets at least one image, or one source.
    seed : int
        The same seed gives the same lists.
    source : callable, optional
        Maps an ID to the source of its image (a film, a place, a patient). A source goes into one list as a
        whole; otherwise validation images would resemble training images more than new ones do.

    Raises
    ------
    ValueError
        If the share is out of range, an ID occurs twice, or there are fewer than two images or sources.
    """
    if not 0 < val_share < 1:
        raise ValueError(f"val_share is {val_share}; expected a share above 0 and below 1, such as 0.2")
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if list(names).count(name) > 1})
        raise ValueError(f"the name {twice[0]!r} occurs twice; rename one of the files")
    groups: dict[Any, list[str]] = {}
    for name in sorted(names):
        groups.setdefault(source(name) if source else name, []).append(name)
    if len(groups) < 2:
        what = "source" if source else "image"
        raise ValueError(f"{len(groups)} {what}; expected 2 or more, one to train on and one to validate on")
    keys = list(groups)
    val: list[str] = []
    for key in np.random.default_rng(seed).permutation(len(keys))[:-1]:  # the last is left to train on
        if val and len(val) >= round(val_share * len(names)):
            break
        val += groups[keys[key]]
    return {"train": sorted(set(names) - set(val)), "val": sorted(val)}


def choose_lists(
    found: Source, items: Sequence[Item], kept: Sequence[str], val_share: float, seed: int
) -> dict[str, list[str]]:
    """Take the lists that the source has, and choose at random only what is missing of train and val."""
    lists: dict[str, list[str]] = {}
    used = set(kept)
    for item in items:
        if item.split and item.name in used:
            lists.setdefault(item.split, []).append(item.name)
    for name, ids in found.lists.items():
        lists[name] = [one for one in ids if one in used]
    lists = {name: ids for name, ids in lists.items() if ids}
    if "train" in lists and "val" in lists:
        return lists
    elsewhere = {name for key, ids in lists.items() if key in ("val", "test") for name in ids}
    rest = lists.get("train") or [name for name in kept if name not in elsewhere]
    if "val" in lists:
        return lists | {"train": sorted(rest)}
    known = {key: ids for key, ids in lists.items() if key in ("test", "trainval")}
    return known | split(rest, val_share, seed)


def check_lists(
    lists: Mapping[str, Sequence[str]], names: Sequence[str], kept: Sequence[str]
) -> dict[str, list[str]]:
    """Return given lists without what was left out.

    Raises ValueError if a list is empty or names a missing image, or if an image is in both.
    """
    for key, members in lists.items():
        if missing := sorted(set(members) - set(names)):
            raise ValueError(f"the list {key!r} names {missing[0]!r}, but there is no such image")
    used = set(kept)
    chosen = {key: [name for name in members if name in used] for key, members in lists.items()}
    for key in ("train", "val"):
        if not chosen.get(key):
            raise ValueError(f"the list {key!r} is missing or empty; expected at least one ID")
    if both := sorted(set(chosen["train"]) & set(chosen["val"])):
        raise ValueError(f"{both[0]!r} is in both lists; do not validate on an image that is trained on")
    return chosen


def unlisted(source: str | Path, lists: Mapping[str, Sequence[str]], kept: Sequence[str]) -> list[Finding]:
    """Count the images that no list names."""
    rest = sorted(set(kept) - {name for members in lists.values() for name in members})
    what = f"{source}: {len(rest):,} on no list, and so never read: {some(rest)}"
    return [Finding(what, "add them to a list, if they are meant", warning=True)] if rest else []


def unknown(source: str | Path, lists: Mapping[str, Sequence[str]], items: Sequence[Item]) -> list[Finding]:
    """Count the lines of the source's lists that name no image."""
    names, findings = {item.name for item in items}, []
    for key, members in lists.items():
        if rest := [name for name in members if name not in names]:
            what = f"{source}: {len(rest):,} on the list {key}, but not among the images: {some(rest)}"
            findings.append(Finding(what, "put them there, or correct the list", warning=True))
    return findings


def write_lists(draft: Path, lists: Mapping[str, Sequence[str]]) -> None:
    """Write the lists of IDs."""
    folder = draft / "ImageSets" / "Segmentation"
    folder.mkdir(parents=True)
    for key, members in lists.items():
        text = "".join(f"{name}\n" for name in members)
        (folder / f"{key}.txt").write_text(text, encoding="utf-8", newline="\n")
