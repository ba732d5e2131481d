"""Every bug is real, correct fixes are accepted, and common wrong ones are refused with a helpful message."""

import copy
import itertools
import math
import re

import matplotlib.pyplot as plt
import pytest
import torch
import torch.nn.functional as F
from notebook_cells import cells, run_stubs
from torch import nn
from torch.utils.data import DataLoader
from torchvision.transforms import RandomCrop
from torchvision.transforms import functional as TF

from d2lseg import emojivoc, fcn, metrics, prediction, training, upsampling, voc
from d2lseg.exercises import nb12

NAME = "12_bug_hunt"
NEAREST = TF.InterpolationMode.NEAREST
MEAN, STD = (torch.tensor(c).view(3, 1, 1) for c in (fcn.IMAGENET_MEAN, fcn.IMAGENET_STD))


@pytest.fixture(scope="module")
def planted():
    """The broken functions, as the notebook hands them out."""
    return run_stubs(NAME)


def asked(source):
    """Return the name of the function that an exercise cell is about."""
    return re.search(r"check\.(\w+)\(", source)[1]


def test_the_code_to_fix_is_the_code_that_was_shown():
    shown = cells(NAME, None)
    exercises = cells(NAME, "exercise")
    assert len(exercises) >= 10
    for source in exercises:
        assert source.split("\n\n\ncheck.")[0] in shown


def untagged_after_solutions():
    """Pair each solution's function with the cell below it, the test that would have found the bug."""
    both = cells(f"solutions/{NAME}", None, "solution")
    return {
        asked(above): below
        for above, below in itertools.pairwise(both)
        if "check." in above and "check." not in below
    }


def test_each_solution_has_a_test():
    assert set(untagged_after_solutions()) == {asked(source) for source in cells(NAME, "exercise")}


@pytest.mark.parametrize("name", sorted(untagged_after_solutions()))
def test_the_test_of_a_solution_fails_on_the_broken_code(name, planted):
    names = {}
    for source in cells(f"solutions/{NAME}", None)[:2]:  # the imports and the scenes
        exec(source, names)
    with pytest.raises((AssertionError, IndexError, ZeroDivisionError)):
        exec(untagged_after_solutions()[name], names | {name: planted[name]})


# --- 12.1 to 12.4: reading, cropping, standardising ---------------------------------------------------------


@pytest.fixture
def scene():
    return emojivoc.draw_scene(11)


def test_symptom_void_is_read_as_background(planted, scene):
    _, label = scene
    got = planted["read_colours"](voc.label2image(label))
    assert (label == voc.VOID).any() and (got[label == voc.VOID] == 0).all()
    assert torch.equal(got[label != voc.VOID], label[label != voc.VOID])


def read_with(table, colours):
    """Fill a table as the textbook does, and read a mask with it."""
    for index, (r, g, b) in enumerate(voc.VOC_COLORMAP):
        table[(r * 256 + g) * 256 + b] = index
    red, green, blue = colours.long()
    return table[(red * 256 + green) * 256 + blue]


def only_voids_entry(colours):
    table = torch.zeros(256**3, dtype=torch.uint8)
    r, g, b = voc.VOID_COLOR
    table[(r * 256 + g) * 256 + b] = voc.VOID
    return read_with(table, colours)


def compared_one_by_one(colours):
    label = torch.full(colours.shape[1:], voc.VOID)
    for index, colour in enumerate(voc.VOC_COLORMAP):
        label[(colours == torch.tensor(colour).view(3, 1, 1)).all(0)] = index
    return label


@pytest.mark.parametrize(
    "right",
    [
        voc.voc_label_indices,
        compared_one_by_one,
        lambda colours: read_with(torch.full((256**3,), 255), colours),
    ],
)
def test_right_readers(right):
    assert nb12.read_colours(right)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (only_voids_entry, "(10, 20, 30) is not one of VOC's, but came out as index 0"),
        (lambda c: read_with(torch.full((256**3,), 21), c), "expected 255, got 21"),  # void as a 22nd class
        (lambda c: read_with(torch.full((256**3,), -1), c), "expected 255, got -1"),
        (lambda c: read_with(torch.zeros(256**3), c).masked_fill(c.sum(0) == 0, 255), "expected 0, got 255"),
        (lambda c: c[0], "expected"),
    ],
)
def test_wrong_readers(wrong, words):
    verdict = nb12.read_colours(wrong)
    assert verdict.status == "wrong" and words in verdict.message


def test_symptom_crops_lie_apart(planted):
    numbers = torch.arange(225, dtype=torch.uint8).view(15, 15)
    torch.manual_seed(0)
    pairs = [planted["crop_pair"](numbers.expand(3, -1, -1), numbers, 6, 7) for _ in range(9)]
    assert any(not torch.equal(image[0], label) for image, label in pairs)


