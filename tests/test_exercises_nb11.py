"""Typical wrong answers are refused, with a helpful message."""

import collections
import math

import pytest
import torch

from d2lseg import metrics
from d2lseg.datasets import convert
from d2lseg.exercises import nb11


def remap(mask, mapping):
    """The solution of 11.1."""
    new = torch.full_like(mask, 255)
    for value in mask.unique().tolist():
        if value != 255 and value not in mapping:
            raise ValueError(f"value {value} is not in the mapping")
        new[mask == value] = {255: 255, **mapping}[value]
    return new


def one_after_the_other(mask, mapping):
    mask = mask.clone()
    for old, new in mapping.items():
        mask[mask == old] = new
    return mask


def in_place(mask, mapping):
    mask[:] = remap(mask, mapping)
    return mask


def unknown_to_background(mask, mapping):
    table = torch.zeros(256, dtype=torch.uint8)
    table[255] = 255
    for old, new in mapping.items():
        table[old] = new
    return table[mask.long()]


def silent_error(mask, mapping):
    try:
        return remap(mask, mapping)
    except ValueError:
        raise ValueError("a value is missing") from None


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (one_after_the_other, "at ("),
        (in_place, "you changed the caller's mask"),
        (unknown_to_background, "expected a ValueError, but none came"),
        (silent_error, "name the value in it"),
        (lambda mask, mapping: torch.tensor([[mapping[v] for v in r] for r in mask.tolist()]), "KeyError"),
        (lambda mask, mapping: remap(mask, mapping).masked_fill(mask == 255, 0), "at ("),
        (lambda mask, mapping: remap(mask, mapping).flatten(), "expected shape"),
        (lambda mask, mapping: remap(mask, mapping).tolist(), "expected a tensor"),
    ],
)
def test_wrong_mappings(wrong, words):
    assert nb11.remap(remap)
    verdict = nb11.remap(wrong)
    assert verdict.status == "wrong" and words in verdict.message


def inside(x, y, corners, strict=True, close=True):
    """The solution of 11.2, with parts of the rule to exchange."""
    crossings = 0
    for (x1, y1), (x2, y2) in zip(corners, corners[1:] + (corners[:1] if close else []), strict=False):
        reaches = (y1 > y) != (y2 > y) if strict else min(y1, y2) <= y <= max(y1, y2) and y1 != y2
        if reaches and x1 + (y - y1) * (x2 - x1) / (y2 - y1) > x:
            crossings += 1
    return crossings % 2 == 1


def left_of_all_edges(x, y, corners):
    """Only right for convex polygons in one direction."""
    edges = zip(corners, corners[1:] + corners[:1], strict=True)
    return all((x2 - x1) * (y - y1) - (y2 - y1) * (x - x1) > 0 for (x1, y1), (x2, y2) in edges)


def winding(x, y, corners):
    """Another rule: how often the outline goes round the point."""
    turns = 0.0
    for (x1, y1), (x2, y2) in zip(corners, corners[1:] + corners[:1], strict=True):
        angle = math.atan2(y2 - y, x2 - x) - math.atan2(y1 - y, x1 - x)
        turns += (angle + math.pi) % (2 * math.pi) - math.pi
    return abs(turns) > math.pi


def in_the_box(x, y, corners):
    xs, ys = zip(*corners, strict=True)
    return min(xs) < x < max(xs) and min(ys) < y < max(ys)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (left_of_all_edges, "in the opposite direction"),
        (winding, "a star"),
        (in_the_box, "a triangle"),
        (lambda x, y, corners: inside(x, y, corners, close=False), "a "),
        (lambda x, y, corners: inside(x, y, corners, strict=False), "counts the corner (6, 3) twice"),
        (lambda x, y, corners: inside(y, x, corners), "a "),
        (lambda x, y, corners: not inside(x, y, corners), "is outside, but your function says inside"),
        (lambda x, y, corners: "yes", "your function says 'yes'"),
    ],
)
def test_wrong_polygons(wrong, words):
    assert nb11.inside(inside)
    verdict = nb11.inside(wrong)
    assert verdict.status == "wrong" and words in verdict.message


def split(names, source, share):
    """The solution of 11.3."""
    groups = {}
    for name in names:
        groups.setdefault(source(name), []).append(name)
    train, val = [], []
    for members in groups.values():
        (val if len(val) < share * len(names) else train).extend(members)
    return train, val


def by_the_module(names, source, share):
    lists = convert.split(names, share, seed=1, source=source)
    return lists["train"], lists["val"]


def by_image(names, source, share):
    count = math.ceil(share * len(names))
    return names[count:], names[:count]


def by_share_of_sources(names, source, share):
    sources = sorted({source(name) for name in names})
    chosen = sources[: round(share * len(sources))]
    return [n for n in names if source(n) not in chosen], [n for n in names if source(n) in chosen]


