"""EmojiVOC: a small dataset in Pascal VOC's layout, drawn on this machine from 40 emoji sprites.

Every scene shows one to three sprites of Pascal VOC's 20 classes on a made-up background. The same
`(index, seed, styles)` always gives the same scene, so nothing has to be downloaded or stored:
`draw_scene` draws one, `prepare` draws the whole set into a folder that `voc` reads like VOC 2012.

Two limits to keep in mind. Training and validation scenes share the sprites, so a score on EmojiVOC is
not a score on photographs. And the masks are exact, which no human annotation is.
"""

import json
import math
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter
from tqdm.auto import tqdm

from .voc import VOC_CLASSES, VOID, data_dir, read_mask, write_mask

STYLES = ("fluent", "twemoji")
"""The drawing styles there are, one folder of 20 sprites each."""

HANDS = (1, 1, 1, 2, 2, 2, 2, 3, 3, 3)
"""Classes per scene in ten scenes: they share out the 20 classes once, like hands of cards."""

OPAQUE = 128
"""A sprite's pixel belongs to the object where its alpha is at least this (0..255)."""

RECIPE_VERSION = 3
BYTES_PER_SCENE = 12_000


@dataclass(frozen=True)
class SceneObject:
    """What was drawn: one object of a scene.

    `inside` is the share of the object's pixels that lie inside the picture, `visible` the share of those
    that no other object hides, and `area` the pixels that carry its label as a share of the picture.
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


def _generator(*key: int) -> np.random.Generator:
    """Return a generator that depends on the key alone, not on what was drawn before."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))


def scene_classes(index: int, seed: int = 0) -> tuple[int, ...]:
    """Return the classes of a scene, in drawing order.

    Ten scenes in a row deal out one shuffled deck of the 20 classes, in hands of one, two and three
    (`HANDS`). So every class is in exactly one scene of the ten, and no class becomes rare by chance.

    Parameters
    ----------
    index : int
        The scene's number, 0 or more.
    seed : int
        The dataset's seed, 0 or more.

    Returns
    -------
    tuple of int
        One to three different class indices, 1 to 20.
    """
    block, place = divmod(index, len(HANDS))
    rng = _generator(seed, 0, block)
    deck = rng.permutation(np.arange(1, len(VOC_CLASSES)))
    hands = rng.permutation(HANDS)
    first = hands[:place].sum()
    return tuple(int(c) for c in deck[first : first + hands[place]])


# --- Backgrounds: functions (rng, height, width) -> float32 (height, width, 3), values 0..255 -------------


def _colour(rng: np.random.Generator) -> np.ndarray:
    """Return a random colour, float32 (3,): not black, not white, and seldom glaring."""
    colour = rng.uniform(25, 235, 3)
    return (colour + rng.uniform(0, 0.8) * (colour.mean() - colour)).astype(np.float32)