def cropped_in_one_tensor(image, label, height, width):
    both = RandomCrop((height, width))(torch.cat([image, label[None]]))
    return both[:3], both[3]


def one_seed_for_both(image, label, height, width):
    seed = int(torch.randint(10**6, ()))
    crops = []
    for part in (image, label[None]):
        torch.manual_seed(seed)
        crops.append(RandomCrop((height, width))(part))
    return crops[0], crops[1][0]


@pytest.mark.parametrize("right", [voc.voc_rand_crop, cropped_in_one_tensor, one_seed_for_both])
def test_right_crops(right):
    assert nb12.crop_pair(right)


def always_the_same_seed(image, label, height, width):
    torch.manual_seed(0)
    return voc.voc_rand_crop(image, label, height, width)


def one_number_for_both_axes(image, label, height, width):
    i = int(torch.randint(min(label.shape[0] - height, label.shape[1] - width) + 1, ()))
    return image[:, :height, i : i + width], label[:height, i : i + width]


def never_the_last_row(image, label, height, width):
    top = int(torch.randint(label.shape[0] - height, ()))
    left = int(torch.randint(label.shape[1] - width, ()))
    return TF.crop(image, top, left, height, width), TF.crop(label, top, left, height, width)


def never_the_last_place(image, label, height, width):
    top, left = (
        int(torch.randint(max(1, n - m), ())) for n, m in zip(label.shape, (height, width), strict=True)
    )
    return TF.crop(image, top, left, height, width), TF.crop(label, top, left, height, width)


def mirrored_where_whole(image, label, height, width):
    if label.shape == (height, width):
        return image.flip(2), label.flip(1)
    return voc.voc_rand_crop(image, label, height, width)


def only_the_image(image, label, height, width):
    return RandomCrop((height, width))(image), label[:height, :width]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (always_the_same_seed, "in one direction they never moved"),
        (
            lambda x, y, h, w: (TF.center_crop(x, [h, w]), TF.center_crop(y[None], [h, w])[0]),
            "in one direction they never moved",
        ),
        (one_number_for_both_axes, "in one direction they never moved"),
        (never_the_last_row, "every position that fits should be possible"),
        (never_the_last_place, "each one row smaller, begin in row 0"),
        (lambda x, y, h, w: voc.voc_rand_crop(x[:, 1:], y[1:], h, w), "each one row smaller, begin in row 1"),
        (mirrored_where_whole, "should return the whole image"),
        (lambda x, y, h, w: None, "returned None"),
        (only_the_image, "different positions"),
        (lambda x, y, h, w: (x, y), "expected the image with shape (3, 6, 9)"),
        (lambda x, y, h, w: voc.voc_rand_crop(x.flip(2), y.flip(1), h, w), "not a window of the original"),
        (lambda x, y, h, w: x, "expected a pair"),
    ],
)
def test_wrong_crops(wrong, words):
    verdict = nb12.crop_pair(wrong)
    assert verdict.status == "wrong" and words in verdict.message


def test_a_check_with_chance_in_it_leaves_the_random_state_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    assert nb12.crop_pair(voc.voc_rand_crop) and nb12.x32_layer(without_bias) and nb12.predict_all(predict)
    assert nb12.make_crops(lambda pairs, h, w: padded_by(255, pairs, h, w)) and nb12.val_batches(filled_up)
    assert torch.equal(torch.get_rng_state(), before)


def test_symptom_tall_images_are_missing(planted):
    scenes = [emojivoc.draw_scene(i) for i in range(20)]
    tall = [pair for pair in scenes if pair[1].shape[0] > pair[1].shape[1]]
    assert tall and planted["make_crops"](tall, 160, 224) == []


def padded_by(fill, pairs, height, width):
    """Fill up right and bottom, then crop."""
    crops = []
    for image, label in pairs:
        right, down = max(0, width - label.shape[1]), max(0, height - label.shape[0])
        image, label = F.pad(image, (0, right, 0, down)), F.pad(label, (0, right, 0, down), value=fill)
        crops.append(cropped_in_one_tensor(image, label, height, width))
    return crops


def crop_pads_if_needed(pairs, height, width):
    crops = []
    for image, label in pairs:
        both = RandomCrop((height, width), pad_if_needed=True)(torch.cat([image, label[None]]))
        crops.append((both[:3], both[3]))
    return crops


def resized_where_small(pairs, height, width):
    crops = []
    for image, label in pairs:
        if label.shape[0] < height or label.shape[1] < width:
            image = TF.resize(image, [height, width], NEAREST)
            label = TF.resize(label[None], [height, width], NEAREST)[0]
        crops.append(voc.voc_rand_crop(image, label, height, width))
    return crops


