"""EmojiVOC: a small dataset in Pascal VOC's layout, drawn on this machine from 40 emoji sprites.

Every scene shows one to three sprites of Pascal VOC's 20 classes on a made-up background. The same
`(index, seed, styles)` always gives the same scene, so nothing has to be downloaded or stored:
`draw_scene` draws one, `prepare` draws the whole set into a folder that `voc` reads like VOC 2012.

Two limits to keep in mind. Training and validation scenes share the sprites, so a score on EmojiVOC is
not a score on photographs. And the masks are exact, which no human annotation is.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from tqdm.auto import tqdm

from .classes import VOC_CLASSES, VOID
from .engine.backgrounds import Rng, draw_background, ramp
from .engine.files import data_dir, folder_written_whole, make_folder, user_path
from .metrics import boundary_band
from .voc import write_mask

STYLES = ("fluent", "twemoji")
"""The drawing styles, one folder of 20 sprites each."""

HANDS = (1, 1, 1, 2, 2, 2, 2, 3, 3, 3)
"""Classes per scene, for ten scenes in a row: they deal out the 20 classes once, like hands of cards."""

OPAQUE = 128
"""A pixel of a sprite belongs to the object if its alpha (0..255) is at least this."""

VOID_WIDTH = 1
"""Pixels on each side of an object's outline that are void."""

RECIPE_VERSION = 4
BYTES_PER_SCENE = 12_000
Size = tuple[int, int]  # (width, height), as PIL has it


@dataclass(frozen=True)
class SceneObject:
    """One object of a drawn scene.

    `inside` is the share of the object's pixels that lie inside the image, `visible` the share of those that
    no other object hides, and `area` the pixels with its label as a share of the image.
    """

    class_index: int
    style: str
    inside: float
    visible: float
    area: float


class Scene(NamedTuple):
    """A drawn scene: image uint8 (H, W, 3), label uint8 (H, W), and the objects from back to front."""

    image: np.ndarray
    label: np.ndarray
    objects: tuple[SceneObject, ...]


# --- Randomness -----------------------------------------------------------------------------------------


def _generator(*key: int) -> Rng:
    """Return a generator that depends on the key alone, not on what was drawn before."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))


def scene_classes(index: int, seed: int = 0) -> tuple[int, ...]:
    """Return the one to three class indices (1..20) of a scene, in drawing order.

    Ten scenes in a row deal out one shuffled deck of the 20 classes, in hands of one, two and three
    (`HANDS`). So every class is in exactly one scene of the ten, and no class becomes rare by chance.
    """
    block, place = divmod(index, len(HANDS))
    rng = _generator(seed, 0, block)
    deck = rng.permutation(np.arange(1, len(VOC_CLASSES)))
    hands = rng.permutation(HANDS)
    first = hands[:place].sum()
    return tuple(int(c) for c in deck[first : first + hands[place]])


# --- Objects ----------------------------------------------------------------------------------------------


@cache
def sprite(style: str, class_name: str) -> Image.Image:
    """Return the sprite of a class: RGBA, at most 256 pixels a side, cached, so treat it as read-only."""
    _check_styles((style,))
    if class_name not in VOC_CLASSES[1:]:
        raise ValueError(f"no sprite for class {class_name!r}: expected one of {', '.join(VOC_CLASSES[1:])}")
    with resources.files("d2lseg").joinpath("sprites", style, f"{class_name}.png").open("rb") as file:
        return Image.open(file).convert("RGBA")


def colour_matrix(hue: float, saturation: float, brightness: float) -> np.ndarray:
    """Return the (3, 3) matrix that rotates RGB colours by `hue` radians around the grey axis."""
    to_yiq = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
    c, s = saturation * math.cos(hue), saturation * math.sin(hue)
    turn = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    return brightness * np.linalg.inv(to_yiq) @ turn @ to_yiq


def _recolour(rng: Rng, image: Image.Image) -> Image.Image:
    """Shift hue, saturation and brightness of an RGBA image, but not its alpha."""
    hue = math.radians(rng.uniform(-15, 15))
    matrix = colour_matrix(hue, rng.uniform(0.75, 1.15), rng.uniform(0.8, 1.1))
    pixels = np.array(image)
    colours = pixels[..., :3].astype(np.float32) @ matrix.T.astype(np.float32)
    pixels[..., :3] = np.clip(colours, 0, 255)
    return Image.fromarray(pixels)


def _pose(rng: Rng, image: Image.Image, short_side: int) -> Image.Image:
    """Resize, mirror and rotate a sprite; `short_side` is the scene's, in pixels."""
    longest = short_side * (0.35 + 0.6 * rng.random() ** 1.2)
    size = [max(1, round(longest * n / max(image.size))) for n in image.size]
    image = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2)
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return image.rotate(rng.uniform(-20, 20), Image.Resampling.BICUBIC, expand=True)


def _corner(rng: Rng, posed: Image.Image, size: Size) -> tuple[int, int]:
    """Choose a sprite's upper left corner (x, y): anywhere, even partly outside."""
    free = np.array(size) - posed.size
    overhang = 0.2 * np.array(posed.size)
    x, y = rng.uniform(np.minimum(-overhang, free), np.maximum(free + overhang, 0)).round()
    return int(x), int(y)


