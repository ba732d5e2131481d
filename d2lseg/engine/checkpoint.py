"""Checkpoint files: written whole or not at all, and read without running code in them."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from .files import check_file, user_path, written_whole

FORMAT = "d2lseg-1"
EXPECTED = "expected a file that d2lseg has written. Copy it anew, or train again"
# What version 0.1 called things, in a model's arguments and at the start of its tensors' names.
OLD_NAMES = {"trunk": "backbone"}
PLAIN = (type(None), bool, int, float, str, Tensor, nn.Parameter)  # types of notes
COMPILED = "_orig_mod"  # under this name torch.compile keeps the model, or the part of one, that it compiled


@runtime_checkable
class Described(Protocol):
    """A model that knows how it was built, and its classes, such as `fcn.FCN`."""

    arguments: dict[str, Any]
    classes: tuple[str, ...] | None
    colours: tuple[tuple[int, int, int], ...] | None

    def check_unchanged(self) -> None:
        """Raise a ValueError if its arguments no longer build it."""


def unwrapped(model: nn.Module) -> nn.Module:
    """Take a model out of torch.compile, DataParallel, DistributedDataParallel and AveragedModel."""
    inner = getattr(model, COMPILED, None)
    if isinstance(model, (DataParallel, DistributedDataParallel, AveragedModel)):
        inner = model.module
    return model if inner is None else unwrapped(inner)


def check_described(model: nn.Module) -> None:
    """Raise a ValueError if a model could not be built again from its description.

    That of any other model than an `fcn.FCN` holds tensors alone, which a model of the same kind takes back.
    """
    inner = unwrapped(model)
    if isinstance(inner, Described):
        inner.check_unchanged()


def check_alike(model: nn.Module, twin: nn.Module) -> None:
    """Raise a ValueError unless a model is like its twin, which was built from the same arguments."""
    fault = _difference(model, twin)
    if fault is None and type(model).forward is not type(twin).forward:
        fault = f"{type(model).__name__} has a forward of its own"
    if fault is not None:
        raise ValueError(
            f"this {type(twin).__name__} was changed after it was built: {fault}. It could not be loaded "
            "again, so it is not saved. Build it with other arguments, such as num_classes=5 for 5 classes; "
            "or keep a network of your own with torch.save(model.state_dict(), path)"
        )


def _difference(model: nn.Module, twin: nn.Module) -> str | None:
    """Say where the layers or tensors of two models first differ; None if they do not."""
    for found, expected in ((_layers(model), _layers(twin)), (_shapes(model), _shapes(twin))):
        for name in dict.fromkeys((*found, *expected)):
            ours, theirs = found.get(name, "not there"), expected.get(name, "not there")
            if ours != theirs:
                return f"{name!r} is {ours}, expected {theirs}"
    return None


def _layers(model: nn.Module) -> dict[str, str]:
    """Describe each part of a model, by its name."""
    parts = {_plain(name): part for name, part in model.named_modules() if name}
    kinds = {name: type(part).__name__.replace("SyncBatch", "Batch") for name, part in parts.items()}
    kinds = {name: kind.replace("BatchNorm2d", "BatchNorm") for name, kind in kinds.items()}
    return {name: f"{kinds[name]}({part.extra_repr()})" for name, part in parts.items()}


def _shapes(model: nn.Module) -> dict[str, str]:
    """Return the shape of each tensor, by its name."""
    return {_plain(name): str(tuple(value.shape)) for name, value in model.state_dict().items()}


def _plain(name: str) -> str:
    """Return a name without the words that torch.compile adds for a compiled part."""
    return ".".join(part for part in name.split(".") if part != COMPILED)


def describe(model: nn.Module, **notes: Any) -> dict[str, Any]:
    """Collect what is needed to build a model again: its tensors, on the CPU, and plain values.

    Parameters
    ----------
    model : nn.Module
        Its arguments, classes and colours are kept if it is `Described`. It is `unwrapped` first.
    **notes
        Plain values (numbers, strings, lists, dicts) to keep with it, such as its scores.

    Raises
    ------
    ValueError
        If the description would not build the model again, or could not be read back.
    """
    check_described(model)
    _check_plain(notes)
    model = unwrapped(model)
    content: dict[str, Any] = {"format": FORMAT, "arguments": None, "classes": None, "colours": None}
    if isinstance(model, Described):
        content["arguments"] = model.arguments
        content["classes"] = list(model.classes) if model.classes is not None else None
        content["colours"] = [list(c) for c in model.colours] if model.colours is not None else None
    content["state"] = {_plain(name): value.detach().cpu() for name, value in model.state_dict().items()}
    return content | {"notes": notes}


def _check_plain(notes: dict[str, Any]) -> None:
    """Raise a ValueError unless `read`, which takes tensors and plain values only, will read the notes."""
    for name, value in notes.items():
        if odd := _odd_types(value):
            raise ValueError(
                f"the note {name!r} is or holds {', '.join(sorted(odd))}, which would not be read back; "
                "expected numbers, strings, lists, dicts and tensors, such as float(x), str(path) and "
                "x.tolist()"
            )


def _odd_types(value: Any) -> set[str]:
    """Return the names of all types in a value that are neither plain nor tensors."""
    if type(value) is dict:
        return _odd_types([*value.keys(), *value.values()])
    if type(value) in (list, tuple):
        return set().union(*map(_odd_types, value))
    return set() if type(value) in PLAIN else {type(value).__name__}  # NumPy's float64 is a float, too


def halved(content: dict[str, Any]) -> dict[str, Any]:
    """Round the weights of a described model to 16 bits; the statistics of batch normalisation keep 32."""
    state = {
        name: value.half() if value.is_floating_point() and "running_" not in name else value
        for name, value in content["state"].items()
    }
    return content | {"state": state}


def write(path: str | os.PathLike, content: dict[str, Any]) -> Path:
    """Write a checkpoint, whole or not at all; an older file stays until the new one is complete.

    Raises
    ------
    OSError
        If it cannot be written, for example because the disk is full.
    """
    with written_whole(path) as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:
            # torch's writer complains of half a file and hides the cause: a full disk, or Ctrl-C
            if error.__context__ is not None:
                raise error.__context__ from None
            raise
    return user_path(path)


def read(path: str | os.PathLike) -> dict[str, Any]:
    """Read a checkpoint, with its tensors on the CPU and today's names.

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
    path = user_path(path)
    check_file(path, "checkpoint", "train one with notebook 05 or check the path")
    _check_archive(path)
    content = _load(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{path}: a torch file, but not a checkpoint of this module; {EXPECTED}")
    for part in ("arguments", "state"):
        if isinstance(content.get(part), dict):
            content[part] = {_renamed(name): value for name, value in content[part].items()}
    return content


def _renamed(name: object) -> object:
    """Return today's name of an argument or a tensor."""
    if not isinstance(name, str):
        return name
    first, dot, rest = name.partition(".")
    return OLD_NAMES.get(first, first) + dot + rest


def check_finite(tensors: Mapping[str, Tensor], source: str | os.PathLike) -> None:
    """Raise unless all values are finite: one NaN makes every score NaN, and every pixel background.

    Raises
    ------
    ValueError
        Naming the source and the first tensor with such values.
    """
    for name, tensor in tensors.items():
        if torch.isfinite(tensor.sum()):  # a tenth of the time that looking at each value takes
            continue
        wrong = tensor.numel() - int(torch.isfinite(tensor).sum())
        if wrong:  # and not only the sum
            raise ValueError(
                f"{source}: {wrong} of the {tensor.numel()} values of {name!r} are NaN or infinite; expected "
                "finite weights. The run that made this file failed, or the file is damaged: use an earlier "
                "checkpoint, or train again with a lower learning rate"
            )


def check_content(path: str | os.PathLike, content: dict[str, Any], arguments: set[str]) -> None:
    """Raise unless a checkpoint holds what `fcn.save` writes, before a model is built from it.

    Parameters
    ----------
    path : path
        Where it came from.
    content : dict
        What `read` returned.
    arguments : set of str
        Names of the model's construction arguments.

    Raises
    ------
    ValueError
        Naming the part that is wrong.
    """
    found, state, names = content.get("arguments"), content.get("state"), content.get("classes")
    fault = None
    if not isinstance(found, dict) or not set(found) <= arguments:
        fault = f"the arguments {found!r}; expected {', '.join(sorted(arguments))}"
    elif not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in state.items()
    ):
        fault = "no tensors by name under 'state'"
    elif names is not None and not (isinstance(names, list) and all(isinstance(n, str) for n in names)):
        fault = f"the class names {names!r}; expected a list of names"
    elif not _are_colours(content.get("colours")):
        fault = f"the colours {content['colours']!r}; expected a list of [red, green, blue], each 0..255"
    elif not isinstance(content.get("notes"), dict):
        fault = f"the notes {content.get('notes')!r}; expected a dict"
    else:
        # compared first, because a model of a million classes would take all memory
        count, bias = found.get("num_classes", 21), state.get("score.bias")
        if type(count) is not int or bias is None or bias.shape != (count,):
            scores = "no scores" if bias is None else f"scores {tuple(bias.shape)}"
            fault = f"{scores}, but num_classes is {count!r}"
    if fault is not None:
        raise ValueError(
            f"{path}: not the checkpoint of an FCN: it holds {fault}. Use a file that fcn.save or train wrote"
        )