def filled_up_then(crop):
    """Make an answer that fills up right and bottom with void, and then crops by some rule."""

    def answer(pairs, height, width):
        crops = []
        for image, label in pairs:
            right, down = max(0, width - label.shape[1]), max(0, height - label.shape[0])
            image, label = F.pad(image, (0, right, 0, down)), F.pad(label, (0, right, 0, down), value=255)
            crops.append(crop(image, label, height, width))
        return crops

    return answer


def top_left(image, label, height, width):
    return image[:, :height, :width], label[:height, :width]


def in_the_middle(image, label, height, width):
    return TF.center_crop(image, [height, width]), TF.center_crop(label[None], [height, width])[0]


def one_number_for_both_axes_or_0(image, label, height, width):
    i = int(torch.randint(label.shape[0] - height + 1, ()))
    return image[:, i : i + height, :width], label[i : i + height, :width]


def random_where_large(pairs, height, width):
    """Crop large images at random, and small ones always at the top left."""
    return [
        voc.voc_rand_crop(image, label, height, width)
        if label.shape[0] >= height and label.shape[1] >= width
        else filled_up_then(top_left)([(image, label)], height, width)[0]
        for image, label in pairs
    ]


def taken_from_the_first(pairs, height, width):
    return [voc.voc_rand_crop(*pairs[0], height, width) for _ in pairs]


@pytest.mark.parametrize(
    "right",
    [
        lambda pairs, h, w: [voc.voc_rand_crop(*pair, h, w) for pair in pairs],
        lambda pairs, h, w: padded_by(255, pairs, h, w),
    ],
)
def test_right_lists_of_crops(right):
    assert nb12.make_crops(right)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (
            lambda pairs, h, w: padded_by(0, pairs, h, w),
            "the image can fill 88 pixels and the others should be void",
        ),
        (crop_pads_if_needed, "the others should be void, but 96 have a class"),
        (resized_where_small, "the others should be void"),
        (taken_from_the_first, "does not show what its label describes"),
        (filled_up_then(top_left), "14 x 16, each one row smaller, begin in row 0"),
        (filled_up_then(in_the_middle), "The position should be random"),
        (filled_up_then(one_number_for_both_axes_or_0), "each one column smaller"),
        (random_where_large, "15 x 11, each one row smaller"),
        (lambda pairs, h, w: [crop_or_whole(*pair, h, w) for pair in pairs], "shape (3, 8, 12)"),
        (lambda pairs, h, w: [voc.voc_rand_crop(*pair, h, w) for pair in pairs[:4]], "4 crops came out"),
        (lambda pairs, h, w: [padded_by(255, pairs, h, w)[0][0]] * 5, "expected a pair"),
        (lambda pairs, h, w: torch.zeros(5, 8, 12), "expected a list"),
        (
            lambda pairs, h, w: [mirrored(pair, h, w) for pair in pairs],
            "does not show what its label describes",
        ),
    ],
)
def test_wrong_lists_of_crops(wrong, words):
    verdict = nb12.make_crops(wrong)
    assert verdict.status == "wrong" and words in verdict.message


def crop_or_whole(image, label, height, width):
    if label.shape[0] >= height and label.shape[1] >= width:
        return voc.voc_rand_crop(image, label, height, width)
    return image, label


def mirrored(pair, height, width):
    image, label = voc.voc_rand_crop(*pair, height, width)
    return image.flip(2), label


