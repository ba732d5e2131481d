"""``python -m d2lseg export``: a network as an ONNX file, compared with PyTorch before it is put in place."""

from __future__ import annotations

import argparse
import importlib
import json
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from .. import fcn
from ..engine import files
from .common import trained_model

NEEDED = ("onnx", "onnxscript", "onnxruntime")
TESTED = "2.14"  # torch's exporter changes from version to version
CHECKED = ((1, 224, 320), (2, 97, 61), (1, 33, 200))  # images, height and width of the comparison
TOLERANCE = 1e-3  # of the largest logit: float32 sums in another order
DIFFERENT = 1e-3  # the share of pixels whose class may differ, where two logits are all but equal


def run(options: argparse.Namespace) -> int:
    """Write an ONNX file, and return the exit status."""
    path = files.user_path(options.out)
    check_installed()
    model = trained_model(options.checkpoint, torch.device("cpu"))
    content = onnx_file(model, options.output)
    lines = compare(model, content, options.output)
    with files.written_whole(path) as file:
        file.write(content)
    contract = f"uint8 RGB (N, 3, H, W) to {describe(model, options.output)}"
    print(f"{options.checkpoint}: {contract}", *lines, sep="\n")
    print(f"written: {path} ({len(content) / 1e6:.1f} MB)")
    return 0


def check_installed() -> None:
    """Raise a ValueError if a package that export needs is missing."""
    missing = []
    for name in NEEDED:
        try:
            importlib.import_module(name)
        except ImportError:
            missing.append(name)
    if missing:
        raise ValueError(
            f'export needs {", ".join(missing)}, which the course\'s extra "export" holds: '
            f"pip install {' '.join(missing)}"
        )


class Exported(nn.Module):
    """What an exported file computes."""

    def __init__(self, model: fcn.FCN, output: str) -> None:
        super().__init__()
        self.model, self.output = model, output

    def forward(self, images: Tensor) -> Tensor:
        """Map uint8 (N, 3, H, W) to classes, uint8 (N, H, W), or logits, float32 (N, C, H, W)."""
        logits = self.model(images)
        return logits if self.output == "logits" else logits.argmax(dim=1).to(torch.uint8)


def describe(model: fcn.FCN, output: str) -> str:
    """Return what comes out, in words."""
    count = model.arguments["num_classes"]
    return f"logits, float32 (N, {count}, H, W)" if output == "logits" else "classes, uint8 (N, H, W)"


def onnx_file(model: fcn.FCN, output: str) -> bytes:
    """Return the content of an ONNX file that takes any number of images, of any height and width.

    Its metadata hold the class names and their colours as JSON, under ``classes`` and ``colours``.

    Raises
    ------
    RuntimeError
        If torch cannot export it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter's, on its own insides
            program: Any = _program(model, output)
        program.model.metadata_props.update(_metadata(model))
        return program.model_proto.SerializeToString()
    except Exception as error:  # of whatever kind in torch, onnxscript or onnx
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise RuntimeError(
            f"torch {torch.__version__} could not export this network ({reason}). The export is tested with "
            f"torch {TESTED}: try pip install --upgrade torch torchvision onnx onnxscript"
        ) from error


def _program(model: fcn.FCN, output: str) -> Any:
    """Call torch's exporter."""
    example = torch.zeros(2, 3, 70, 101, dtype=torch.uint8)  # sizes that differ, none of them 1
    return torch.onnx.export(
        Exported(model, output).eval(),
        (example,),
        dynamo=True,
        dynamic_shapes={"images": {0: "batch", 2: "height", 3: "width"}},
        input_names=["images"],
        output_names=[output],
        verbose=False,
    )


def _metadata(model: fcn.FCN) -> dict[str, str]:
    """Return names and colours of the classes."""
    names = model.classes or [f"class {i}" for i in range(model.arguments["num_classes"])]
    return {"classes": json.dumps(list(names), ensure_ascii=False), "colours": json.dumps(model.colormap)}


def compare(model: fcn.FCN, content: bytes, output: str) -> list[str]:
    """Run an ONNX file beside its network on random images of several sizes, and return a line for each.

    Raises
    ------
    RuntimeError
        If the results differ.
    """
    onnxruntime: Any = importlib.import_module("onnxruntime")
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    generator, lines = torch.Generator().manual_seed(0), []
    for count, height, width in CHECKED:
        images = torch.randint(256, (count, 3, height, width), dtype=torch.uint8, generator=generator)
        with torch.no_grad():
            wanted = Exported(model, output)(images)
        found = torch.from_numpy(session.run(None, {"images": images.numpy()})[0])
        lines.append(f"{count} x {height}x{width}: {agreement(found, wanted)}")
    return lines


def agreement(found: Tensor, wanted: Tensor) -> str:
    """Say in words how far two results agree; a RuntimeError if they do not."""
    if found.shape != wanted.shape or found.dtype != wanted.dtype:
        expected = f"{wanted.dtype} {tuple(wanted.shape)}"
        same, words = False, f"{found.dtype} {tuple(found.shape)}, expected {expected}"
    elif wanted.is_floating_point():
        largest = float((found - wanted).abs().max())
        same = largest <= TOLERANCE * max(1.0, float(wanted.abs().max()))
        words = f"logits differ by at most {largest:.1e}"
    else:
        share = float((found != wanted).double().mean())
        same, words = share <= DIFFERENT, f"classes differ at {share:.3%} of the pixels"
    if not same:
        raise RuntimeError(
            f"the exported file and PyTorch disagree: {words}. Nothing was written; try other versions of "
            "torch, onnxscript and onnxruntime, and report it with this line"
        )
    return words
