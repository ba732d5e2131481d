"""The textbook's recipe, written from its description, for measurements only.

Everything here follows the FCN chapter of *Dive into Deep Learning*: all images in memory as standardised
float32; masks as RGB, looked up in a table of all 16.7 million colours on each access; images smaller than
the crop left out; a ResNet-18 in NCHW float32, whose scores a dense transposed convolution enlarges by 32; a
loss per pixel, then means; SGD; accuracy on random crops. The course's notebooks discuss its defects; here it
is the reference for time and memory.

Source: Zhang, Lipton, Li and Smola, *Dive into Deep Learning*, sections 14.9 to 14.11 ("Semantic segmentation
and the dataset", "Transposed convolution", "Fully convolutional networks").
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
import torchvision
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import Normalize, RandomCrop
from torchvision.transforms.functional import crop, pil_to_tensor

from d2lseg.classes import VOC_COLORMAP
from d2lseg.fcn import IMAGENET_MEAN, IMAGENET_STD
from d2lseg.upsampling import bilinear_kernel


def read_images(folder: Path, split: str) -> tuple[list[Tensor], list[Tensor]]:
    """Read all images and masks of a split, both as uint8 RGB (3, H, W)."""
    names = (folder / "ImageSets" / "Segmentation" / f"{split}.txt").read_text().split()
    images = [_read(folder / "JPEGImages" / f"{name}.jpg") for name in names]
    return images, [_read(folder / "SegmentationClass" / f"{name}.png") for name in names]


def _read(path: Path) -> Tensor:
    """Read a file as uint8 RGB (3, H, W), with torchvision as in the textbook if possible, else with PIL."""
    if hasattr(torchvision.io, "read_image"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # announced for a later version
            return torchvision.io.read_image(str(path), torchvision.io.ImageReadMode.RGB)
    return pil_to_tensor(Image.open(path).convert("RGB"))


def colour_table(colormap: Sequence[Sequence[int]] = VOC_COLORMAP) -> Tensor:
    """Make the table from each of the 256**3 colours to a class; unknown colours are background."""
    table = torch.zeros(256**3, dtype=torch.long)
    for index, (red, green, blue) in enumerate(colormap):
        table[(red * 256 + green) * 256 + blue] = index
    return table


def class_indices(mask: Tensor, table: Tensor) -> Tensor:
    """Look up the classes of a mask (3, H, W): int64 (H, W)."""
    colours = mask.permute(1, 2, 0).numpy().astype("int32")
    return table[(colours[:, :, 0] * 256 + colours[:, :, 1]) * 256 + colours[:, :, 2]]


class InMemory(Dataset):
    """All images of a split as standardised float32; each access returns a random crop."""

    def __init__(
        self,
        folder: Path,
        split: str,
        crop_size: tuple[int, int],
        colormap: Sequence[Sequence[int]] = VOC_COLORMAP,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        self.standardise = Normalize(mean, std)
        self.crop_size = crop_size
        images, masks = read_images(folder, split)
        self.images = [self.standardise(image.float() / 255) for image in self._large_enough(images)]
        self.masks = self._large_enough(masks)
        self.table = colour_table(colormap)

    def _large_enough(self, tensors: list[Tensor]) -> list[Tensor]:
        """Leave out the images, or masks, that are smaller than the crop."""
        height, width = self.crop_size
        return [t for t in tensors if t.shape[1] >= height and t.shape[2] >= width]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, mask = self.images[index], self.masks[index]
        window = RandomCrop.get_params(image, self.crop_size)
        return crop(image, *window), class_indices(crop(mask, *window), self.table)


def load_data(folder: Path, batch: int, crop_size: tuple[int, int], workers: int) -> tuple[DataLoader, ...]:
    """Return loaders of both splits, without the last, smaller batches."""
    options = {"batch_size": batch, "drop_last": True, "num_workers": workers}
    train, test = (InMemory(folder, split, crop_size) for split in ("train", "val"))
    return DataLoader(train, shuffle=True, **options), DataLoader(test, **options)


def make_model(
    num_classes: int = 21, backbone: nn.Sequential | None = None, channels: int = 512
) -> nn.Sequential:
    """Make a backbone, a 1x1 convolution, and a transposed convolution by 32.

    The backbone is ResNet-18 without its last two layers, or any whose last map has so many `channels`.
    """
    layers = backbone or list(torchvision.models.resnet18(weights=None).children())[:-2]
    model = nn.Sequential(*layers)
    model.add_module("final_conv", nn.Conv2d(channels, num_classes, kernel_size=1))
    model.add_module("transpose_conv", nn.ConvTranspose2d(num_classes, num_classes, 64, 32, 16))
    nn.init.xavier_uniform_(model.final_conv.weight)
    with torch.no_grad():
        model.transpose_conv.weight.copy_(bilinear_kernel(num_classes, num_classes, 64))
    return model


def make_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    """Make SGD with the textbook's learning rate and weight decay."""
    return torch.optim.SGD(model.parameters(), lr=1e-3, weight_decay=1e-3)


def train_step(model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> None:
    """Take one step: a loss per pixel, its mean per image, the sum of the means; and the accuracy."""
    model.train()
    optimizer.zero_grad()
    logits = model(images)
    per_image = F.cross_entropy(logits, labels, reduction="none").mean(1).mean(1)
    per_image.sum().backward()
    optimizer.step()
    right(logits.detach(), labels)


def right(logits: Tensor, labels: Tensor) -> float:
    """Count the correct pixels, with void as background."""
    return float((logits.argmax(dim=1) == labels).sum())


def evaluate(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> float:
    """Return the pixel accuracy over batches of crops."""
    model.eval()
    device = next(model.parameters(), torch.zeros(0)).device
    with torch.no_grad():
        counts = [(right(model(x.to(device)), y.to(device)), y.numel()) for x, y in batches]
    return sum(hits for hits, _ in counts) / sum(pixels for _, pixels in counts)
