"""Weights from elsewhere: downloaded once and verified, read without running code."""

from __future__ import annotations

import hashlib
from http.client import HTTPException
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


def read(path: Path) -> dict[str, Tensor]:
    """Read a ``state_dict``: tensors by name.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, holds code, or holds anything but tensors.
    """
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such weights file; use a path, "imagenet" or None')
    advice = (
        "expected what torch.save(network.state_dict(), path) writes for a network of torchvision: tensors "
        "by name, and no code"
    )
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
    return state


def _sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