def _mask(posed: Image.Image, corner: tuple[int, int], size: Size) -> np.ndarray:
    """Return the pixels of the scene that belong to a placed sprite: bool (H, W)."""
    canvas = Image.new("L", size)
    canvas.paste(posed.getchannel("A"), corner)
    return np.asarray(canvas) >= OPAQUE


class Layer(NamedTuple):
    """One placed object, before the objects in front of it are known."""

    class_index: int
    style: str
    image: Image.Image
    corner: tuple[int, int]
    mask: np.ndarray
    inside: float


def new_layer(rng: Rng, class_index: int, styles: Sequence[str], behind: list[Layer], size: Size) -> Layer:
    """Pose and place an object; try again, a few times, if too little of it or of those behind is visible."""
    style = styles[int(rng.integers(len(styles)))]
    flat = sprite(style, VOC_CLASSES[class_index])
    for _ in range(20):
        posed = _pose(rng, flat, min(size))
        corner = _corner(rng, posed, size)
        mask = _mask(posed, corner, size)
        inside = mask.sum() / _mask(posed, (0, 0), posed.size).sum()
        hidden = [(layer.mask & mask).sum() / layer.mask.sum() for layer in behind]
        if inside > 0.65 and max(hidden, default=0) < 0.2:
            break
    return Layer(class_index, style, _recolour(rng, posed), corner, mask, float(inside))


# --- Scenes -----------------------------------------------------------------------------------------------


def _scene_size(rng: Rng) -> Size:
    """Return (width, height); one image in five is portrait."""
    short = int(rng.integers(132, 193))
    long = round(short * rng.uniform(1.25, 1.55))
    return (short, long) if rng.random() < 0.2 else (long, short)


def _owners(layers: list[Layer], size: Size) -> np.ndarray:
    """Return the owner of each pixel, int (H, W): 0 background, k the k-th layer, -1 void."""
    owner = np.zeros(size[::-1], np.int16)
    for number, layer in enumerate(layers, start=1):
        owner[layer.mask] = number
        owner[boundary_band(torch.from_numpy(layer.mask), VOID_WIDTH).numpy()] = -1
    return owner


def _describe(layer: Layer, in_front: list[Layer], labelled: np.ndarray) -> SceneObject:
    """Measure one object; `labelled` (bool, (H, W)) are the pixels with its label."""
    hidden = np.any([layer.mask & other.mask for other in in_front], axis=0)
    visible = float(1 - hidden.sum() / layer.mask.sum())
    inside, area = round(layer.inside, 3), round(float(labelled.mean()), 4)
    return SceneObject(layer.class_index, layer.style, inside, round(visible, 3), area)


def _light(rng: Rng, image: Image.Image) -> np.ndarray:
    """Light a scene from one side and add a camera's noise: uint8 (H, W, 3)."""
    pixels = np.asarray(image, np.float32)
    height, width, _ = pixels.shape
    shade = 1 + rng.uniform(0, 0.3) * (ramp(rng, height, width) - 0.6)
    noise = rng.standard_normal((height, width), dtype=np.float32) * rng.uniform(1, 4)
    return np.clip(pixels * shade[..., None] + noise[..., None], 0, 255).astype(np.uint8)


def compose_scene(index: int, seed: int = 0, styles: Sequence[str] = STYLES) -> Scene:
    """Draw one scene with sprites of the given styles, and describe its objects.

    The objects are painted from back to front. Along the outline of each runs a band of void, half on the
    object and half on what is behind it, where an annotator could not tell one from the other.
    """
    _check_whole("index", index)
    _check_whole("seed", seed)
    _check_styles(styles)
    rng = _generator(seed, 1, index)
    size = _scene_size(rng)
    image = draw_background(rng, size[1], size[0])
    layers: list[Layer] = []
    for class_index in scene_classes(index, seed):
        layers.append(new_layer(rng, class_index, styles, layers, size))
        image.paste(layers[-1].image, layers[-1].corner, layers[-1].image)
    owner = _owners(layers, size)
    classes = np.array([0, *(layer.class_index for layer in layers), VOID], np.uint8)  # owner -1 is the last
    objects = tuple(_describe(layer, layers[k:], owner == k) for k, layer in enumerate(layers, start=1))
    return Scene(_light(rng, image), classes[owner], objects)


