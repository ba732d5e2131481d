import errno
import hashlib
import json
import shutil
from importlib import resources

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from d2lseg import emojivoc, metrics, voc
from d2lseg.classes import voc_colormap
from tools.emojivoc_statistics import statistics

SMALL = {"n_train": 6, "n_val": 3}
scene_numbers = st.integers(0, 10_000)
few = settings(deadline=None, max_examples=20)


@pytest.fixture(scope="module")
def full_set(session_data):
    """The whole default set, drawn once for all test files."""
    return emojivoc.prepare(session_data)


@pytest.fixture
def layers(monkeypatch):
    """Collect the placed objects of the scenes that a test draws."""
    seen, original = [], emojivoc.new_layer
    monkeypatch.setattr(emojivoc, "new_layer", lambda *a: seen.append(original(*a)) or seen[-1])
    return seen


def fingerprints(folder):
    """Map each file's path in a folder to a hash of its bytes."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def neighbours(label):
    """Yield a label and its eight shifted copies, paired: (pixel, neighbour)."""
    padded = np.pad(label, 1, mode="edge")
    height, width = label.shape
    for dy in (0, 1, 2):
        for dx in (0, 1, 2):
            yield padded[dy : dy + height, dx : dx + width]


# --- Sprites ---


@pytest.mark.parametrize("style", emojivoc.STYLES)
def test_every_class_has_a_sprite_in_every_style(style):
    for name in voc.VOC_CLASSES[1:]:
        image = emojivoc.sprite(style, name)
        assert image.mode == "RGBA" and max(image.size) <= 256
        assert (np.asarray(image.getchannel("A")) >= emojivoc.OPAQUE).mean() > 0.15


def test_sprites_come_with_their_notice():
    assert "CC-BY 4.0" in resources.files("d2lseg").joinpath("sprites", "NOTICE.md").read_text()


def test_sprite_refuses_unknown_names():
    with pytest.raises(ValueError, match="fluent"):
        emojivoc.sprite("oil", "cat")
    with pytest.raises(ValueError, match=r"'unicorn'.*aeroplane"):
        emojivoc.sprite("fluent", "unicorn")
    with pytest.raises(ValueError, match="'background'"):
        emojivoc.sprite("fluent", "background")


# --- One scene ---


@few
@given(index=scene_numbers, seed=st.integers(0, 2**40))
def test_draw_scene_keeps_the_data_contract(index, seed):
    image, label = emojivoc.draw_scene(index, seed)
    assert image.dtype == label.dtype == torch.uint8
    assert image.shape == (3, *label.shape)
    assert {0} < set(label.unique().tolist()) <= {*range(21), 255}
    assert set(label.unique().tolist()) - {0, 255} == set(emojivoc.scene_classes(index, seed))


def test_draw_scene_is_pure():
    torch.manual_seed(1)
    np.random.seed(1)
    first = emojivoc.draw_scene(17, seed=3)
    after = np.random.random(), torch.rand(1).item()
    emojivoc.draw_scene(4, seed=9)
    np.random.seed(2)
    second = emojivoc.draw_scene(17, seed=3)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    torch.manual_seed(1)
    np.random.seed(1)
    assert after == (np.random.random(), torch.rand(1).item())


def test_seed_and_index_change_the_scene():
    images = [emojivoc.compose_scene(*key).image for key in ((0, 0), (1, 0), (0, 1))]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert images[a].shape != images[b].shape or not np.array_equal(images[a], images[b])


@few
@given(block=st.integers(0, 10_000), seed=st.integers(0, 10_000))
def test_ten_scenes_deal_out_every_class_once(block, seed):
    hands = [emojivoc.scene_classes(10 * block + k, seed) for k in range(10)]
    assert sorted(c for hand in hands for c in hand) == list(range(1, 21))
    assert all(1 <= len(hand) <= 3 for hand in hands)


@few
@given(index=scene_numbers)
def test_void_separates_every_object_from_all_else(index):
    label = emojivoc.compose_scene(index).label
    for other in neighbours(label):
        touching = (label != other) & (label != 255) & (other != 255)
        assert not touching.any()


def alphas(layers, shape):
    """Paste each sprite's alpha alone on a canvas: uint8 (H, W) each."""
    for layer in layers:
        canvas = Image.new("L", shape[::-1])
        canvas.paste(layer.image.getchannel("A"), layer.corner)
        yield np.asarray(canvas)