def by_images(names):
    """Order names by their source's images, the smallest first."""
    counts = collections.Counter(name.split("_")[0] for name in names)
    return sorted(names, key=lambda name: (counts[name.split("_")[0]], name))


def by_ceil_of_sources(names, source, share):
    sources = list(dict.fromkeys(map(source, names)))
    chosen = sources[: math.ceil(share * len(sources))]
    return [n for n in names if source(n) not in chosen], [n for n in names if source(n) in chosen]


def by_rounded_images(names, source, share):
    return split(names, source, round(share * len(names)) / len(names))


@pytest.mark.parametrize("order", [list, sorted, by_images, lambda names: by_images(names)[::-1]])
@pytest.mark.parametrize("wrong", [by_ceil_of_sources, by_rounded_images])
def test_rounded_shares_are_wrong_in_any_order(wrong, order):
    verdict = nb11.split(lambda names, source, share: wrong(order(names), source, share))
    assert verdict.status == "wrong" and "images, " in verdict.message


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (by_image, "is in both lists"),
        (by_share_of_sources, "sources of different sizes"),
        (lambda names, source, share: split(names, source, share)[::-1], "would have enough without"),
        (lambda names, source, share: ([], names), "would have enough without"),
        (lambda names, source, share: (names, []), "fewer than the share"),
        (lambda names, source, share: (names[::2], names[:1]), "expected each exactly once"),
        (lambda names, source, share: names, "expected two lists"),
        (lambda names, source, share: 3, "expected two lists"),
        (lambda names, source, share: split(sorted(set(map(source, names))), source, share), "exactly once"),
    ],
)
def test_wrong_splits(wrong, words):
    assert nb11.split(split)
    verdict = nb11.split(wrong)
    assert verdict.status == "wrong" and words in verdict.message


def test_any_order_of_the_sources_is_right():
    def largest_first(names, source, share):
        counts = {s: sum(source(n) == s for n in names) for s in map(source, names)}
        return split(sorted(names, key=lambda n: (-counts[source(n)], n)), source, share)

    assert nb11.split(largest_first)
    assert nb11.split(lambda names, source, share: split(names[::-1], source, share))


def agreement(first, second, classes, counted=lambda a, b: (a != 255) & (b != 255)):
    """The solution of 11.4, with a part to exchange."""
    matrix = 0
    for a, b in zip(first, second, strict=True):
        keep = counted(a, b)
        matrix = matrix + metrics.confusion_matrix(a[keep], b[keep], classes)
    return metrics.scores(matrix).miou


def image_by_image(first, second, classes):
    return sum(agreement([a], [b], classes) for a, b in zip(first, second, strict=True)) / len(first)


def absent_as_zero(first, second, classes):
    return agreement(first, second, classes) * (classes - 1) / classes if classes == 5 else 0


def pixels(first, second, classes):
    equal = sum(int(((a == b) & (a != 255)).sum()) for a, b in zip(first, second, strict=True))
    return equal / sum(int(((a != 255) & (b != 255)).sum()) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (image_by_image, "expected 0."),
        (absent_as_zero, "expected 0."),
        (pixels, "expected 0."),
        (lambda a, b, n: agreement(a, b, n, lambda x, y: y != 255), "your code raised ValueError"),
        (lambda a, b, n: agreement([x.clamp(max=n - 1) for x in a], b, n), "expected 0."),
        (lambda a, b, n: agreement(a[:1], b[:1], n), "expected 0."),
        (lambda a, b, n: 100 * agreement(a, b, n), "expected 0."),
    ],
)
def test_wrong_agreements(wrong, words):
    assert nb11.agreement(agreement)
    assert nb11.agreement(lambda a, b, n: torch.tensor(agreement(b, a, n)))  # it is the same both ways
    verdict = nb11.agreement(wrong)
    assert verdict.status == "wrong" and words in verdict.message


def test_half_an_answer_is_not_yet():
    for check in (nb11.remap, nb11.inside, nb11.split, nb11.agreement):
        assert check(...).status == "not yet"
        assert check(lambda *arguments: None).status == "not yet"
    assert nb11.split(lambda names, source, share: (names, ...)).status == "wrong"


def test_a_report_with_a_conclusion_is_judged():
    conclusion = (
        "I doubled the places and kept the 1,000 steps. The mean of three seeds rose from 0.53 to 0.64, by "
        "more than either spread; whether 192 places bring as much again, these runs do not show."
    )
    report = {"base": [0.52, 0.56, 0.52], "change": [0.61, 0.64, 0.68], "conclusion": conclusion}
    assert nb11.experiment(report | {"verdict": "better"})
    assert "does not follow" in nb11.experiment(report | {"verdict": "not seen"}).message
    assert nb11.experiment(report | {"verdict": ...}).status == "not yet"