def test_a_scaled_label_of_the_right_size_is_found():
    def stretched(pairs, height, width):
        crops = [voc.voc_rand_crop(*pair, height, width) for pair in pairs]
        return [(image, label.where(label == 255, label // 2 * 2)) for image, label in crops]

    assert "has it been scaled?" in nb12.make_crops(stretched).message


def test_symptom_the_mean_colour_is_far_from_0(planted):
    grey = torch.tensor(voc.MEAN_COLOR, dtype=torch.uint8).view(1, 3, 1, 1)
    assert planted["standardise"](grey[0]).min() > 400 and fcn.Standardize()(grey).abs().max() < 0.01


@pytest.mark.parametrize(
    "right",
    [
        lambda x: fcn.Standardize()(x[None])[0],
        lambda x: (x - 255 * MEAN) / (255 * STD),
        lambda x: TF.normalize(TF.convert_image_dtype(x), fcn.IMAGENET_MEAN, fcn.IMAGENET_STD),
        lambda x: (x.double() / 255 - MEAN) / STD,
    ],
)
def test_right_standards(right):
    assert nb12.standardise(right)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda x: (x - MEAN) / STD / 255, "an ordinary image"),
        (lambda x: (x / 256 - MEAN) / STD, "an ordinary image"),
        (lambda x: (x / x.max() - MEAN) / STD, "a dim image"),
        (lambda x: ((x / 255 if x.max() > 1 else x) - MEAN) / STD, "a nearly black image"),
        (lambda x: (x // 255 - MEAN) / STD, "an ordinary image"),
        (lambda x: x / 255, "an ordinary image"),
        (lambda x: (x[None] / 255 - MEAN) / STD, "expected shape"),
    ],
)
def test_wrong_standards(wrong, words):
    verdict = nb12.standardise(wrong)
    assert verdict.status == "wrong" and words in verdict.message


# --- 12.5 and 12.6: the network -----------------------------------------------------------------------------


def test_symptom_even_sizes_shrink(planted):
    sizes = {
        n: planted["there_and_back"](torch.ones(1, 2, n, n), torch.ones(4, 2, 3, 3)).shape for n in (15, 16)
    }
    assert sizes[15][2:] == sizes[16][2:] == (15, 15)


def halved(X, K):
    return F.conv2d(X, K, stride=2, padding=1)


def layer_told_the_size(X, K):
    layer = nn.ConvTranspose2d(4, 2, 3, stride=2, padding=1, bias=False)
    layer.weight.data = K
    return layer(halved(X, K), output_size=X.shape).detach()


def cut_from_the_whole(X, K):
    full = F.conv_transpose2d(halved(X, K), K, stride=2, output_padding=1)
    return full[..., 1 : 1 + X.shape[2], 1 : 1 + X.shape[3]]


@pytest.mark.parametrize("right", [layer_told_the_size, cut_from_the_whole])
def test_right_ways_back(right):
    assert nb12.there_and_back(right)


def back(X, K, **options):
    return F.conv_transpose2d(halved(X, K), K, **{"stride": 2, "padding": 1} | options)


def zeros_pasted_on(X, K):
    Y = back(X, K)
    return F.pad(Y, (0, X.shape[3] - Y.shape[3], 0, X.shape[2] - Y.shape[2]))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda X, K: back(X, K, output_padding=1), "for an X of 15 x 15: expected shape"),
        (lambda X, K: back(X, K, output_padding=1 - X.shape[2] % 2), "for an X of 16 x 15: expected shape"),
        (zeros_pasted_on, "for an X of 16 x 16: at"),
        (lambda X, K: F.interpolate(back(X, K), X.shape[2:], mode="bilinear"), "for an X of 16 x 16: at"),
        (lambda X, K: back(X, K, padding=0)[..., : X.shape[2], : X.shape[3]], "for an X of 16 x 16: at"),
        (lambda X, K: X, "for an X of 16 x 16: at"),
    ],
)
def test_wrong_ways_back(wrong, words):
    verdict = nb12.there_and_back(wrong)
    assert verdict.status == "wrong" and words in verdict.message


def test_symptom_an_empty_map_has_a_favourite(planted):
    empty, favourites = torch.zeros(1, 21, 1, 1), set()
    for seed in range(3):
        torch.manual_seed(seed)
        named = planted["x32_layer"](21)(empty)[0].argmax(0).unique()
        assert len(named) == 1  # the same class everywhere
        favourites.add(int(named))
    assert len(favourites) > 1
    assert not upsampling.bilinear_conv_transpose(21, 32)(empty).any()


def x32(classes, **options):
    layer = nn.ConvTranspose2d(classes, classes, 64, stride=32, padding=16, **options)
    layer.weight.data.copy_(upsampling.bilinear_kernel(classes, classes, 64))
    return layer


def without_bias(classes):
    return x32(classes, bias=False)


def with_bias(change):
    """Make an answer that changes the bias of the layer."""

    def answer(classes):
        layer = x32(classes)
        change(layer)
        return layer

    return answer


def every_class_into_every_class(classes):
    layer = x32(classes, bias=False)
    layer.weight.data[:] = layer.weight.data[0, 0]
    return layer


@pytest.mark.parametrize(
    "right",
    [
        without_bias,
        lambda classes: upsampling.bilinear_conv_transpose(classes, 32),
        with_bias(lambda layer: nn.init.zeros_(layer.bias)),
        with_bias(lambda layer: layer.register_parameter("bias", None)),
    ],
)
def test_right_x32_layers(right):
    assert nb12.x32_layer(right)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (with_bias(lambda layer: nn.init.ones_(layer.bias)), "a map of zeros comes out as [1.0, 1.0, 1.0]"),
        (with_bias(lambda layer: layer.bias.data.fill_(layer.bias.mean())), "a map of zeros comes out as"),
        (
            lambda c: nn.ConvTranspose2d(c, c, 64, stride=32, padding=16, bias=False),
            "a map of random numbers",
        ),
        (every_class_into_every_class, "a map of random numbers"),
        (lambda c: x32(c, bias=False).requires_grad_(False), "no trainable parameter left"),
        (lambda c: x32(21, bias=False), "raised"),
        (lambda c: nn.Upsample(scale_factor=32, mode="bilinear"), "a map of random numbers"),
    ],
)
def test_wrong_x32_layers(wrong, words):
    verdict = nb12.x32_layer(wrong)
    assert verdict.status == "wrong" and words in verdict.message