def naive_edge(mask):
    """Mark the pixels of a mask that have a neighbour of the other value, and those neighbours."""
    edge = np.zeros_like(mask)
    for other in neighbours(mask):
        edge |= mask != other
    return edge


@pytest.mark.parametrize("index", range(0, 40, 4))
def test_a_pixel_has_a_class_exactly_where_its_sprite_is_opaque_and_in_front(index, layers):
    label = emojivoc.compose_scene(index).label
    opaque = [alpha >= emojivoc.OPAQUE for alpha in alphas(layers, label.shape)]
    for k, layer in enumerate(layers):
        mine = label == layer.class_index
        assert not (mine & ~opaque[k]).any()
        inner = opaque[k] & ~naive_edge(opaque[k])
        covered = np.any([m | naive_edge(m) for m in opaque[k + 1 :]] or [np.zeros_like(mine)], axis=0)
        assert mine[inner & ~covered].all()
    assert not (np.any(opaque, axis=0) & (label == 0)).any()


@pytest.mark.parametrize("index", range(0, 40, 4))
def test_void_lies_on_both_sides_of_an_outline_and_nowhere_else(index, layers):
    label = emojivoc.compose_scene(index).label
    opaque = [alpha >= emojivoc.OPAQUE for alpha in alphas(layers, label.shape)]
    edges = [naive_edge(mask) for mask in opaque]
    void = label == voc.VOID
    assert not (void & ~np.any(edges, axis=0)).any()
    assert void[edges[-1]].all()  # nothing hides the front object
    assert (void & opaque[-1]).any() and (void & ~np.any(opaque, axis=0)).any()


def sides_of_void(label, image, window=7, contrast=60):
    """Say for each void pixel with clear contrast around it whether the nearer colour is the object's.

    The two colours are the means of the object's and of the background's pixels in a window around it.
    """
    pixels, reach = image.astype(float), window // 2
    for y, x in np.argwhere(label == voc.VOID):
        part = slice(max(y - reach, 0), y + reach + 1), slice(max(x - reach, 0), x + reach + 1)
        names = label[part]
        thing, behind = (names > 0) & (names != voc.VOID), names == 0
        if thing.sum() < 5 or behind.sum() < 5:
            continue
        a, b = pixels[part][thing].mean(axis=0), pixels[part][behind].mean(axis=0)
        if np.linalg.norm(a - b) > contrast:
            yield np.linalg.norm(pixels[y, x] - a) < np.linalg.norm(pixels[y, x] - b)


def test_void_is_drawn_across_the_edge_half_on_the_object():
    """Notebook 03 argues that nobody can tell what a void pixel shows: neither side may own most of them."""
    sides = []
    for index in range(12):
        scene = emojivoc.compose_scene(index)
        sides += sides_of_void(scene.label, scene.image)
    assert len(sides) > 2000
    assert 0.4 < np.mean(sides) < 0.6


def test_a_ring_outside_the_object_would_be_noticed(monkeypatch):
    def outside(mask, width):
        return metrics.boundary_band(mask, width) & ~mask

    monkeypatch.setattr(emojivoc, "boundary_band", outside)
    scene = emojivoc.compose_scene(0)
    assert np.mean(list(sides_of_void(scene.label, scene.image))) < 0.4


