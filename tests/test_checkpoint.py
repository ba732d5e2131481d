import io
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from d2lseg import fcn, training
from d2lseg.engine import checkpoint

ROOT = Path(__file__).resolve().parent.parent


def content(value=0.0):
    model = torch.nn.Linear(300, 300)
    torch.nn.init.constant_(model.weight, value)
    return checkpoint.describe(model, value=value)


def test_round_trip_of_any_model(tmp_path):
    path = checkpoint.write(tmp_path / "new" / "model.pt", content(0.5))
    again = checkpoint.read(path)
    assert again["notes"] == {"value": 0.5} and again["arguments"] is None and again["classes"] is None
    assert torch.equal(again["state"]["weight"], torch.full((300, 300), 0.5))
    assert list(path.parent.iterdir()) == [path]


def test_a_model_that_is_no_fcn_is_named(tmp_path):
    path = checkpoint.write(tmp_path / "linear.pt", content())
    with pytest.raises(ValueError, match=r"linear\.pt"):
        fcn.load(path)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_the_reason_of_half_a_file_is_not_hidden(tmp_path, monkeypatch, error):
    class Full(io.BytesIO):
        def write(self, data):
            if self.tell() > 100_000:
                raise error
            return super().write(data)

    @contextmanager
    def full(path):
        yield Full()

    monkeypatch.setattr(checkpoint, "written_whole", full)
    with pytest.raises(type(error)) as caught:
        checkpoint.write(tmp_path / "model.pt", content())
    assert caught.value is error
    with pytest.raises(RuntimeError):  # what torch alone says
        torch.save(content(), Full())


def test_an_error_of_torchs_own_is_kept(tmp_path, monkeypatch):
    def broken(content, file):
        raise RuntimeError("torch's own")

    monkeypatch.setattr(checkpoint.torch, "save", broken)
    with pytest.raises(RuntimeError, match="torch's own"):
        checkpoint.write(tmp_path / "model.pt", content())


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch, error):
    path = checkpoint.write(tmp_path / "model.pt", content(1))

    def half_a_save(content, file):
        file.write(b"half")
        raise error

    monkeypatch.setattr(checkpoint.torch, "save", half_a_save)
    with pytest.raises(type(error)):
        checkpoint.write(path, content(2))
    assert checkpoint.read(path)["notes"] == {"value": 1} and list(tmp_path.iterdir()) == [path]


WRITERS = """
import itertools, os, sys
sys.path[:0] = sys.argv[2:]
import torch
torch.set_num_threads(1)
from test_checkpoint import content
from d2lseg.engine import checkpoint

for line in sys.stdin:
    "Each line asks for a writer: a process of its own that has all modules already, and writes at once."
    pid = os.fork()
    if pid == 0:
        for n in itertools.count(1):
            checkpoint.write(sys.argv[1], content(float(n)))
    print(pid, flush=True)
    print(os.WIFSIGNALED(os.waitpid(pid, 0)[1]), flush=True)
"""


def written(path):
    """Say when a file was put in place; None where there is none."""
    return path.stat().st_mtime_ns if path.is_file() else None


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="SIGKILL and fork are of POSIX")
def test_killed_at_any_moment_the_file_is_whole(tmp_path):
    """20 times: write without end, kill at a random moment after 0 to 3 whole files, read."""
    path, rng, values = tmp_path / "model.pt", random.Random(0), []
    command = [sys.executable, "-c", WRITERS, str(path), str(ROOT), str(ROOT / "tests")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writers:
        for kill in range(20):
            before = written(path)
            writers.stdin.write("\n")
            writers.stdin.flush()
            pid = int(writers.stdout.readline())
            for _ in range(kill % 4 if before else 1):
                while written(path) == before:
                    time.sleep(0.001)
                before = written(path)
            time.sleep(rng.uniform(0, 0.05))
            os.kill(pid, signal.SIGKILL)
            assert writers.stdout.readline() == "True\n", "it was killed"
            again = checkpoint.read(path)
            assert torch.equal(again["state"]["weight"], torch.full((300, 300), again["notes"]["value"]))
            values.append(again["notes"]["value"])
        writers.stdin.close()
    assert max(values) >= 3, "a writer replaces its own file, too"
    assert {p.name for p in tmp_path.iterdir()} <= {"model.pt", ".model.pt.part"}, "drafts pile up"


OLD_NAMES = (
    (ROOT / "tests" / "names_of_0.1.txt").read_text().split()
)  # the tensors of an FCN-8s of version 0.1


def as_old(path, new):
    """Write a checkpoint as version 0.1 did: the same tensors and values, under its names."""
    content = torch.load(new, weights_only=True)
    content["state"] = dict(zip(OLD_NAMES, content["state"].values(), strict=True))
    content["arguments"]["trunk"] = content["arguments"].pop("backbone")
    torch.save(content, path)
    return path


def test_a_model_of_version_0_1_loads_and_predicts_the_same(tmp_path):
    torch.manual_seed(0)
    model = fcn.FCN8s(3, classes=("background", "cat", "dog")).eval()
    old = as_old(tmp_path / "old.pt", fcn.save(model, tmp_path / "new.pt"))
    assert any(name.startswith("trunk.") for name in torch.load(old, weights_only=True)["state"])
    again = fcn.load(old)
    assert again.arguments == model.arguments and again.classes == model.classes
    image = torch.randint(256, (1, 3, 40, 70), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(again(image), model(image))


@pytest.mark.slow
def test_a_training_checkpoint_of_version_0_1_resumes_to_the_same_weights(tmp_path):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (2, 3, 32, 64), dtype=torch.uint8, generator=generator)
    batches = [(images, images[:, 0] % 3)]
    options = {"device": "cpu", "precision": "float32", "live": False}

    def run(epochs, **more):
        training.set_seed(0)
        model = fcn.FCN8s(3)
        training.train(model, batches, epochs=epochs, **options, **more)
        return model

    whole = run(2, checkpoint_path=tmp_path / "whole.pt")
    half = tmp_path / "half.pt"
    with pytest.raises(KeyError):  # breaks off after the first epoch, whose checkpoint is written
        run(2, checkpoint_path=half, val_iter=Breaking(images))
    old = as_old(tmp_path / "old.pt", half)
    resumed = run(2, checkpoint_path=old, resume=True)
    state = whole.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in resumed.state_dict().items())


class Breaking:
    """Validation images that can be read once."""

    def __init__(self, images):
        self.images, self.reads = images, 0

    def __iter__(self):
        self.reads += 1
        if self.reads > 1:
            raise KeyError("read twice")
        yield self.images, self.images[:, 0] % 3