def _blend(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Colour a map t (H, W) of values 0..1 from one random colour to another: (H, W, 3)."""
    a, b = _colour(rng), _colour(rng)
    return a + t[..., None] * (b - a)


def _smooth_noise(rng: np.random.Generator, height: int, width: int, cell: tuple[float, float]) -> np.ndarray:
    """Return noise (H, W) of values 0..1 whose blotches are about `cell` (rows, columns) pixels large."""
    rows, columns = (max(2, math.ceil(n / c) + 1) for n, c in zip((height, width), cell, strict=True))
    grid = Image.fromarray(rng.random((rows, columns), dtype=np.float32))
    return np.clip(np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC)), 0, 1)


def _ramp(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Return a map (H, W) that rises from 0 to 1 across the picture in a random direction."""
    angle = rng.uniform(0, 2 * math.pi)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    t = x * math.cos(angle) + y * math.sin(angle)
    return (t - t.min()) / (t.max() - t.min())


def _gradient(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Paint a plain wall: one colour running into another."""
    return _blend(_ramp(rng, height, width), rng)


def _clouds(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Paint two-colour noise, large blotches with smaller ones on them."""
    t = sum(_smooth_noise(rng, height, width, (cell, cell)) * cell for cell in (40, 20, 10, 5)) / 75
    return _blend(np.clip(2 * t - 0.5, 0, 1), rng)


def _grain(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Paint a fine texture, stretched along one side, like grass, wood or cloth."""
    cell = rng.permutation([rng.uniform(2, 4), rng.uniform(3, 40)])
    return _blend(_smooth_noise(rng, height, width, tuple(cell)), rng)


def _stripes(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Paint stripes or checks of a random direction and period."""
    t = np.zeros((height, width), np.float32)
    for _ in range(rng.integers(1, 3)):
        waves = math.hypot(height, width) / rng.uniform(14, 60)
        t += np.sin(2 * math.pi * waves * _ramp(rng, height, width))
    sharpness = rng.uniform(0.7, 6)
    return _blend(np.clip(0.5 + 0.5 * sharpness * t, 0, 1), rng)


def _horizon(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Paint a landscape: one background above a hilly line, another below it."""
    sky, ground = (PLAIN[i](rng, height, width) for i in rng.integers(len(PLAIN), size=2))
    hills = _smooth_noise(rng, 1, width, (1, rng.uniform(20, 150)))[0] - 0.5
    line = height * (rng.uniform(0.3, 0.75) + rng.uniform(0, 0.3) * hills)
    below = np.arange(height)[:, None] > line[None, :]
    return np.where(below[..., None], ground, sky)


PLAIN: tuple[Callable[..., np.ndarray], ...] = (_gradient, _clouds, _clouds, _grain, _stripes)
BACKGROUNDS: tuple[Callable[..., np.ndarray], ...] = (*PLAIN, _horizon, _horizon)


def _shape(rng: np.random.Generator, draw: ImageDraw.ImageDraw, height: int, width: int) -> None:
    """Draw one shape that is no object: a polygon, an ellipse or a bar."""
    centre = rng.uniform((0, 0), (width, height))
    radius = min(height, width) * rng.uniform(0.05, 0.3)
    colour = tuple(int(c) for c in _colour(rng))
    kind = rng.integers(3)
    if kind == 0:
        angles = np.sort(rng.uniform(0, 2 * math.pi, rng.integers(3, 8)))
        corners = centre + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        draw.polygon([tuple(c) for c in corners.tolist()], fill=colour)
    elif kind == 1:
        half = radius * rng.uniform(0.4, 1, 2)
        draw.ellipse([*(centre - half).tolist(), *(centre + half).tolist()], fill=colour)
    else:
        end = centre + 3 * radius * rng.uniform(-1, 1, 2)
        draw.line([*centre.tolist(), *end.tolist()], fill=colour, width=int(rng.integers(2, 12)))


def _background(rng: np.random.Generator, height: int, width: int) -> Image.Image:
    """Return a background (RGB) with clutter on it, slightly out of focus."""
    paint = BACKGROUNDS[rng.integers(len(BACKGROUNDS))](rng, height, width)
    image = Image.fromarray(np.clip(paint, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(rng.choice([0, 1, 2, 4])):
        _shape(rng, draw, height, width)
    return image.filter(ImageFilter.BoxBlur(rng.uniform(0.3, 1.2)))


# --- Objects ----------------------------------------------------------------------------------------------


@cache
def sprite(style: str, class_name: str) -> Image.Image:
    """Return a sprite from the package: one class in one style. Treat it as read-only: it is cached.

    Parameters
    ----------
    style : str
        "fluent" or "twemoji".
    class_name : str
        One of `VOC_CLASSES` other than "background".

    Returns
    -------
    PIL.Image.Image
        RGBA, at most 256 pixels a side.

    Raises
    ------
    ValueError
        If there is no such style or class.
    """
    _check_styles((style,))
    if class_name not in VOC_CLASSES[1:]:
        raise ValueError(f"no sprite for class {class_name!r}: expected one of {', '.join(VOC_CLASSES[1:])}")
    with resources.files("d2lseg").joinpath("sprites", style, f"{class_name}.png").open("rb") as file:
        return Image.open(file).convert("RGBA")


def _colour_matrix(hue: float, saturation: float, brightness: float) -> np.ndarray:
    """Return the (3, 3) matrix that turns RGB colours by `hue` radians around the grey axis."""
    to_yiq = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
    c, s = saturation * math.cos(hue), saturation * math.sin(hue)
    turn = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    return brightness * np.linalg.inv(to_yiq) @ turn @ to_yiq


def _recolour(rng: np.random.Generator, image: Image.Image) -> Image.Image:
    """Shift hue, saturation and brightness of an RGBA image; its alpha stays."""
    hue = math.radians(rng.uniform(-15, 15))
    matrix = _colour_matrix(hue, rng.uniform(0.75, 1.15), rng.uniform(0.8, 1.1))
    pixels = np.array(image)
    colours = pixels[..., :3].astype(np.float32) @ matrix.T.astype(np.float32)
    pixels[..., :3] = np.clip(colours, 0, 255)
    return Image.fromarray(pixels)


def _pose(rng: np.random.Generator, image: Image.Image, short_side: int) -> Image.Image:
    """Resize, mirror and turn a sprite; `short_side` is the scene's, in pixels."""
    longest = short_side * (0.35 + 0.6 * rng.random() ** 1.2)
    size = [max(1, round(longest * n / max(image.size))) for n in image.size]
    image = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2)
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return image.rotate(rng.uniform(-20, 20), Image.Resampling.BICUBIC, expand=True)


def _corner(rng: np.random.Generator, posed: Image.Image, size: tuple[int, int]) -> tuple[int, int]:
    """Choose where a sprite's upper left corner (x, y) goes: anywhere, even partly outside."""
    free = np.array(size) - posed.size
    overhang = 0.2 * np.array(posed.size)
    x, y = rng.uniform(np.minimum(-overhang, free), np.maximum(free + overhang, 0)).round()
    return int(x), int(y)


def _mask(posed: Image.Image, corner: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """Return which pixels of the scene a placed sprite belongs to: bool (H, W)."""
    canvas = Image.new("L", size)
    canvas.paste(posed.getchannel("A"), corner)
    return np.asarray(canvas) >= OPAQUE


def _ring(mask: np.ndarray, width: int) -> np.ndarray:
    """Return the pixels around a mask (bool, (H, W)) that are at most `width` rows and columns away."""
    grown = mask.copy()
    for _ in range(width):
        above_and_below = grown.copy()
        above_and_below[1:] |= grown[:-1]
        above_and_below[:-1] |= grown[1:]
        grown = above_and_below.copy()
        grown[:, 1:] |= above_and_below[:, :-1]
        grown[:, :-1] |= above_and_below[:, 1:]
    return grown & ~mask


class _Layer(NamedTuple):
    """One placed object, before the objects in front of it are known."""

    class_index: int
    style: str
    picture: Image.Image
    corner: tuple[int, int]
    mask: np.ndarray
    inside: float


def _new_layer(
    rng: np.random.Generator,
    class_index: int,
    styles: Sequence[str],
    behind: list[_Layer],
    size: tuple[int, int],
) -> _Layer:
    """Pose and place an object. Try again, a few times, when too little of it or of those behind is seen."""
    style = styles[rng.integers(len(styles))]
    flat = sprite(style, VOC_CLASSES[class_index])
    for _ in range(20):
        posed = _pose(rng, flat, min(size))
        corner = _corner(rng, posed, size)
        mask = _mask(posed, corner, size)
        inside = mask.sum() / _mask(posed, (0, 0), posed.size).sum()
        hidden = [(layer.mask & mask).sum() / layer.mask.sum() for layer in behind]
        if inside > 0.65 and max(hidden, default=0) < 0.2:
            break
    return _Layer(class_index, style, _recolour(rng, posed), corner, mask, float(inside))


# --- Scenes -----------------------------------------------------------------------------------------------


def _scene_size(rng: np.random.Generator) -> tuple[int, int]:
    """Return (width, height): one picture in five is portrait."""
    short = int(rng.integers(132, 193))
    long = round(short * rng.uniform(1.25, 1.55))
    return (short, long) if rng.random() < 0.2 else (long, short)


def _owners(layers: list[_Layer], ring_width: int, size: tuple[int, int]) -> np.ndarray:
    """Return who owns each pixel, int (H, W): 0 background, k the k-th layer, -1 void."""
    owner = np.zeros(size[::-1], np.int16)
    for number, layer in enumerate(layers, start=1):
        owner[_ring(layer.mask, ring_width)] = -1
        owner[layer.mask] = number
    return owner


def _describe(layer: _Layer, in_front: list[_Layer], labelled: np.ndarray) -> SceneObject:
    """Measure one object; `labelled` (bool, (H, W)) are the pixels that it owns in the end."""
    hidden = np.any([layer.mask & other.mask for other in in_front], axis=0)
    visible = 1 - hidden.sum() / layer.mask.sum()
    return SceneObject(
        layer.class_index,
        layer.style,
        inside=round(layer.inside, 3),
        visible=round(float(visible), 3),
        area=round(float(labelled.mean()), 4),
    )


def _light(rng: np.random.Generator, image: Image.Image) -> np.ndarray:
    """Light a scene from one side and add a camera's noise: uint8 (H, W, 3)."""
    pixels = np.asarray(image, np.float32)
    height, width, _ = pixels.shape
    shade = 1 + rng.uniform(0, 0.3) * (_ramp(rng, height, width) - 0.6)
    noise = rng.standard_normal((height, width), dtype=np.float32) * rng.uniform(1, 4)
    return np.clip(pixels * shade[..., None] + noise[..., None], 0, 255).astype(np.uint8)


def compose_scene(index: int, seed: int = 0, styles: Sequence[str] = STYLES) -> Scene:
    """Draw one scene and tell what is in it.

    The objects are painted from back to front. Around each lies a ring of void, one or two pixels wide (one
    width a scene), where an annotator could not tell the object from what is behind it.

    Parameters
    ----------
    index : int
        The scene's number, 0 or more.
    seed : int
        The dataset's seed, 0 or more.
    styles : sequence of str
        The drawing styles to take sprites from, see `STYLES`.

    Returns
    -------
    Scene
        image uint8 (H, W, 3), label uint8 (H, W), objects from back to front.

    Raises
    ------
    ValueError
        If `index` or `seed` is not an integer of 0 or more, or a style is unknown.
    """
    _check_whole("index", index)
    _check_whole("seed", seed)
    _check_styles(styles)
    rng = _generator(seed, 1, index)
    size = _scene_size(rng)
    image = _background(rng, size[1], size[0])
    layers: list[_Layer] = []
    for class_index in scene_classes(index, seed):
        layers.append(_new_layer(rng, class_index, styles, layers, size))
        image.paste(layers[-1].picture, layers[-1].corner, layers[-1].picture)
    owner = _owners(layers, int(rng.integers(1, 3)), size)
    classes = np.array([0, *(layer.class_index for layer in layers), VOID], np.uint8)  # owner -1 is the last
    objects = tuple(_describe(layer, layers[k:], owner == k) for k, layer in enumerate(layers, start=1))
    return Scene(_light(rng, image), classes[owner], objects)


def draw_scene(
    index: int, seed: int = 0, styles: Sequence[str] = STYLES
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw one scene as `voc` would read it (but for the JPEG's losses).

    Parameters
    ----------
    index, seed, styles
        As in `compose_scene`.

    Returns
    -------
    image : Tensor
        uint8 (3, H, W), RGB.
    label : Tensor
        uint8 (H, W): class index 0..20, or 255 for void.

    Raises
    ------
    ValueError
        As in `compose_scene`.
    """
    scene = compose_scene(index, seed, styles)
    image = torch.from_numpy(scene.image).permute(2, 0, 1).contiguous()  # (H, W, 3) -> (3, H, W)
    return image, torch.from_numpy(scene.label)


def _check_whole(name: str, value: int, least: int = 0) -> None:
    """Refuse what is not an integer of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")


def _check_styles(styles: Sequence[str]) -> None:
    """Refuse anything but a non-empty sequence of different known styles."""
    known = not isinstance(styles, str) and len(styles) > 0 and all(style in STYLES for style in styles)
    if not known or len(set(styles)) < len(styles):
        raise ValueError(f'styles must be a tuple of some of {STYLES}, such as ("fluent",); got {styles!r}')


# --- The dataset on disk ----------------------------------------------------------------------------------


def _write_scene(folder: Path, name: str, scene: Scene) -> None:
    """Write one scene's JPEG and palette PNG."""
    Image.fromarray(scene.image).save(folder / "JPEGImages" / f"{name}.jpg", quality=85)
    write_mask(folder / "SegmentationClass" / f"{name}.png", scene.label)


def _write_lists(folder: Path, names: list[str], n_train: int) -> None:
    """Write the lists of IDs: train, val, and both."""
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
        _write_scene(folder, name, scene)
        objects[name] = [asdict(thing) for thing in scene.objects]
    _write_lists(folder, names, recipe["n_train"])
    text = json.dumps({"recipe": recipe, "objects": objects})
    (folder / "scenes.json").write_text(text, encoding="ascii", newline="\n")


def _read_scenes(folder: Path) -> dict:
    """Read `scenes.json`; an absent or damaged one is an empty dict."""
    try:
        return json.loads((folder / "scenes.json").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return {}


def _is_complete(folder: Path, recipe: dict) -> bool:
    """Tell whether a folder holds the whole set that the recipe describes."""
    scenes = _read_scenes(folder)
    if scenes.get("recipe") != recipe:
        return False
    images = {path.stem for path in (folder / "JPEGImages").glob("*.jpg")}
    masks = {path.stem for path in (folder / "SegmentationClass").glob("*.png")}
    lists = [folder / "ImageSets" / "Segmentation" / f"{split}.txt" for split in ("train", "val", "trainval")]
    return images == masks == set(scenes["objects"]) and all(path.is_file() for path in lists)


def _folder_name(recipe: dict) -> str:
    """Return "emojivoc", followed by what differs from the default recipe."""
    default = _recipe(800, 200, 0, STYLES)
    if recipe == default:
        return "emojivoc"
    counts = f"{recipe['n_train']}-{recipe['n_val']}"
    return f"emojivoc-{counts}-seed{recipe['seed']}-{'-'.join(recipe['styles'])}"


def _recipe(n_train: int, n_val: int, seed: int, styles: Sequence[str]) -> dict:
    """Collect what the drawing depends on, as JSON would give it back."""
    return {
        "version": RECIPE_VERSION,
        "n_train": int(n_train),
        "n_val": int(n_val),
        "seed": int(seed),
        "styles": list(styles),
    }


def _check_place(root: Path, folder: Path, scenes: int) -> None:
    """Refuse to replace a folder that was not made here, and to start on a disk that is too full."""
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
    """Draw EmojiVOC into a folder in Pascal VOC's layout, unless it is there already.

    The set is drawn into a hidden folder beside the final one and renamed when it is whole, so an
    interrupted run leaves nothing that could be taken for a dataset.

    Parameters
    ----------
    root : str or Path, optional
        Where to put the folder; `voc.data_dir()` by default.
    n_train, n_val : int
        How many scenes to draw for training and validation, 1 or more each.
    seed : int
        0 or more. Another seed gives other scenes.
    styles : sequence of str
        The drawing styles to take sprites from, see `STYLES`.

    Returns
    -------
    Path
        The folder, ready for `voc.VOCSegDataset`: "emojivoc", or a longer name when arguments differ from
        the defaults.

    Raises
    ------
    ValueError
        If a count, the seed or the styles are out of range.
    FileExistsError
        If the folder exists and something else has made it.
    OSError
        If the disk is too full.
    """
    _check_whole("n_train", n_train, least=1)
    _check_whole("n_val", n_val, least=1)
    _check_whole("seed", seed)
    _check_styles(styles)
    recipe = _recipe(n_train, n_val, seed, styles)
    root = data_dir() if root is None else Path(root)
    folder = root / _folder_name(recipe)
    if _is_complete(folder, recipe):
        return folder
    root.mkdir(parents=True, exist_ok=True)
    _check_place(root, folder, n_train + n_val)
    unfinished = root / f".{folder.name}-{os.getpid()}"
    shutil.rmtree(unfinished, ignore_errors=True)  # a killed run with our number may have left it
    try:
        _draw_into(unfinished, recipe)
        _publish(unfinished, folder, recipe)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def _publish(unfinished: Path, folder: Path, recipe: dict) -> None:
    """Move a finished set into place, unless another process was quicker."""
    if _is_complete(folder, recipe):
        return
    if folder.exists():
        shutil.rmtree(folder)
    unfinished.rename(folder)


# --- How hard is it? --------------------------------------------------------------------------------------


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
        Quantiles 0.1, 0.25, 0.5, 0.75 and 0.9 of an object's labelled pixels as a share of its picture.
    occluded_scenes, cut_scenes : float
        Share of scenes in which an object loses at least 5 % of its pixels to objects in front of it, or to
        the picture's border.
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

    Parameters
    ----------
    folder : str or Path
        What `prepare` returned.
    split : str
        "train", "val" or "trainval".

    Returns
    -------
    Statistics
        Pixel counts come from the masks, occluded and cut objects from the notes kept while drawing.

    Raises
    ------
    FileNotFoundError
        If the folder was not drawn by `prepare`, or has no such split.
    """
    folder = Path(folder)
    notes = _read_scenes(folder).get("objects")
    list_file = folder / "ImageSets" / "Segmentation" / f"{split}.txt"
    if notes is None or not list_file.is_file():
        raise FileNotFoundError(f"{folder}: no EmojiVOC split {split!r} here. Draw it: emojivoc.prepare()")
    names = list_file.read_text(encoding="ascii").split()
    masks = [read_mask(folder / "SegmentationClass" / f"{name}.png") for name in names]
    counts = torch.stack([torch.bincount(mask.flatten(), minlength=256) for mask in masks])  # (scenes, 256)
    return _summarise(counts, [notes[name] for name in names])


def _summarise(counts: torch.Tensor, notes: list[list[dict]]) -> Statistics:
    """Put pixel counts (scenes, 256) and the notes on each scene's objects into figures."""
    labelled = counts[:, : len(VOC_CLASSES)]
    areas = [thing["area"] for scene in notes for thing in scene]
    quantiles = (0.1, 0.25, 0.5, 0.75, 0.9)
    per_class = (labelled > 0).sum(0).tolist()
    return Statistics(
        scenes=len(notes),
        objects=len(areas),
        background_share=(labelled[:, 0].sum() / labelled.sum()).item(),
        area_quantiles=dict(zip(quantiles, np.quantile(areas, quantiles).tolist(), strict=True)),
        occluded_scenes=float(np.mean([any(o["visible"] < 0.95 for o in scene) for scene in notes])),
        cut_scenes=float(np.mean([any(o["inside"] < 0.95 for o in scene) for scene in notes])),
        scenes_per_class=dict(zip(VOC_CLASSES[1:], per_class[1:], strict=True)),
    )
