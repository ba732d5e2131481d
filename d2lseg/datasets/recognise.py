"""Find out in which tool's form a dataset is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..engine.files import user_path
from ..engine.images import is_image_file
from .coco import coco_source, is_coco, missing_parts
from .examination import Finding, some
from .labelme import is_labelme, labelme_source
from .pairs import MASK_FOLDERS, pair_source
from .sources import Source, find_table, load_json, read_lists

FORMS = ("labelme", "coco", "pairs")


def recognise(
    source: str | Path,
    form: str | None = None,
    masks: str | Path | None = None,
    suffix: str | None = None,
    mapping: Mapping[int, int] | None = None,
    line_width: int | None = None,
) -> Source:
    """Find out in which tool's form a dataset is, and list its images; no image is read yet.

    Parameters
    ----------
    source : str or Path
        A folder, or the JSON file of COCO or LabelMe.
    form : {"labelme", "coco", "pairs"}, optional
        The form, if it should not be found out.
    masks, suffix, mapping
        Where the masks are, how their names end, and what their values mean, see `pairs.pair_source`.
    line_width : int, optional
        Width in pixels of lines and points, see `shapes.shape_mask`.

    Raises
    ------
    FileNotFoundError
        If there is no such file or folder.
    ValueError
        If it is in no known form, or damaged as a whole.
    """
    place = user_path(source)
    if not place.exists():
        raise FileNotFoundError(f"{place}: no such file or folder; check the path")
    masks = None if masks is None else user_path(masks)
    if masks is not None and not masks.is_dir() and (place / masks).is_dir():
        raise FileNotFoundError(
            f"{masks}: no such folder; the folder of the masks counts from the current folder, so give "
            f"{place / masks}"
        )
    folder = place if place.is_dir() else place.parent
    paths = [place] if place.is_file() and place.suffix.lower() == ".json" else []
    found = None
    if masks is None and form != "pairs" and (paths or place.is_dir()):
        paths = paths or sorted(p for p in folder.rglob("*.json") if not p.name.startswith("."))
        found = _json_source(folder, paths, form, line_width)
    if found is None and place.is_dir() and form in (None, "pairs"):
        found = pair_source(folder, masks, suffix, mapping)
    if found is None:
        raise ValueError(
            f"{place}: nothing that is known here; expected LabelMe's or COCO's JSON files, CVAT's "
            "segmentation mask 1.1, or images and masks in pairs (folders images/ and masks/, or a.jpg "
            "beside a.png or a_mask.png). Unpack an archive first"
        )
    if not any(item.split for item in found.items):
        names = [item.name for item in found.items]
        found.lists = read_lists(folder, names)
        if not found.lists and masks is not None and folder.resolve().parent == masks.resolve().parent:
            found.lists = read_lists(folder.resolve().parent, names)
            found.why += f", lists beside them: {', '.join(found.lists)}" if found.lists else ""
    return found


def _with_images(folder: Path) -> Path:
    """Return where the images of a folder with COCO files are: one higher if it holds annotations alone."""
    apart = folder.name.lower() in MASK_FOLDERS or (folder.parent / "images").is_dir()
    return folder.parent if apart and not any(map(is_image_file, folder.rglob("*"))) else folder


def _json_source(
    folder: Path, paths: Sequence[Path], form: str | None, line_width: int | None
) -> Source | None:
    """Recognise the JSON files of LabelMe and COCO; None if there are none."""
    contents = {path: load_json(path) for path in paths}
    coco = {path: content for path, content in contents.items() if is_coco(content)}
    shapes = [path for path in paths if is_labelme(contents[path])]
    for path, content in contents.items():
        missing = missing_parts(content)
        if len(missing) == 1 and path not in shapes:
            raise ValueError(f"{path}: COCO's file, but without a list of {missing[0]}; export it again")
    # what cannot be read, or lies beside an image of its name, was meant to be LabelMe's too
    broken = [
        p for p in paths if p not in coco and p not in shapes and (contents[p] is None or _has_image(p))
    ]
    if form == "labelme" or (form is None and (shapes or (broken and not coco))):
        found = labelme_source(folder, sorted({*shapes, *broken}), line_width)
        others = [path for path in paths if path not in shapes and path not in broken]
        if others:
            what = f"{folder}: JSON files of another kind: {some(path.name for path in others)}"
            found.findings.append(Finding(what, "left out", warning=True))
        if not found.items:
            raise FileNotFoundError(f"{folder}: no *.json in this folder; expected files saved by LabelMe")
        return found
    if coco:
        folder = _with_images(folder)
        found = coco_source(folder, coco)
        found.table = find_table(folder)
        return found
    return None


def _has_image(path: Path) -> bool:
    """Tell whether an image of the same name lies beside a file."""
    return any(path.with_suffix(suffix).is_file() for suffix in (".jpg", ".jpeg", ".png", ".JPG", ".PNG"))
