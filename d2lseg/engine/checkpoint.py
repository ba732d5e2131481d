"""Checkpoint files: written whole or not at all, and read without running code in them."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .files import check_file, written_whole

FORMAT = "d2lseg-1"
_EXPECTED = "expected a file that d2lseg has written. Copy it anew, or train again"


def describe(model: nn.Module, **notes: Any) -> dict[str, Any]:
    """Collect what is needed to build a model again.

    Parameters
    ----------
    model : nn.Module
        Its ``arguments``, ``classes`` and ``colours`` are kept where it has them.
    **notes
        Plain values (numbers, strings, lists, dicts) to keep with it, such as its scores.

    Returns
    -------
    dict
        Tensors, on the CPU, and plain values: the content of a checkpoint.
    """
    classes, colours = getattr(model, "classes", None), getattr(model, "colours", None)
    return {
        "format": FORMAT,
        "arguments": getattr(model, "arguments", None),
        "classes": list(classes) if classes is not None else None,
        "colours": [list(colour) for colour in colours] if colours is not None else None,
        "state": {name: value.detach().cpu() for name, value in model.state_dict().items()},
        "notes": notes,
    }


def write(path: str | os.PathLike, content: dict[str, Any]) -> Path:
    """Write a checkpoint.

    Parameters
    ----------
    path : path
        The file. It appears whole or not at all; an older one stays until the new one is complete.
    content : dict
        Tensors and plain values.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    OSError
        If it cannot be written, because the disk is full, say.
    """
    with written_whole(path) as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:
            # torch's writer complains of half a file, and hides why it is one: a full disk, or Ctrl-C
            if error.__context__ is not None:
                raise error.__context__ from None
            raise
    return Path(path)


def read(path: str | os.PathLike) -> dict[str, Any]:
    """Read a checkpoint.

    Parameters
    ----------
    path : path
        A file that `write` wrote.

    Returns
    -------
    dict
        Its content, tensors on the CPU.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    PermissionError
        If this user may not read it.
    ValueError
        If the file is not a checkpoint of this module, or damaged.

    Notes
    -----
    torch itself does not notice a changed bit among the numbers. The archive holds a checksum of each tensor,
    which is compared here.
    """
    path = Path(path)
    check_file(path, "checkpoint", "train one with notebook 05 or check the path")
    _check_archive(path)
    content = _load(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{path}: a torch file, but not a checkpoint of this module; {_EXPECTED}")
    return content


def _check_archive(path: Path) -> None:
    """Refuse what is no whole zip archive, as ``torch.save`` writes, before memory is taken for it."""
    size, fault = path.stat().st_size, None
    try:
        with zipfile.ZipFile(path) as archive:
            # stored as they are, the parts cannot be larger than the file: no small file asks for gigabytes
            if sum(part.file_size for part in archive.infolist()) > size:
                fault = "its parts claim to be larger than the file"
            elif (damaged := archive.testzip()) is not None:
                fault = f"damaged: the checksum of {damaged!r} is wrong"
    except Exception as error:  # a broken archive is answered with nearly all that Python has
        with path.open("rb") as file:
            start = file.read(4)
        fault = {b"PK\3\4": f"cut short or damaged: {error}", b"": "empty, 0 bytes"}.get(
            start, "not in the format of torch.save"
        )
        raise ValueError(f"{path}: not a readable checkpoint ({fault}); {_EXPECTED}") from error
    if fault is not None:
        raise ValueError(f"{path}: not a readable checkpoint ({fault}); {_EXPECTED}")


def _load(path: Path) -> Any:
    """Read tensors and plain values; code in the file is never run."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        fault = "damaged, or with code or objects in it, which are not loaded"
        raise ValueError(f"{path}: not a readable checkpoint ({fault}); {_EXPECTED}") from error
    except Exception as error:  # to broken files torch answers with nearly all that Python has
        fault = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise ValueError(f"{path}: not a readable checkpoint ({fault}); {_EXPECTED}") from error
