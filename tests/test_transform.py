"""A transform of one's own takes image and mask together; the example of the docs runs as it stands there."""

import re
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader
from torchvision import tv_tensors
from torchvision.transforms import v2
from voc_layout import make_folder

from d2lseg import voc

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "set"
    make_folder(path)
    return path


def example():
    """The function of the code block in the docs that holds one."""
    text = (ROOT / "docs" / "fine-tuning.md").read_text(encoding="utf-8")
    (block,) = (b for b in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "tv_tensors" in b)
    return block


def from_docs(folder):
    """Run the example with a folder in the place of the reader's own."""
    code, names = example(), {}
    assert '"data/mine"' in code
    exec(compile(code.replace('"data/mine"', repr(str(folder))), "docs/fine-tuning.md", "exec"), names)
    return names


def test_the_example_of_the_docs_trains(folder):
    names = from_docs(folder)
    images, labels = next(iter(names["train_iter"]))
    assert type(images) is type(labels) is torch.Tensor
    assert images.dtype == labels.dtype == torch.uint8 and images.shape[2:] == labels.shape[1:]
    assert set(labels.unique().tolist()) <= {*range(21), 255}


def turned(image, label):
    """Turn both by the same random number of right angles."""
    image, label = tv_tensors.Image(image), tv_tensors.Mask(label)
    return v2.RandomChoice([v2.RandomRotation((a, a), expand=True) for a in (0, 90, 180, 270)])(image, label)


def test_image_and_mask_are_turned_together(folder):
    plain, ours = voc.VOCSegDataset(folder), voc.VOCSegDataset(folder, transform=turned)
    quarters = set()
    for epoch in range(4):
        ours.set_epoch(epoch)
        for index in range(len(plain)):
            (image, label), (new, new_label) = plain[index], ours[index]
            fits = [
                k
                for k in range(4)
                if image.rot90(k, (1, 2)).equal(new) and label.rot90(k, (0, 1)).equal(new_label)
            ]
            assert fits, "the same turn for both"
            quarters.add(fits[0])
    assert len(quarters) > 1


def test_what_is_drawn_depends_on_seed_epoch_and_index_alone(folder):
    def drawn(workers, seed=3, disturb=0):
        torch.manual_seed(disturb)
        dataset = voc.VOCSegDataset(folder, seed=seed, transform=noise)
        items = [pair for epoch in (0, 1) for pair in read(dataset, epoch, workers)]
        return torch.cat([part.flatten() for pair in items for part in pair])

    def read(dataset, epoch, workers):
        dataset.set_epoch(epoch)
        return list(DataLoader(dataset, batch_size=None, num_workers=workers))

    first = drawn(0)
    assert torch.equal(first, drawn(0, disturb=9))
    assert not torch.equal(first, drawn(0, seed=4))
    half = len(first) // 2
    assert not torch.equal(first[:half], first[half:])


def noise(image, label):
    return torch.randint_like(image, 256), label


@pytest.mark.slow
def test_workers_change_nothing(folder):
    dataset = voc.VOCSegDataset(folder, transform=noise)
    ours, theirs = (list(DataLoader(dataset, batch_size=None, num_workers=n)) for n in (0, 2))
    assert all(
        torch.equal(a, b) for x, y in zip(ours, theirs, strict=True) for a, b in zip(x, y, strict=True)
    )


def test_torchs_own_random_numbers_are_left_alone(folder):
    dataset = voc.VOCSegDataset(folder, transform=noise)
    before = torch.get_rng_state()
    dataset[0]
    assert torch.equal(torch.get_rng_state(), before)


def test_it_comes_before_the_crop_and_not_in_validation(folder):
    sizes = []

    def look(image, label):
        sizes.append(tuple(label.shape))
        return image, label

    train_iter, val_iter = voc.load_data_voc(folder, 2, (16, 16), transform=look)
    next(iter(val_iter))
    assert not sizes
    assert next(iter(train_iter))[1].shape == (2, 16, 16)
    assert len(sizes) == 2 and (16, 16) not in sizes


@pytest.mark.parametrize(
    ("transform", "words"),
    [
        (lambda image, label: (image, label[1:]), "transform: image .* do not fit"),
        (lambda image, label: (image / 255, label), "transform"),
        (lambda image, label: (image, label.long()), "transform"),
        (lambda image, label: image, "transform"),
        (lambda image, label: None, "transform"),
    ],
)
def test_a_transform_that_returns_something_else_is_refused(folder, transform, words):
    with pytest.raises(ValueError, match=words):
        voc.VOCSegDataset(folder, transform=transform)[0]
