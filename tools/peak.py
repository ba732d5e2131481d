"""Measure the peak memory of scoring or predicting one large image: ``python -m tools.peak evaluate``.

The number is the peak of the process over what it held once the model was loaded. It is read from Linux's
``/proc/self/status``, so it needs Linux.
"""

from __future__ import annotations

import argparse
import json

import torch

from d2lseg import fcn, prediction, training
from tools import machine


def peak(
    job: str, height: int, width: int, classes: int, variant: str, backbone: str, tile: tuple[int, int]
) -> float:
    """Score or predict an image of random pixels; return the MiB it took over the loaded model."""
    model = fcn.FCN(variant, classes, backbone).eval()
    small = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    training.evaluate(model, [(small, small[:, 0])], precision="float32")  # the libraries' own buffers
    before = machine.held_memory()
    image = torch.randint(256, (1, 3, height, width), dtype=torch.uint8)
    if job == "evaluate":
        training.evaluate(model, [(image, image[:, 0] % classes)], precision="float32", tile=tile)
    else:
        prediction.predict_tiled(model, image[0], tile)
    return (machine.peak_memory() - before) / 2**20


def main() -> None:
    """Print the peak."""
    parser = argparse.ArgumentParser(prog="python -m tools.peak", description=__doc__.split("\n")[0])
    parser.add_argument("job", choices=("evaluate", "predict"))
    parser.add_argument("size", type=int, nargs="*", default=[3000, 4000], help="height and width")
    parser.add_argument("--classes", type=int, default=21)
    parser.add_argument("--variant", default="8s")
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--tile", type=int, nargs=2, default=prediction.TILE)
    options = parser.parse_args()
    if not machine.peak_memory():
        parser.error("the peak is read from Linux's /proc/self/status, and this system has none")
    tile = tuple(options.tile)
    found = peak(options.job, *options.size, options.classes, options.variant, options.backbone, tile)
    result = {
        "job": options.job,
        "height, width": options.size,
        "tile": list(tile),
        "classes": options.classes,
    }
    print(
        json.dumps(result | {"network": f"FCN-{options.variant} on {options.backbone}", "MiB": round(found)})
    )


if __name__ == "__main__":
    main()
