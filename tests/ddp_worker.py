"""What the processes of ``test_distributed`` do. Started by torchrun: ``ddp_worker.py JOB FOLDER``."""

import os
import sys
from argparse import Namespace
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from d2lseg import fcn, training, voc  # noqa: E402
from d2lseg.cli import losses  # noqa: E402
from d2lseg.engine import distributed  # noqa: E402

CASES = {"unequal": (0.1, 0.9), "one rank void": (0.5, 1.0), "all void": (1.0, 1.0)}
SETTINGS = {"device": "cpu", "precision": "float32", "lr": 1e-3}


def batch(case, rank):
    """Make the images and labels of one process, with its own share of void."""
    g = torch.Generator().manual_seed(10 + rank)
    images = torch.randint(256, (2, 3, 40, 64), dtype=torch.uint8, generator=g)
    labels = torch.randint(21, (2, 40, 64), generator=g)
    labels[torch.rand(labels.shape, generator=g) < CASES[case][rank]] = 255
    return images, labels.to(torch.uint8)


class Frozen(fcn.FCN32s):
    """A network whose batch normalisation does not see the batch, so that batches can be put together."""

    def train(self, mode=True):
        return super().train(False)


def gradients(images, labels):
    """Train one step with a rate of zero; give the gradients that it leaves behind, and its loss."""
    training.set_seed(0)
    model = Frozen(21)
    options = SETTINGS | {"lr": 0.0, "epochs": 1, "live": False}
    (row,) = training.train(model, [(images, labels)], **options).rows
    return {name: p.grad for name, p in model.named_parameters()} | {"loss": torch.tensor(row["loss"])}


def loaders(folder, ranks):
    return voc.load_data_voc(folder, 2, (32, 48), rank=ranks.rank, world_size=ranks.world_size)


def measure(folder, ranks):
    """Save what the test compares with a single process."""
    found = {case: gradients(*batch(case, ranks.rank)) for case in CASES}
    train_iter, val_iter = loaders(folder / "voc", ranks)
    training.set_seed(0)
    found["matrix"] = training.evaluate(fcn.FCN32s(21), val_iter, precision="float32")
    found["images"] = len(val_iter)
    alone = list(val_iter)[: 1 - ranks.rank]  # one image for two processes
    found["alone"] = training.evaluate(fcn.FCN32s(21), alone, precision="float32")
    model = fcn.FCN32s(21)
    options = SETTINGS | {"epochs": 2, "checkpoint_path": folder / "last.pt"}
    found["rows"] = training.train(model, train_iter, val_iter, **options).rows
    again = fcn.FCN32s(21)
    found["rows again"] = training.train(again, train_iter, val_iter, resume=True, **options).rows
    found["weights"], found["weights again"] = model.state_dict(), again.state_dict()
    found["timed"] = training.train(model, train_iter, max_seconds=0.5, **SETTINGS).rows
    balanced = Namespace(loss="ce", class_weights="balanced")
    found["class weights"] = losses.loss(balanced, train_iter.dataset).keywords["class_weights"]
    torch.save(found, folder / f"rank{ranks.rank}.pt")


def forever(folder, ranks):
    """Train until somebody kills a process."""
    (folder / f"pid{ranks.rank}").write_text(str(os.getpid()))
    train_iter, _ = loaders(folder / "voc", ranks)
    training.train(fcn.FCN32s(21), train_iter, epochs=10_000, checkpoint_path=folder / "last.pt", **SETTINGS)


def fail(folder, ranks):
    """Fail in one process while the other one waits for it."""
    if ranks.rank == 1:
        raise ValueError("image 7 is broken")
    distributed.summed(torch.zeros(1))


if __name__ == "__main__":
    torch.set_num_threads(1)
    with distributed.joined("cpu") as ranks:
        {"measure": measure, "forever": forever, "fail": fail}[sys.argv[1]](Path(sys.argv[2]), ranks)