@pytest.mark.parametrize(
    "same_bug",
    [
        with_bias(lambda layer: layer.bias.requires_grad_(False)),
        lambda c: (torch.manual_seed(0), x32(c))[1],  # the same opinion every time
    ],
)
def test_a_random_bias_that_stays_is_not_yet(same_bug):
    assert nb12.x32_layer(same_bug).status == "not yet"


# --- 12.7 to 12.9: training ---------------------------------------------------------------------------------


def test_symptom_the_loss_refuses_255(planted, scene):
    _, label = scene
    logits = torch.zeros(1, 21, *label.shape)
    with pytest.raises(IndexError, match="Target 255 is out of bounds"):
        planted["pixel_loss"](logits, label[None])
    assert math.isclose(training.segmentation_loss(logits, label[None]), math.log(21), abs_tol=1e-4)


def by_hand(logits, label):
    labelled = label != 255
    return F.cross_entropy(logits.movedim(1, -1)[labelled], label[labelled].long())


def changes_the_labels(logits, label):
    label[label == 255] = 20
    return F.cross_entropy(logits, label.long(), ignore_index=20)


def changes_the_labels_of_the_caller(logits, label):
    loss = by_hand(logits, label)
    label[label == 255] = 0
    return loss


def cross_entropy_of(change):
    """Make an answer that gives the loss of changed labels."""
    return lambda logits, label: F.cross_entropy(logits, change(label.long()))


@pytest.mark.parametrize("right", [by_hand, training.segmentation_loss])
def test_right_losses(right):
    assert nb12.pixel_loss(right)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (cross_entropy_of(lambda label: label.clamp(max=20)), "void as class 20, tvmonitor"),
        (cross_entropy_of(lambda label: label.where(label != 255, 0)), "void as class 0, background"),
        (cross_entropy_of(lambda label: label % 255), "void as class 0, background"),
        (
            lambda z, y: F.cross_entropy(z, y.long(), ignore_index=255, reduction="sum") / y.numel(),
            "with void: expected",
        ),
        (
            lambda z, y: F.cross_entropy(z, y.long() % 255, ignore_index=0),  # background ignored as well
            "without void: expected",
        ),
        (changes_the_labels, "without void: expected"),
        (changes_the_labels_of_the_caller, "has changed the labels"),
        (lambda z, y: F.cross_entropy(z, y), "raised"),
        (lambda z, y: [][1], "raised IndexError"),
        (lambda z, y: by_hand(z, y).item(), "no gradients"),
        (lambda z, y: by_hand(z, y).detach(), "no gradients"),
        (
            lambda z, y: F.cross_entropy(z, y.long(), ignore_index=255, reduction="none"),
            "one number, got a tensor of shape (2, 4, 6)",
        ),
    ],
)
def test_wrong_losses(wrong, words):
    verdict = nb12.pixel_loss(wrong)
    assert verdict.status == "wrong" and words in verdict.message


def test_symptom_the_loss_grows_with_the_batch(planted):
    logits, label = torch.randn(1, 21, 4, 4), torch.zeros(1, 4, 4)
    one = planted["batch_loss"](logits, label)
    eight = planted["batch_loss"](logits.repeat(8, 1, 1, 1), label.repeat(8, 1, 1))
    assert torch.isclose(eight, 8 * one) and torch.isclose(one, F.cross_entropy(logits, label.long()))


def per_image(logits, label):
    return F.cross_entropy(logits, label, reduction="none").mean(1).mean(1)


@pytest.mark.parametrize(
    "right",
    [
        lambda z, y: F.cross_entropy(z, y),
        lambda z, y: per_image(z, y).mean(),
        lambda z, y: per_image(z, y).sum() / len(y),
    ],
)
def test_right_batch_losses(right):
    assert nb12.batch_loss(right)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda z, y: per_image(z, y).sum() / 32, "for 4 images"),
        (lambda z, y: per_image(z, y).sum() / 4, "for 1 image"),
        (lambda z, y: per_image(z, y).sum() / len(y) ** 0.5, "for 4 images"),
        (lambda z, y: per_image(z, y).max(), "for 4 images"),  # passes the test of the doubled batch
        (lambda z, y: per_image(z, y)[0], "for 4 images"),
        (lambda z, y: F.cross_entropy(z, y, reduction="sum") / len(y), "for 4 images"),
        (lambda z, y: F.cross_entropy(z, y).item(), "no gradients"),
        (per_image, "one number, got a tensor of shape (4,)"),
    ],
)
def test_wrong_batch_losses(wrong, words):
    verdict = nb12.batch_loss(wrong)
    assert verdict.status == "wrong" and words in verdict.message


def test_symptom_few_batches_divide_by_zero(planted):
    for n in (1, 4):
        with pytest.raises(ZeroDivisionError):
            planted["report_batches"](n)
    assert planted["report_batches"](5) == [1, 2, 3, 4, 5]