def test_background_holds_no_trace_of_an_object(layers):
    """Almost all soft edge pixels fall to void: the masks are tight, yet nothing is left outside."""
    soft, stray = 0, 0
    for index in range(20):
        layers.clear()
        label = emojivoc.compose_scene(index).label
        for alpha in alphas(layers, label.shape):
            soft += ((alpha > 25) & (alpha < emojivoc.OPAQUE)).sum()
            stray += ((alpha > 25) & (label == 0)).sum()
    assert soft > 1000 and stray < 0.05 * soft


def test_the_notes_tell_what_is_cut_and_hidden(layers):
    for index in range(12):
        layers.clear()
        scene = emojivoc.compose_scene(index)
        masks = [a >= emojivoc.OPAQUE for a in alphas(layers, scene.label.shape)]
        for k, thing in enumerate(scene.objects):
            whole = (np.asarray(layers[k].image.getchannel("A")) >= emojivoc.OPAQUE).sum()
            hidden = masks[k] & np.any(masks[k + 1 :], axis=0)
            assert thing.inside == pytest.approx(masks[k].sum() / whole, abs=1e-3)
            assert thing.visible == pytest.approx(1 - hidden.sum() / masks[k].sum(), abs=1e-3)
            assert thing.area == pytest.approx((scene.label == thing.class_index).mean(), abs=1e-4)


def test_colour_matrix_keeps_grey_and_undoes_itself():
    grey = np.full(3, 100.0)
    assert emojivoc.colour_matrix(0.4, 0.7, 1) @ grey == pytest.approx(grey, abs=0.2)
    there, back = emojivoc.colour_matrix(0.4, 1, 1), emojivoc.colour_matrix(-0.4, 1, 1)
    assert there @ back == pytest.approx(np.eye(3), abs=1e-12)


@pytest.mark.parametrize("style", emojivoc.STYLES)
def test_styles_restrict_the_sprites(style):
    drawn = {o.style for k in range(10) for o in emojivoc.compose_scene(k, styles=(style,)).objects}
    assert drawn == {style}


def test_both_styles_are_drawn_by_default():
    assert {o.style for k in range(10) for o in emojivoc.compose_scene(k).objects} == set(emojivoc.STYLES)


@pytest.mark.parametrize("styles", [(), "fluent", ("oil",), ("fluent", "fluent")])
def test_bad_styles_are_refused(styles, tmp_path):
    for draw in (
        lambda: emojivoc.draw_scene(0, styles=styles),
        lambda: emojivoc.prepare(tmp_path, styles=styles),
    ):
        with pytest.raises(ValueError, match=r"fluent.*twemoji.*got"):
            draw()


@pytest.mark.parametrize("bad", [-1, 1.5, "7", True, None])
def test_bad_numbers_are_refused(bad, tmp_path):
    with pytest.raises(ValueError, match="index must be an integer"):
        emojivoc.draw_scene(bad)
    with pytest.raises(ValueError, match="seed must be an integer"):
        emojivoc.draw_scene(0, seed=bad)
    for name in ("n_train", "n_val", "seed"):
        with pytest.raises(ValueError, match=f"{name} must be an integer"):
            emojivoc.prepare(tmp_path, **{name: bad})
    assert not list(tmp_path.iterdir())


# --- The folder ---


def test_layout_and_contents(tmp_path):
    folder = emojivoc.prepare(tmp_path, **SMALL, seed=5)
    lists = {split: (folder / "ImageSets/Segmentation" / f"{split}.txt").read_text().split()
             for split in ("train", "val", "trainval")}  # fmt: skip
    assert len(lists["train"]) == 6 and len(lists["val"]) == 3
    assert lists["trainval"] == lists["train"] + lists["val"]
    for index, name in enumerate(lists["trainval"]):
        image, label = emojivoc.draw_scene(index, seed=5)
        with Image.open(folder / "SegmentationClass" / f"{name}.png") as mask:
            assert mask.mode == "P"
            assert np.reshape(mask.getpalette(), (256, 3)).tolist() == list(map(list, voc_colormap(256)))
        assert torch.equal(voc.read_mask(folder / "SegmentationClass" / f"{name}.png"), label)
        decoded = voc.read_image(folder / "JPEGImages" / f"{name}.jpg")
        assert decoded.shape == image.shape
        assert (decoded.int() - image.int()).abs().float().mean() < 10  # JPEG loses a little, no more


