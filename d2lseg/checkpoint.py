"""Checkpoint files: written whole or not at all, and read without running code in them."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .files import written_whole

FORMAT = "d2lseg-1"


def describe(model: nn.Module, **notes: Any) -> dict[str, Any]:
    """Collect what is needed to build a model again.

    Parameters
    ----------
    model : nn.Module
        Its ``arguments`` and ``classes`` are kept where it has them.
    **notes
        Plain values (numbers, strings, lists, dicts) to keep with it, such as its scores.

    Returns
    -------
    dict
        Tensors, on the CPU, and plain values: the content of a checkpoint.
    """
    classes = getattr(model, "classes", None)
    return {
        "format": FORMAT,
        "arguments": getattr(model, "arguments", None),
        "classes": list(classes) if classes is not None else None,
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
    """
    with written_whole(path) as file:
        torch.save(content, file)
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
    ValueError
        If the file is not a checkpoint of this module.
    """
    path, advice = Path(path), "expected a file written by d2lseg"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint; train one with notebook 05 or check the path")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError) as error:
        raise ValueError(f"{path}: not a readable checkpoint ({type(error).__name__}); {advice}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{path}: a torch file, but not a checkpoint of this module; {advice}")
    return content
