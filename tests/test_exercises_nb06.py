"""Typical wrong answers are refused, with a helpful message."""

import matplotlib.pyplot as plt
import pytest
import torch

from d2lseg import prediction
from d2lseg.exercises import nb06


def gap(values, dim=0):
    best, second = values.topk(2, dim=dim).values.unbind(dim)
    return best - second


@pytest.mark.parametrize(
    "wrong",
    [
        lambda z: gap(z),  # logits, not probabilities
        lambda z: gap(z.softmax(dim=1)),  # over the rows
        lambda z: z.softmax(dim=0).amax(dim=0),  # the largest alone
        lambda z: z.softmax(dim=0).amax(dim=0) - z.softmax(dim=0).amin(dim=0),  # the smallest, not the second
        lambda z: gap(z.softmax(dim=0)).mean(),
        lambda z: gap(z.sigmoid()),
    ],
)
def test_wrong_margins(wrong):
    verdict = nb06.margin(wrong)
    assert verdict.status == "wrong" and "for logits of shape" in verdict.message


def starts(size, tile, overlap):
    """Tiles as in the module, counted by hand."""
    found = [0]
    while found[-1] + tile < size:
        found.append(found[-1] + tile - overlap)
    return found


@pytest.mark.parametrize(
    "wrong",
    [
        starts,  # the module's rule: the last tile reaches out
        lambda size, tile, overlap: list(range(0, size - tile + 1, tile - overlap)),  # the end is not covered
        lambda size, tile, overlap: [*range(0, size - tile, tile - overlap), size - tile],  # size < tile
        lambda size, tile, overlap: list(range(0, size, tile)),  # no overlap
        lambda size, tile, overlap: [min(s, max(size - tile, 0)) for s in range(0, size, tile - overlap)],
        lambda size, tile, overlap: [0],
    ],
)
def test_wrong_tiles_are_drawn(wrong):
    verdict = nb06.full_tiles(wrong)
    assert verdict.status == "wrong" and "expected [" in verdict.message
    assert [ax.get_title() for ax in plt.gcf().axes] == ["expected", "yours"]


def test_starts_may_be_a_tensor():
    def full(size, tile, overlap):
        return torch.tensor(starts(size, tile, overlap)).clamp(max=max(size - tile, 0))

    assert nb06.full_tiles(full) and full(10, 4, 0).tolist() == [0, 4, 6]


def blend_with(weight):
    """The solution with another weight of the right tile."""

    def blend(left, right, overlap):
        w, cut = weight(torch.arange(overlap), overlap), left.shape[-1] - overlap
        middle = (1 - w) * left[..., cut:] + w * right[..., :overlap]
        return torch.cat([left[..., :cut], middle, right[..., overlap:]], dim=-1)

    return blend


def test_blend_and_its_wrong_variants():
    assert nb06.blend(blend_with(lambda j, n: (j + 0.5) / n))
    for weight in (
        lambda j, n: j / n,
        lambda j, n: (j + 1) / n,
        lambda j, n: 1 - (j + 0.5) / n,  # the wrong way round
        lambda j, n: torch.full((n,), 0.5),  # the plain average
        lambda j, n: (j >= n / 2).float(),  # a cut in the middle
    ):
        assert nb06.blend(blend_with(weight)).status == "wrong"
    side_by_side = nb06.blend(lambda left, right, overlap: torch.cat([left, right], dim=-1))
    assert "expected shape" in side_by_side.message
    assert nb06.blend(lambda left, right, overlap: 0).status == "wrong"


def mirrored_with(first=lambda x: x.flip(-1), back=lambda z: z.flip(-1), score=prediction.predict_logits):
    """The solution with one part of it changed."""
    return lambda model, image: (score(model, image) + back(score(model, first(image)))) / 2


def test_mirrored_and_its_wrong_variants():
    assert nb06.mirrored(mirrored_with())
    assert "still mirrored" in nb06.mirrored(mirrored_with(back=lambda z: z)).message
    for part in (
        {"first": lambda x: x.flip(1), "back": lambda z: z.flip(1)},  # upside down
        {"first": lambda x: x, "back": lambda z: z},  # not mirrored at all
        {"score": lambda model, image: model(image[None])[0]},  # in training mode
        {"score": lambda model, image: prediction.predict(model, image)},  # averages classes
        {"score": lambda model, image: prediction.predict_logits(model, image).softmax(0)},
    ):
        assert nb06.mirrored(mirrored_with(**part)).status == "wrong", part


def test_training_mode_is_named():
    def both_at_once(model, image):
        straight, turned = model(torch.stack([image, image.flip(-1)]))
        return (straight + turned.flip(-1)) / 2

    alone = mirrored_with(score=lambda model, image: model(image[None])[0])
    for answer in (alone, both_at_once):
        assert "in training mode" in nb06.mirrored(answer).message
    assert nb06.mirrored(lambda model, image: both_at_once(model.eval(), image))


def test_the_checks_model_leaves_the_random_state_alone():
    torch.manual_seed(3)
    want = torch.rand(1)
    torch.manual_seed(3)
    nb06.mirrored(mirrored_with())
    assert torch.equal(torch.rand(1), want)
