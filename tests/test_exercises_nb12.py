"""Every bug is real, correct fixes are accepted, and common wrong ones are refused with a helpful message."""

import itertools
import random
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from notebook_cells import cells, run_stubs
from PIL import Image
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


@pytest.fixture(scope="module")
def beginning():
    """What the first two cells of the solutions define: the imports and the scenes."""
    names = {}
    for source in cells(f"solutions/{NAME}", None)[:2]:
        exec(source, names)
    return names


@pytest.mark.parametrize("name", sorted(untagged_after_solutions()))
def test_the_test_of_a_solution_fails_on_the_broken_code(name, planted, beginning):
    with pytest.raises((AssertionError, IndexError, ZeroDivisionError)):
        exec(untagged_after_solutions()[name], beginning | {name: planted[name]})


# --- 12.1 to 12.4: reading, cropping, standardising ---------------------------------------------------------


@pytest.fixture
def scene():
    return emojivoc.draw_scene(11)


def judged(check, answers):
    """Refuse each answer with its words."""
    for wrong, words in answers:
        verdict = getattr(nb12, check)(wrong)
        assert verdict.status == "wrong" and words in verdict.message, (words, verdict.message)


def counted(guess, label, dtype=torch.long, number=lambda t, g: 21 * t + g, keep=lambda y: y != 255):
    """Solution 12.1 with one part of it changed."""
    here = keep(label)
    pairs = number(label[here].to(dtype), guess[here].to(dtype)).long()
    return torch.bincount(pairs, minlength=441)[:441].reshape(21, 21)


def test_12_1_counts(planted, scene):
    label = scene[1]
    perfect = planted["count_pairs"](label.where(label != 255, 0), label)
    assert perfect[20].sum() == 0 and perfect.sum() == (label != 255).sum()  # no television is left
    assert nb12.count_pairs(counted) and nb12.count_pairs(lambda g, y: counted(g, y, torch.int16))
    assert nb12.count_pairs(planted["count_pairs"]).status == "not yet"
    judged(
        "count_pairs",
        [
            (lambda g, y: counted(g, y, number=lambda t, g: 21 * g + t), "rows and columns are swapped"),
            (lambda g, y: counted(g, y.clamp(max=20)), "for a label with all classes: at (20, "),
            (lambda g, y: counted(g, y, number=lambda t, g: 20 * t + g), "for a label with all classes: at "),
        ],
    )


def turned(image, label, angle, way=NEAREST, fill=255, **options):
    """Solution 12.2 with one part of it changed."""
    image = TF.rotate(image, options.get("image_angle", angle), TF.InterpolationMode.BILINEAR)
    return image, TF.rotate(label[None], angle, way, fill=fill)[0]


def emptied_afterwards(image, label, angle):
    image, label = turned(image, label, angle, fill=0)
    return image, label.where(label != 0, 255)


def turned_as_one(image, label, angle):
    both = TF.rotate(torch.cat([image, label[None] + 1]), angle)  # 0 is beyond the image
    label = both[3].where(both[3] != 0, 0)
    return both[:3], torch.where(both[3] == 0, 255, label - 1).to(torch.uint8)


def test_12_2_rotations(planted):
    person = torch.full((20, 30), 15, dtype=torch.uint8)
    assert 0 in planted["turn"](person.expand(3, -1, -1), person, 30)[1]
    assert nb12.turn(turned) and nb12.turn(turned_as_one)
    assert nb12.turn(planted["turn"]).status == "not yet"
    judged(
        "turn",
        [
            (emptied_afterwards, "pixels inside the image are wrong"),
            (
                lambda x, y, a: turned(x, y, a, TF.InterpolationMode.BILINEAR),
                "values that the original does not",
            ),
            (lambda x, y, a: turned(x, y, a, image_angle=-a), "the image is not rotated"),
            (lambda x, y, a: turned(x, y, -a), "pixels"),
            (lambda x, y, a: (x, y), "pixels"),
            (lambda x, y, a: turned(x, y, a)[1], "expected a pair"),
        ],
    )


def test_12_4_losses(planted):
    sure = torch.zeros(1, 21, 1, 1)
    sure[0, 7] = 50
    assert 2.1 < planted["mean_loss"](sure, torch.full((1, 1, 1), 7)) < 2.2
    assert nb12.mean_loss(lambda z, y: F.cross_entropy(z, y.long(), ignore_index=255))
    assert nb12.mean_loss(lambda z, y: F.nll_loss(z.log_softmax(1), y.long(), ignore_index=255))
    assert nb12.mean_loss(training.segmentation_loss)
    assert nb12.mean_loss(planted["mean_loss"]).status == "not yet"
    judged(
        "mean_loss",
        [
            (lambda z, y: F.nll_loss(z.softmax(1), y.long(), ignore_index=255), "got -0."),
            (lambda z, y: F.nll_loss(z.softmax(1).log(), y.long(), ignore_index=255), "about 400: expected"),
            (lambda z, y: F.cross_entropy(z, y.long().clamp(max=20)), "about 3: expected"),
            (lambda z, y: F.cross_entropy(z, y.long(), ignore_index=255).item(), "no gradients"),
        ],
    )