def test_voc_reads_the_set(tmp_path):
    dataset = voc.VOCSegDataset(emojivoc.prepare(tmp_path, **SMALL), "train", crop_size=(160, 224))
    assert len(dataset) == 6
    image, label = dataset[0]
    assert image.shape == (3, 160, 224) and label.shape == (160, 224)


def test_two_drawings_are_byte_identical(tmp_path):
    first = fingerprints(emojivoc.prepare(tmp_path / "a", **SMALL))
    second = fingerprints(emojivoc.prepare(tmp_path / "b", **SMALL))
    assert len(first) == 2 * 9 + 3 + 1 and first == second
    assert first != fingerprints(emojivoc.prepare(tmp_path / "c", **SMALL, seed=1))


def test_each_recipe_has_its_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("D2LSEG_DATA", str(tmp_path))
    recipes = [{}, {"seed": 1}, {"styles": ("twemoji",)}]
    folders = [emojivoc.prepare(**SMALL, **recipe) for recipe in recipes]
    assert len(set(folders)) == 3 and {f.parent for f in folders} == {tmp_path}


def test_a_complete_set_is_not_drawn_again(tmp_path, monkeypatch):
    folder = emojivoc.prepare(tmp_path, **SMALL)
    monkeypatch.setattr(emojivoc, "compose_scene", lambda *a: pytest.fail("drawn again"))
    assert emojivoc.prepare(tmp_path, **SMALL) == folder


@pytest.mark.parametrize("lost", ["JPEGImages/scene_000002.jpg", "SegmentationClass/scene_000000.png",
                                  "ImageSets/Segmentation/val.txt"])  # fmt: skip
def test_a_damaged_set_is_drawn_again(tmp_path, lost):
    folder = emojivoc.prepare(tmp_path, **SMALL)
    before = fingerprints(folder)
    (folder / lost).unlink()
    assert fingerprints(emojivoc.prepare(tmp_path, **SMALL)) == before


def test_a_set_of_another_recipe_or_with_spoilt_notes_is_drawn_again(tmp_path):
    folder = emojivoc.prepare(tmp_path, **SMALL)
    before = fingerprints(folder)
    notes = json.loads((folder / "scenes.json").read_text())
    notes["recipe"]["version"] = -1
    for spoilt in (json.dumps(notes), "{"):
        (folder / "scenes.json").write_text(spoilt)
        assert fingerprints(emojivoc.prepare(tmp_path, **SMALL)) == before


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
def test_an_interrupted_drawing_leaves_nothing(tmp_path, monkeypatch, error):
    original, calls = emojivoc.compose_scene, []

    def fail_on_the_fourth(*args):
        calls.append(args)
        if len(calls) == 4:
            raise error
        return original(*args)

    monkeypatch.setattr(emojivoc, "compose_scene", fail_on_the_fourth)
    with pytest.raises(type(error)):
        emojivoc.prepare(tmp_path, **SMALL)
    assert len(calls) == 4 and not list(tmp_path.iterdir())
    monkeypatch.undo()
    assert voc.VOCSegDataset(emojivoc.prepare(tmp_path, **SMALL), "val")


def test_what_a_killed_run_left_never_becomes_the_set(tmp_path, monkeypatch):
    """A run that is killed cannot tidy up: its hidden folder stays, and is not taken for the set."""
    monkeypatch.setattr(shutil, "rmtree", lambda *a, **k: None)
    monkeypatch.setattr(emojivoc, "compose_scene", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        emojivoc.prepare(tmp_path, **SMALL)
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".emojivoc")
    monkeypatch.undo()
    folder = emojivoc.prepare(tmp_path, **SMALL)
    assert list(tmp_path.iterdir()) == [folder]