def every(step):
    """Make an answer that reports after each ``step(n)`` batches and after the last."""
    return lambda n: [i for i in range(1, n + 1) if i % step(n) == 0 or i == n]


@pytest.mark.parametrize(
    "right",
    [
        every(lambda n: max(1, n // 5)),
        every(lambda n: n // 5 or 1),
        every(lambda n: -(-n // 5)),  # rounded up
        every(lambda n: n // 5 + 1),
        lambda n: tuple(sorted({-(-n * i // 5) for i in range(1, 6)})),  # five of them, evenly
    ],
)
def test_right_reports(right):
    assert nb12.report_batches(right)


def caught(n):
    try:
        return every(lambda n: n // 5)(n)
    except ZeroDivisionError:
        return []


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (caught, "for 3 batches: there must be a report after the last batch"),
        (lambda n: every(lambda n: n // 5)(n) if n >= 5 else [n], "for 3 batches: expected a report after"),
        (every(lambda n: n / 5), "for 3 batches: expected a report after"),  # hardly anything % 0.6 is 0
        (every(lambda n: 1), "9 reports or fewer, got 10"),
        (lambda n: range(1, n + (n < 10)), "after the last batch, got [1, 2, 3, ..., 8, 9]"),
        (every(lambda n: 5), "for 3 batches: expected a report after"),
        (every(lambda n: n // 2 if n > 5 else 1), "up to 3 batches per report, expected at most 2"),
        (
            lambda n: [i for i in range(1, n + 1) if n < 5 or i % (n // 5) == 0],
            "a report after the last batch",
        ),
        (lambda n: [1, *range(1, n + 1)] if n > 4 else list(range(1, n + 1)), "increasing batch numbers"),
        (lambda n: list(range(1, n + 1)) if n < 5 else 1 / 0, "raised ZeroDivisionError"),
    ],
)
def test_wrong_reports(wrong, words):
    verdict = nb12.report_batches(wrong)
    assert verdict.status == "wrong" and words in verdict.message


# --- 12.10 to 12.13: prediction and scores ------------------------------------------------------------------


def test_symptom_company_changes_the_answer(planted):
    training.set_seed(0)
    model = fcn.FCN32s(21)
    images = torch.stack([voc.voc_rand_crop(*emojivoc.draw_scene(i), 64, 64)[0] for i in range(3)])
    before = model.backbone.bn1.running_mean.clone()
    recorded = []
    model.register_forward_hook(lambda layer, _, out: recorded.append(out.requires_grad))
    alone, together = planted["predict_all"](model, images[:1])[0], planted["predict_all"](model, images)[0]
    assert (alone != together).float().mean() > 0.1
    assert not torch.equal(model.backbone.bn1.running_mean, before) and recorded == [True, True]


def predict(model, images, mode=False, grad=False, restore=True):
    """Predict in one mode, with or without gradients, and put the mode back or not."""
    before = model.training
    model.train(mode)
    with torch.set_grad_enabled(grad):
        classes = model(images).argmax(1)
    model.train(before if restore else mode)
    return classes


def gradients_left_off(model, images):
    torch.set_grad_enabled(False)
    return predict(model, images)


@pytest.mark.parametrize(
    "right",
    [
        predict,
        lambda model, images: [prediction.predict(model, image) for image in images],
        lambda model, images: predict(copy.deepcopy(model), images),
        lambda model, images: predict(model, images).to(torch.uint8),
    ],
)
def test_right_predictions(right):
    assert nb12.predict_all(right)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (
            lambda m, x: predict(m, x, mode=True),
            "in training mode: predicting has changed",
        ),
        (lambda m, x: predict(m, x, grad=True), "has recorded gradients"),
        (lambda m, x: predict(m, x, restore=False), "is in the other mode afterwards"),
        (lambda m, x: (predict(m, x), m.layers[1].eval())[0], "a layer of it, is in the other mode"),
        (gradients_left_off, "gradients stay switched off"),
        (
            lambda m, x: (m.train(), predict(m, x), m.train())[1],
            "in eval mode: ",
        ),
        (
            lambda m, x: predict(copy.deepcopy(m), x, mode=True),
            "other classes in the batch than on its own",
        ),
        (lambda m, x: predict(m, x).flip(0), "other classes in the batch than on its own"),
        (lambda m, x: m.eval()(x), "expected shape"),
        (lambda m, x: predict(m, x)[0], "expected shape"),
        (lambda m, x: predict(m, x).tolist(), "expected a tensor, got list"),
        (lambda m, x: m.missing, "raised AttributeError"),
    ],
)
def test_wrong_predictions(wrong, words):
    verdict = nb12.predict_all(wrong)
    assert verdict.status == "wrong" and words in verdict.message


def test_a_check_puts_the_gradients_back():
    nb12.predict_all(gradients_left_off)
    assert torch.is_grad_enabled()


def test_symptom_evaluation_loses_images_and_pixels(planted):
    scenes = [emojivoc.draw_scene(i) for i in range(10)]
    torch.manual_seed(0)
    attempts = [
        torch.cat([labels for _, labels in planted["val_batches"](scenes)]).flatten().bincount()
        for _ in range(2)
    ]
    assert not torch.equal(*attempts) and attempts[0].sum() == 8 * 96 * 96


def filled_up(pairs):
    """Put whole images into batches of four, filled up with void at random places."""
    large = [voc.voc_rand_crop(*pair, 200, 160) for pair in pairs]
    return DataLoader(large, batch_size=4)


def in_tiles(pairs):
    """Cut each image in two, and make each half a batch."""
    return [
        (x[None], y[None])
        for image, label in pairs
        for x, y in zip(image.split(64, dim=1), label.split(64), strict=True)
    ]


@pytest.mark.parametrize(
    "right",
    [
        lambda pairs: DataLoader(pairs, batch_size=1),
        lambda pairs: DataLoader(pairs, batch_size=1, shuffle=True),
        lambda pairs: [(image[None], label[None]) for image, label in pairs],
        filled_up,
        in_tiles,
    ],
)
def test_right_val_batches(right):
    assert nb12.val_batches(right)


def cropped(crop, **options):
    """Make an answer that crops before it makes batches."""
    return lambda pairs: DataLoader([crop(*pair) for pair in pairs], **{"batch_size": 8} | options)


def centre(image, label):
    return TF.center_crop(image, [96, 96]), TF.center_crop(label[None], [96, 96])[0]


def filled_with_0(image, label):
    padding = (0, 160 - label.shape[1], 0, 200 - label.shape[0])
    return F.pad(image, padding), F.pad(label, padding)


def centred_in_0(image, label):
    return TF.center_crop(image, [200, 160]), TF.center_crop(label[None], [200, 160])[0]


def void_forgotten(image, label):
    return image, label.where(label != 255, 0)


def brightened(image, label):
    return image + 1, label


def resized_smoothly(image, label):
    return TF.resize(image, [96, 96]), TF.resize(label[None], [96, 96], NEAREST)[0]


def resized(image, label):
    return TF.resize(image, [96, 96], NEAREST), TF.resize(label[None], [96, 96], NEAREST)[0]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (cropped(lambda x, y: voc.voc_rand_crop(x, y, 96, 96)), "labelled pixels"),
        (cropped(lambda x, y: voc.voc_rand_crop(x, y, 96, 96), batch_size=1), "labelled pixels"),
        (cropped(centre), "labelled pixels"),
        (cropped(resized), "labelled pixels"),
        (cropped(lambda x, y: voc.voc_rand_crop(x, y, 200, 160), drop_last=True), "image 8 (166 x 94) has"),
        (lambda pairs: DataLoader(pairs, batch_size=8), "raised"),
        (lambda pairs: pairs, "expected batches"),
        (lambda pairs: DataLoader([(x.flip(2), y) for x, y in pairs], 1), "have been moved or changed"),
        (cropped(filled_with_0), "no image here has class 0"),
        (cropped(centred_in_0, batch_size=2), "no image here has class 0"),
        (cropped(void_forgotten, batch_size=1), "no image here has class 0"),
        (cropped(brightened, batch_size=1), "have been moved or changed"),
        (cropped(resized_smoothly), "labelled pixels"),
        (lambda pairs: [label[None] for _, label in pairs], "batches of two tensors"),
        (lambda pairs: [*DataLoader(pairs, 1)] * 2, "labelled pixels"),
    ],
)
def test_wrong_val_batches(wrong, words):
    verdict = nb12.val_batches(wrong)
    assert verdict.status == "wrong" and words in verdict.message


def test_symptom_an_iou_above_1(planted):
    label = torch.arange(12).view(4, 3) % 3
    batches = list(zip(label.split(1), label.split(1), strict=True))
    assert planted["mean_iou"](batches, 3) == pytest.approx(4)  # a perfect prediction in four batches
    assert planted["mean_iou"]([(label, label)], 3) == pytest.approx(1)


def counted(batches, num_classes):
    return [metrics.confusion_matrix(guess, label, num_classes) for guess, label in batches]


def scored(batches, num_classes):
    return [metrics.scores(matrix).miou for matrix in counted(batches, num_classes)]


def joined(batches, num_classes):
    guess, label = (torch.cat(parts) for parts in zip(*batches, strict=True))
    return scored([(guess, label)], num_classes)[0]


def weighted_by_images(batches, num_classes):
    lengths = [len(label) for _, label in batches]
    return sum(n * s for n, s in zip(lengths, scored(batches, num_classes), strict=True)) / sum(lengths)


def absent_counted_as_0(batches, num_classes):
    return float(metrics.scores(sum(counted(batches, num_classes))).per_class.nan_to_num(0).mean())


def only_true_classes(batches, num_classes):
    matrix = sum(counted(batches, num_classes))
    true = matrix.sum(1) > 0
    return float(metrics.scores(matrix).per_class[true].mean())


@pytest.mark.parametrize("right", [joined, lambda b, n: metrics.scores(sum(counted(b, n))).miou])
def test_right_means(right):
    assert nb12.mean_iou(right)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda b, n: sum(scored(b, n)) / len(b),  # the fix that comes to mind first
        weighted_by_images,
        lambda b, n: min(1.0, sum(scored(b, n))),
        lambda b, n: scored(b, n)[-1],
        lambda b, n: max(scored(b, n)),
        absent_counted_as_0,
        lambda b, n: metrics.scores(sum(counted(b, n))).pixel_acc,
        only_true_classes,
        lambda b, n: {"miou": joined(b, n)},
        lambda b, n: metrics.scores(sum(counted(b, n))).per_class,
    ],
)
def test_wrong_means(wrong):
    verdict = nb12.mean_iou(wrong)
    assert verdict.status == "wrong" and "nine images in" in verdict.message


@pytest.mark.parametrize("check", ["read_colours", "mean_iou", "report_batches", "count_pixels"])
def test_a_missing_return_is_wrong(check):
    verdict = getattr(nb12, check)(lambda *given: None)
    assert verdict.status == "wrong" and "returned None" in verdict.message
    assert getattr(nb12, check)(...).status == "not yet"


def grid(side, mask):
    """Make a network that knows the mask, as finely as its input is."""

    def network(images):
        small = TF.resize(mask[None], list(images.shape[2:]), NEAREST)
        return F.one_hot(small.where(small != voc.VOID, 0).long(), 21).permute(0, 3, 1, 2)

    return network


def test_symptom_a_blur_gets_full_marks(planted):
    image, mask = emojivoc.draw_scene(9)
    matrix = planted["count_pixels"](grid(32, mask), image, mask)
    assert metrics.scores(matrix).miou == 1 and matrix.sum() < (mask != voc.VOID).sum() / 10
    honest = metrics.scores(logits_enlarged(grid(32, mask), image, mask)).miou
    assert honest < 0.9


def small_logits(network, image):
    with torch.no_grad():
        return network(TF.resize(image, [32, 32])[None]).float()


def logits_enlarged(network, image, label, mode="bilinear"):
    logits = F.interpolate(small_logits(network, image), tuple(label.shape), mode=mode)
    return metrics.confusion_matrix(logits.argmax(1)[0], label, 21)


def classes_picked(network, image, label):
    guess = TF.resize(small_logits(network, image).argmax(1), list(label.shape), NEAREST)[0]
    return metrics.confusion_matrix(guess, label, 21)


def whole_image(network, image, label):
    return metrics.confusion_matrix(prediction.predict(network, image), label, 21)


def classes_mixed(network, image, label):
    guess = TF.resize(small_logits(network, image).argmax(1).float(), list(label.shape))[0]
    return metrics.confusion_matrix(guess.round().long(), label, 21)


def side_of(side):
    """Make an answer that resizes the mask to another size."""

    def answer(network, image, label):
        label = TF.resize(label[None], [side, side], NEAREST)[0]
        return logits_enlarged(network, image, label)

    return answer


@pytest.mark.parametrize(
    "right",
    [
        logits_enlarged,
        lambda n, x, y: logits_enlarged(n, x, y, "nearest"),
        classes_picked,
        whole_image,
    ],
)
def test_right_counts(right):
    assert nb12.count_pixels(right)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (classes_mixed, "which the network never predicts"),
        (side_of(64), "pixels of background"),
        (side_of(256), "pixels of background"),
        (lambda n, x, y: logits_enlarged(n, x, y[:96, :88]), "pixels of background"),
        (lambda n, x, y: logits_enlarged(n, x, y.where(y != 255, 0)), "pixels of background"),
        (
            lambda n, x, y: logits_enlarged(n, x.flip(1), y),
            "Are the prediction and the mask aligned?",
        ),
        (lambda n, x, y: logits_enlarged(n, x, y.T), "aligned"),
        (lambda n, x, y: F.interpolate(small_logits(n, x), 32).argmax(1), "expected a matrix (21, 21)"),
        (lambda n, x, y: 0.5, "expected a matrix (21, 21), got float"),
        (lambda n, x, y: metrics.confusion_matrix(small_logits(n, x).argmax(1)[0], y, 21), "same shape"),
    ],
)
def test_wrong_counts(wrong, words):
    verdict = nb12.count_pixels(wrong)
    assert verdict.status == "wrong" and words in verdict.message


def test_a_wrong_prediction_is_drawn():
    nb12.count_pixels(classes_mixed)
    assert [ax.get_title() for ax in plt.gcf().axes] == ["the image", "its mask"]