def poly(base, step, steps, every, last=lambda step, every: step - step % every, power=0.9):
    return base * (1 - last(step, every) / steps) ** power


def test_12_5_rates(planted):
    assert {planted["poly_rate"](0.1, step, 100, 10) for step in range(100)} == {0.1}
    assert nb12.poly_rate(poly) and nb12.poly_rate(lambda b, s, n, e: poly(b, s // e * e, n, 1))
    assert nb12.poly_rate(planted["poly_rate"]).status == "not yet"
    judged(
        "poly_rate",
        [
            (lambda b, s, n, e: b if s % e else poly(b, s, n, 1), "at step 11 expected 0.0910, got 0.1000"),
            (lambda b, s, n, e: poly(b, s, n, 1), "every 10: at step 1 expected 0.1000, got 0.0991"),
            (lambda b, s, n, e: poly(b, s, n, e, power=1), "at step 10 expected"),
            (lambda b, s, n, e: poly(b, s, n, e, lambda s, e: s // e), "at step 10 expected"),
        ],
    )


def drawn(mix, seed, epoch, index, rows, columns):
    generator = torch.Generator().manual_seed(mix(seed, epoch, index))
    return [int(torch.randint(n, (), generator=generator)) for n in (rows, columns)]


def mixed_by(mix):
    return lambda *given: drawn(mix, *given)


def by_numpy(seed, epoch, index, rows, columns):
    generator = np.random.default_rng([seed, epoch, index])
    return int(generator.integers(rows)), int(generator.integers(columns))


def common_numbers(seed, epoch, index, rows, columns):
    torch.manual_seed(1_000_003 * seed + 1009 * epoch + index)
    return [int(torch.randint(n, ())) for n in (rows, columns)]


def numpys_common_numbers(seed, epoch, index, rows, columns):
    np.random.seed(hash((seed, epoch, index)) % 2**32)
    return [int(np.random.randint(n)) for n in (rows, columns)]


def pythons_common_numbers(seed, epoch, index, rows, columns):
    random.seed(str((seed, epoch, index)))
    return [random.randrange(n) for n in (rows, columns)]


def by_python(seed, epoch, index, rows, columns):
    own = random.Random(str((seed, epoch, index)))
    return [own.randrange(n) for n in (rows, columns)]


def test_12_7_corners(planted):
    corner = planted["corner"]
    assert corner(0, 0, 3, 99, 99) == corner(0, 1, 2, 99, 99) == corner(3, 0, 0, 99, 99)
    far = mixed_by(lambda s, e, i: 1_000_003 * s + 1009 * e + i)
    assert nb12.corner(by_numpy) and nb12.corner(by_python)
    assert nb12.corner(far) and nb12.corner(mixed_by(lambda *key: hash(key)))
    assert nb12.corner(corner).status == "not yet"
    judged(
        "corner",
        [
            (mixed_by(lambda s, e, i: s * e * i), "and seed 0, epoch 0, image 1 give the same place"),
            (mixed_by(lambda s, e, i: 100 * e + i), "give the same place"),
            (
                mixed_by(lambda s, e, i: 10**6 * s + 100 * e + i),
                "epoch 0, image 100 and seed 0, epoch 1, image 0",
            ),
            (mixed_by(lambda s, e, i: 1_000 * s + i), "give the same place"),
            (common_numbers, "common random numbers of PyTorch"),
            (numpys_common_numbers, "common random numbers of NumPy"),
            (pythons_common_numbers, "common random numbers of Python"),
            (lambda s, e, i, r, c: np.random.default_rng().integers([r, c]).tolist(), "a second time"),
            (lambda s, e, i, r, c: [by_numpy(s, e, i, r, c)[0]], "expected two numbers"),
            (lambda s, e, i, r, c: [by_numpy(s, e, i, r + 9, c)[0] + r, 0], "out of range"),
            (lambda s, e, i, r, c: by_numpy(s, e, i, max(r - 1, 1), c), "came up 0 times"),
            (lambda s, e, i, r, c: [by_numpy(s, e, i, r, c)[0] % c] * 2, ""),
        ],
    )


def head(model, classes, parameters=lambda model, old: model.parameters(), kernel=1, lr=0.1, **options):
    """Solution 12.8 with one part of it changed."""
    old = model.score
    model.score = torch.nn.Conv2d(old.in_channels, classes, kernel)
    return options.get("kind", torch.optim.SGD)(parameters(model, old), lr=lr)


def old_ones_kept(model, classes):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.score = torch.nn.Conv2d(model.score.in_channels, classes, 1)
    optimizer.add_param_group({"params": model.score.parameters()})
    return optimizer


def cut_to_size(model, classes):
    model.score.weight.data = model.score.weight.data[:classes]
    model.score.bias.data = model.score.bias.data[:classes]
    return torch.optim.SGD(model.parameters(), lr=0.1)


def test_12_8_heads(planted):
    assert nb12.with_new_classes(head)
    assert nb12.with_new_classes(planted["with_new_classes"]).status == "not yet"
    judged(
        "with_new_classes",
        [
            (old_ones_kept, "that is no longer part of the model"),
            (
                lambda m, c: head(m, c, lambda m, old: m.score.parameters()),
                "does not hold the model's features",
            ),
            (cut_to_size, "should be a new nn.Conv2d"),
            (lambda m, c: head(m, 21), "expected a 1x1 convolution from 8 channels to 4"),
            (lambda m, c: head(m, c, kernel=3), "expected a 1x1 convolution"),
            (lambda m, c: head(m, c, lr=0.01), "expected the rate 0.1"),
            (lambda m, c: head(m, c, kind=torch.optim.AdamW), "expected a torch.optim.SGD, got AdamW"),
        ],
    )


def enlarged(mask, height, width, way=Image.Resampling.NEAREST):
    return torch.from_numpy(np.array(Image.fromarray(mask.numpy()).resize((width, height), way)))


def interpolated(mask, height, width, mode="nearest-exact"):
    return F.interpolate(mask[None, None].float(), (height, width), mode=mode)[0, 0].round().to(torch.uint8)


def test_12_10_masks(planted):
    assert planted["enlarge_mask"](torch.zeros(2, 3, dtype=torch.uint8), 20, 30).shape == (30, 20)
    assert nb12.enlarge_mask(enlarged) and nb12.enlarge_mask(interpolated)
    assert nb12.enlarge_mask(planted["enlarge_mask"]).status == "not yet"
    judged(
        "enlarge_mask",
        [
            (lambda m, h, w: enlarged(m, h, w, Image.Resampling.BICUBIC), "that the original does not have"),
            (lambda m, h, w: interpolated(m, h, w, "bilinear"), "that the original does not have"),
            (lambda m, h, w: planted["enlarge_mask"](m, h, w).T, "that the original does not have"),
            (lambda m, h, w: interpolated(m, h, w, "nearest"), "expected"),
            (lambda m, h, w: enlarged(m.flip(1).contiguous(), h, w), "expected"),
            (lambda m, h, w: enlarged(m, h, h), "to 40 x 90: expected shape (40, 90), got (40, 40)"),
            (lambda m, h, w: enlarged(m, h, w).numpy(), "expected a tensor, got ndarray"),
        ],
    )


def averaged(model, batches, loss, take=lambda value: value.item(), end=lambda total: total):
    total = 0.0
    for images, labels in batches:
        total = total + take(loss(model(images), labels))
    return end(total / len(batches))


def without_graphs(model, batches, loss):
    with torch.no_grad():
        return averaged(model, batches, loss, take=lambda value: value)


def in_eval_mode(model, batches, loss):
    return averaged(model.eval(), batches, loss)


def test_12_12_means(planted):
    score, batch = torch.nn.Conv2d(3, 4, 1), (torch.rand(1, 3, 2, 2), torch.zeros(1, 2, 2, dtype=torch.long))
    assert planted["mean_of_losses"](score, [batch] * 3, F.cross_entropy).requires_grad
    assert nb12.mean_of_losses(averaged) and nb12.mean_of_losses(without_graphs)
    assert nb12.mean_of_losses(lambda m, b, f: averaged(m, b, f, lambda value: value.detach()))
    assert nb12.mean_of_losses(planted["mean_of_losses"]).status == "not yet"
    judged(
        "mean_of_losses",
        [
            (lambda m, b, f: averaged(m, b, f, lambda v: v, lambda v: v.item()), "of 8 batches were alive"),
            (lambda m, b, f: averaged(m, b, f, lambda v: v, lambda v: v.detach()), "of 8 batches were alive"),
            (lambda m, b, f: averaged(m, b, f) * len(b), "for 8 batches: expected"),
            (lambda m, b, f: averaged(m, b[:1], f), "for 8 batches: expected"),
            (in_eval_mode, "leave its mode as it is"),
            (lambda m, b, f: averaged(m, b, f) and averaged(m, b, f), "the model was called 16 times"),
        ],
    )


def test_a_check_with_chance_in_it_leaves_the_random_state_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    assert nb12.corner(by_numpy) and nb12.x32_layer(without_bias) and nb12.mean_of_losses(averaged)
    assert nb12.make_crops(lambda pairs, h, w: padded_by(255, pairs, h, w)) and nb12.val_batches(filled_up)
    assert torch.equal(torch.get_rng_state(), before)


def cropped_in_one_tensor(image, label, height, width):
    both = RandomCrop((height, width))(torch.cat([image, label[None]]))
    return both[:3], both[3]


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


@pytest.mark.parametrize("check", ["count_pairs", "poly_rate", "report_batches", "count_pixels"])
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