def test_another_process_may_be_quicker(tmp_path, monkeypatch):
    original, theirs = emojivoc.compose_scene, emojivoc.prepare(tmp_path / "theirs", **SMALL)

    def compose_late(index, *more):
        if index == 8:  # the last scene
            shutil.copytree(theirs, tmp_path / "ours" / theirs.name)
        return original(index, *more)

    monkeypatch.setattr(emojivoc, "compose_scene", compose_late)
    folder = emojivoc.prepare(tmp_path / "ours", **SMALL)
    assert list((tmp_path / "ours").iterdir()) == [folder] and fingerprints(folder) == fingerprints(theirs)


def test_what_takes_the_place_meanwhile_is_left_alone(tmp_path, monkeypatch):
    original, folder = emojivoc.compose_scene, emojivoc.prepare(tmp_path, **SMALL)
    shutil.rmtree(folder)

    def compose_late(index, *more):
        if index == 8:
            folder.write_text("precious")
        return original(index, *more)

    monkeypatch.setattr(emojivoc, "compose_scene", compose_late)
    with pytest.raises((FileExistsError, NotADirectoryError)):
        emojivoc.prepare(tmp_path, **SMALL)
    assert list(tmp_path.iterdir()) == [folder] and folder.read_text() == "precious"


def test_a_foreign_folder_is_left_alone(tmp_path):
    folder = emojivoc.prepare(tmp_path, **SMALL)
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "thesis.txt").write_text("precious")
    with pytest.raises(FileExistsError, match="move it away"):
        emojivoc.prepare(tmp_path, **SMALL)
    assert (folder / "thesis.txt").read_text() == "precious"


def test_a_full_disk_is_told_before_drawing(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 10_000))
    with pytest.raises(OSError, match=r"0 MB free.*D2LSEG_DATA"):
        emojivoc.prepare(tmp_path, n_train=800, n_val=200)
    assert not list(tmp_path.iterdir())


# --- The whole default set, and how difficult it is ---


@pytest.mark.slow
def test_the_full_set_is_small(full_set):
    assert full_set.name == "emojivoc"
    assert sum(path.stat().st_size for path in full_set.rglob("*") if path.is_file()) < 12e6
    assert len(voc.VOCSegDataset(full_set, "train")) == 800
    assert len(voc.VOCSegDataset(full_set, "val")) == 200


@pytest.mark.slow
def test_every_class_is_in_at_least_20_validation_images(full_set):
    per_class = statistics(full_set, "val").scenes_per_class
    assert set(per_class) == set(voc.VOC_CLASSES[1:]) and min(per_class.values()) >= 20


@pytest.mark.slow
@pytest.mark.parametrize("split", ["train", "val"])
def test_difficulty(full_set, split):
    found = statistics(full_set, split)
    assert 0.65 < found.background_share < 0.80
    assert 1.9 * found.scenes < found.objects < 2.1 * found.scenes
    assert 0.03 < found.area_quantiles[0.1] < 0.06
    assert 0.07 < found.area_quantiles[0.5] < 0.12
    assert 0.16 < found.area_quantiles[0.9] < 0.26
    assert 0.25 < found.occluded_scenes < 0.60
    assert 0.25 < found.cut_scenes < 0.50


@pytest.mark.slow
def test_sizes_vary(full_set):
    sizes = np.array([Image.open(path).size[::-1] for path in (full_set / "JPEGImages").iterdir()])
    height, width = sizes.T
    assert len({tuple(size) for size in sizes.tolist()}) > 500
    assert 0.12 < (height > width).mean() < 0.3
    assert 0.1 < ((height < 160) & (width < 224)).mean() < 0.6
    assert (sizes % 32 == 0).all(axis=1).mean() < 0.02
    assert 150 < np.median(sizes.min(axis=1)) < 170 and 205 < np.median(sizes.max(axis=1)) < 235