def draw_scene(
    index: int, seed: int = 0, styles: Sequence[str] = STYLES
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw one scene as `voc` reads it, except for JPEG's losses: image (3, H, W) and label (H, W), uint8."""
    scene = compose_scene(index, seed, styles)
    image = torch.from_numpy(scene.image).permute(2, 0, 1).contiguous()  # (H, W, 3) -> (3, H, W)
    return image, torch.from_numpy(scene.label)


def _check_whole(name: str, value: int, least: int = 0) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")


def _check_styles(styles: Sequence[str]) -> None:
    known = not isinstance(styles, str) and len(styles) > 0 and all(style in STYLES for style in styles)
    if not known or len(set(styles)) < len(styles):
        raise ValueError(f'styles must be a tuple of some of {STYLES}, such as ("fluent",); got {styles!r}')


# --- The dataset on disk ----------------------------------------------------------------------------------


def _write_lists(folder: Path, names: list[str], n_train: int) -> None:
    splits = {"train": names[:n_train], "val": names[n_train:], "trainval": names}
    for split, members in splits.items():
        path = folder / "ImageSets" / "Segmentation" / f"{split}.txt"
        path.write_text("".join(f"{name}\n" for name in members), encoding="ascii", newline="\n")


def _draw_into(folder: Path, recipe: dict) -> None:
    """Draw the whole set into an empty folder; `scenes.json`, written last, marks it as complete."""
    for sub in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (folder / sub).mkdir(parents=True)
    names = [f"scene_{index:06d}" for index in range(recipe["n_train"] + recipe["n_val"])]
    objects = {}
    for index, name in enumerate(tqdm(names, desc="Drawing EmojiVOC", unit="scene", leave=False)):
        scene = compose_scene(index, recipe["seed"], recipe["styles"])
        Image.fromarray(scene.image).save(folder / "JPEGImages" / f"{name}.jpg", quality=85)
        write_mask(folder / "SegmentationClass" / f"{name}.png", scene.label)
        objects[name] = [asdict(thing) for thing in scene.objects]
    _write_lists(folder, names, recipe["n_train"])
    text = json.dumps({"recipe": recipe, "objects": objects})
    (folder / "scenes.json").write_text(text, encoding="ascii", newline="\n")


def read_scenes(folder: Path) -> dict:
    """Read the recipe and the objects from `scenes.json`; an absent or damaged file is an empty dict."""
    try:
        return json.loads((folder / "scenes.json").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return {}


def _is_complete(folder: Path, recipe: dict) -> bool:
    scenes = read_scenes(folder)
    if scenes.get("recipe") != recipe:
        return False
    images = {path.stem for path in (folder / "JPEGImages").glob("*.jpg")}
    masks = {path.stem for path in (folder / "SegmentationClass").glob("*.png")}
    lists = [folder / "ImageSets" / "Segmentation" / f"{split}.txt" for split in ("train", "val", "trainval")]
    return images == masks == set(scenes["objects"]) and all(path.is_file() for path in lists)


def _folder_name(recipe: dict) -> str:
    if recipe == _recipe(800, 200, 0, STYLES):
        return "emojivoc"
    counts = f"{recipe['n_train']}-{recipe['n_val']}"
    return f"emojivoc-{counts}-seed{recipe['seed']}-{'-'.join(recipe['styles'])}"


def _recipe(n_train: int, n_val: int, seed: int, styles: Sequence[str]) -> dict:
    """Collect all that the drawing depends on, in the types that JSON has."""
    counts = {"version": RECIPE_VERSION, "n_train": int(n_train), "n_val": int(n_val), "seed": int(seed)}
    return {**counts, "styles": list(styles)}


def _check_place(root: Path, folder: Path, scenes: int) -> None:
    """Raise rather than replace a folder that was not drawn here, or start on a disk that is too full."""
    if folder.exists() and not (folder / "scenes.json").is_file() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} exists and was not drawn by emojivoc.prepare: move it away first")
    free, needed = shutil.disk_usage(root).free, scenes * BYTES_PER_SCENE
    if free < needed:
        raise OSError(
            f"{root} has {free / 1e6:.0f} MB free, {scenes} scenes need {needed / 1e6:.0f} MB: free some "
            "space, or set D2LSEG_DATA to a folder on another disk"
        )


def prepare(
    root: str | Path | None = None,
    n_train: int = 800,
    n_val: int = 200,
    seed: int = 0,
    styles: Sequence[str] = STYLES,
) -> Path:
    """Draw EmojiVOC into a folder in Pascal VOC's layout, unless it is there already, and return the folder.

    It lies in `root`, by default `voc.data_dir()`, and its name is "emojivoc", or a longer one if arguments
    differ from the defaults. An interrupted run leaves nothing that could be mistaken for a dataset.

    Raises
    ------
    ValueError
        If a count is below 1, the seed below 0, or a style unknown.
    FileExistsError
        If the folder exists but was not drawn by this function.
    OSError
        If the disk is too full.
    """
    _check_whole("n_train", n_train, least=1)
    _check_whole("n_val", n_val, least=1)
    _check_whole("seed", seed)
    _check_styles(styles)
    recipe = _recipe(n_train, n_val, seed, styles)
    root = data_dir() if root is None else user_path(root)
    folder = root / _folder_name(recipe)
    if _is_complete(folder, recipe):
        return folder
    make_folder(root)
    _check_place(root, folder, n_train + n_val)
    try:
        with folder_written_whole(folder) as draft:
            _draw_into(draft, recipe)
            if folder.exists() and not _is_complete(folder, recipe):
                shutil.rmtree(folder)  # damaged, or of an older recipe
    except FileExistsError:
        if not _is_complete(folder, recipe):  # otherwise another process was quicker
            raise
    return folder