def _are_colours(colours: Any) -> bool:
    """Whether this is a list of RGB triples, or None."""
    return colours is None or (
        isinstance(colours, list)
        and all(isinstance(colour, list) and len(colour) == 3 for colour in colours)
        and all(type(value) is int and 0 <= value <= 255 for colour in colours for value in colour)
    )


def _check_archive(path: Path) -> None:
    """Raise unless this is a whole zip archive, as ``torch.save`` writes, before it takes memory."""
    size, fault = path.stat().st_size, None
    try:
        with zipfile.ZipFile(path) as archive:
            # stored uncompressed, the parts can't exceed the file: a small file can't ask for gigabytes
            if sum(part.file_size for part in archive.infolist()) > size:
                fault = "its parts claim to be larger than the file"
            elif (damaged := archive.testzip()) is not None:
                fault = f"damaged: the checksum of {damaged!r} is wrong"
    except Exception as error:  # a broken archive may raise almost anything
        with path.open("rb") as file:
            start = file.read(4)
        fault = {b"PK\3\4": f"cut short or damaged: {error}", b"": "empty, 0 bytes"}.get(
            start, "not in the format of torch.save"
        )
        raise ValueError(f"{path}: not a readable checkpoint ({fault}); {EXPECTED}") from error
    if fault is not None:
        raise ValueError(f"{path}: not a readable checkpoint ({fault}); {EXPECTED}")


def _load(path: Path) -> Any:
    """Read tensors and plain values; code in the file never runs."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        fault = "damaged, or with code or objects in it, which are not loaded"
        raise ValueError(f"{path}: not a readable checkpoint ({fault}); {EXPECTED}") from error
    except Exception as error:  # a broken file may raise almost any exception
        fault = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise ValueError(f"{path}: not a readable checkpoint ({fault}); {EXPECTED}") from error
