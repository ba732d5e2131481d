import csv
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from d2lseg import metrics, training
from d2lseg.engine import checkpoint, devices, progress

ROOT = Path(__file__).resolve().parent.parent


class Tiny(nn.Module):
    """A model of the right contract that learns in milliseconds: the colour decides the class."""

    def __init__(self, classes=3):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 16, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, classes, 1)
        )

    def forward(self, images):
        return self.layers(images / 255)


def colour_data(n=32, seed=0):
    g = torch.Generator().manual_seed(seed)
    label = torch.randint(3, (n, 8, 8), generator=g)
    images = F.one_hot(label, 3).permute(0, 3, 1, 2) * 200  # class c is bright in channel c
    label[:, 0, 0] = 255
    return TensorDataset(images.to(torch.uint8), label.to(torch.uint8))


def loader(seed=0, **options):
    options = {"batch_size": 8, "shuffle": True, "generator": torch.Generator()} | options
    return DataLoader(colour_data(seed=seed), **options)


def tiny(seed=0):
    training.set_seed(seed)
    return Tiny()


SETTINGS = {"device": "cpu", "precision": "float32", "live": False, "lr": 0.05}


@pytest.mark.parametrize("void", [0.0, 0.4])
def test_loss_equals_torch_on_the_whole_batch(void):
    g = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 5, 6, 7, generator=g, requires_grad=True)
    label = torch.randint(5, (4, 6, 7), generator=g)
    label[torch.rand(label.shape, generator=g) < void] = 255
    label[0] = 255  # one image wholly void: weights are by pixel, not by image
    ours = training.segmentation_loss(logits, label.to(torch.uint8))
    oracle = F.cross_entropy(logits, label, ignore_index=255)
    torch.testing.assert_close(ours, oracle)
    (ours_grad,) = torch.autograd.grad(ours, logits)
    (oracle_grad,) = torch.autograd.grad(oracle, logits)
    torch.testing.assert_close(ours_grad, oracle_grad)


def test_loss_by_a_naive_loop():
    logits, label = torch.randn(1, 3, 2, 2, dtype=torch.float32), torch.tensor([[[0, 255], [2, 1]]])
    terms = []
    for row in range(2):
        for col in range(2):
            if label[0, row, col] != 255:
                shares = logits[0, :, row, col].exp() / logits[0, :, row, col].exp().sum()
                terms.append(-shares[label[0, row, col]].log())
    torch.testing.assert_close(training.segmentation_loss(logits, label), sum(terms) / len(terms))


def test_all_void_batch_gives_zero_loss_and_zero_gradients():
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    loss = training.segmentation_loss(logits, torch.full((2, 4, 4), 255, dtype=torch.uint8))
    loss.backward()
    assert loss == 0 and (logits.grad == 0).all()


def random_batch(seed=0, void=0.3):
    g = torch.Generator().manual_seed(seed)
    logits = torch.randn(4, 5, 6, 7, generator=g, requires_grad=True)
    label = torch.randint(5, (4, 6, 7), generator=g)
    label[torch.rand(label.shape, generator=g) < void] = 255
    return logits, label


def test_class_weights_equal_torchs():
    logits, label = random_batch()
    weights = torch.tensor([0.1, 1.0, 3.0, 0.0, 0.5])
    ours = training.segmentation_loss(logits, label, weights)
    oracle = F.cross_entropy(logits, label, weights, ignore_index=255)
    torch.testing.assert_close(ours, oracle)
    torch.testing.assert_close(*(torch.autograd.grad(loss, logits)[0] for loss in (ours, oracle)))
    assert training.segmentation_loss(logits, torch.full_like(label, 255), weights) == 0
    assert training.segmentation_loss(logits, torch.full_like(label, 3), weights) == 0  # all weights are 0


def test_balanced_weights_let_each_class_weigh_the_same():
    counts = torch.tensor([900, 90, 0, 10])
    weights = training.balanced_weights(counts)
    assert (weights * counts).tolist() == pytest.approx([1000 / 3, 1000 / 3, 0, 1000 / 3])
    assert weights.dtype == torch.float32
    n = torch.tensor([3_000_000_000, 1])  # more than int32 holds
    assert (training.balanced_weights(n) * n).tolist() == pytest.approx([1_500_000_000.5] * 2)


@pytest.mark.parametrize("classes", [(0, 1, 2, 3, 4), (0, 3)])
def test_dice_by_a_naive_loop(classes):
    logits, label = random_batch(void=0.2)
    label = label.where(torch.isin(label, torch.tensor([*classes, 255])), 0)
    share = logits.softmax(1)
    scores = []
    for c in classes:
        overlap = predicted = true = 0.0
        for n, y, x in (label != 255).nonzero().tolist():
            predicted += share[n, c, y, x].item()
            if label[n, y, x] == c:
                true += 1
                overlap += share[n, c, y, x].item()
        scores.append(2 * overlap / (predicted + true))
    assert training.dice_loss(logits, label).item() == pytest.approx(1 - sum(scores) / len(scores), abs=1e-5)


def test_dice_at_its_ends():
    _, label = random_batch()
    sure = 50 * F.one_hot(label.where(label != 255, 0), 5).movedim(-1, 1).float()
    assert training.dice_loss(sure, label).item() == pytest.approx(0, abs=1e-6)
    assert training.dice_loss(-sure, label).item() > 0.9
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    loss = training.dice_loss(logits, torch.full((1, 4, 4), 255, dtype=torch.uint8))
    loss.backward()
    assert loss == 0 and (logits.grad == 0).all()
    void = logits.detach().clone()
    void[..., 0] = 9.0  # only void pixels differ
    half = torch.zeros(1, 4, 4, dtype=torch.uint8)
    half[..., 0] = 255
    assert training.dice_loss(logits, half).item() == pytest.approx(training.dice_loss(void, half).item())


def test_training_uses_the_given_loss():
    seen = []

    def both(logits, label):
        seen.append(logits.shape)
        return training.segmentation_loss(logits, label) + training.dice_loss(logits, label)

    history = training.train(tiny(), loader(), epochs=1, loss=both, **SETTINGS)
    plain = training.train(tiny(), loader(), epochs=1, **SETTINGS)
    assert len(seen) == 4 and history.rows[0]["loss"] > plain.rows[0]["loss"]


def test_one_cycle_equals_torch():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    steps = 101
    oracle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.0, total_steps=steps, cycle_momentum=False, final_div_factor=10_000
    )
    for step in range(steps - 1):
        # torch puts the peak at step 0.3 * total - 1; ours at 0.3 of the way: aligned at both ends
        peak = 0.3 * steps - 1
        progress = step / peak * 0.3 if step < peak else 0.3 + 0.7 * (step - peak) / (steps - 1 - peak)
        assert training.one_cycle(progress) == pytest.approx(oracle.get_last_lr()[0], rel=1e-6, abs=1e-9)
        optimizer.step()
        oracle.step()
    assert training.one_cycle(1.2) == training.one_cycle(1.0) == pytest.approx(1 / 250_000)


def test_poly_equals_torch():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    oracle = torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=10, power=0.9)
    for step in range(11):
        assert training.poly(step / 10) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        optimizer.step()
        oracle.step()


@pytest.mark.parametrize("schedule", training.SCHEDULES)
def test_the_learning_rate_follows_the_chosen_schedule(rates, schedule):
    training.train(tiny(), loader(), epochs=2, schedule=schedule, **SETTINGS)
    assert rates == [0.05 * training.SCHEDULES[schedule](k / 8) for k in range(8)]


def test_the_history_as_a_csv_file(tmp_path):
    history = training.train(tiny(), loader(), loader(shuffle=False), epochs=2, **SETTINGS)
    with history.write_csv(tmp_path / "new" / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [{k: float(v) for k, v in row.items()} for row in rows] == history.rows
    with pytest.raises(ValueError, match=r"none\.csv: nothing to write"):
        training.History().write_csv(tmp_path / "none.csv")


def test_training_learns_and_the_history_tells(capsys):
    model, val = tiny(), loader(seed=1, shuffle=False)
    history = training.train(model, loader(), val, epochs=4, **SETTINGS | {"live": True})
    last = history.rows[-1]
    assert [row["epoch"] for row in history.rows] == [1, 2, 3, 4] and not history.interrupted
    assert last["loss"] < history.rows[0]["loss"] and last["miou"] > 0.95
    assert last["baseline_miou"] < 0.3 < last["miou"]
    assert history.settings["precision"] == "float32" and history.settings["seed"] == 0
    table = str(history).splitlines()
    assert len(table) == 5 and table[0].split()[0] == "epoch" and f"{last['miou']:.3f}" in table[-1]
    assert f"{last['miou']:.3f}" in capsys.readouterr().out
    figure = history.plot()
    left, right = figure.axes
    assert left.lines[0].get_ydata().tolist() == [row["loss"] for row in history.rows]
    assert right.lines[2].get_ydata().tolist() == [row["miou"] for row in history.rows]
    plt.close(figure)


@pytest.mark.parametrize("epochs", [1, 2, 3, 7])
def test_the_epoch_axes_of_a_history_show_whole_numbers(epochs):
    figure = training.History(rows=[{"epoch": n + 1, "loss": 1.0} for n in range(epochs)]).plot()
    ticks = [tick for ax in figure.axes[:1] for tick in ax.get_xticks()]
    assert ticks and all(float(tick).is_integer() for tick in ticks)
    plt.close(figure)


def test_history_without_validation_has_no_scores():
    history = training.train(tiny(), loader(), epochs=1, **SETTINGS)
    assert "miou" not in history.rows[0] and " - " in str(history).splitlines()[1]
    assert len(history.plot().axes[1].lines) == 0
    plt.close("all")


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_same_seed_gives_the_same_numbers(precision):
    runs = []
    for _ in range(2):
        model = tiny()
        options = SETTINGS | {"precision": precision, "seed": 5}
        training.train(model, loader(), epochs=2, **options)
        runs.append(model.state_dict())
    assert all(torch.equal(runs[0][k], runs[1][k]) for k in runs[0])
    other = tiny()
    training.train(other, loader(), epochs=2, **SETTINGS | {"precision": precision, "seed": 6})
    assert not torch.equal(other.state_dict()["layers.0.weight"], runs[0]["layers.0.weight"])


@pytest.mark.parametrize(("epochs", "steps"), [(1.5, 6), (0.25, 1), (0.01, 1), (2, 8)])
def test_a_fraction_of_an_epoch_is_a_fraction_of_its_batches(epochs, steps):
    model, seen = tiny(), []
    model.register_forward_hook(lambda *_: seen.append(1))
    history = training.train(model, loader(), epochs=epochs, **SETTINGS)
    assert len(seen) == steps and len(history.rows) == math.ceil(steps / 4)


@pytest.mark.parametrize(
    ("limit", "seconds"),
    [(0.1, [0.25]), (1.0, [1.0]), (1.1, [1.0, 1.25]), (2.0, [1.0, 2.0]), (2.3, [1.0, 2.0, 2.5])],
)
def test_a_training_ends_with_the_first_step_after_its_time_limit(monkeypatch, limit, seconds):
    """A step takes a quarter of a second here, and an epoch four steps."""
    clock, model = [100.0], tiny()
    monkeypatch.setattr(progress.time, "perf_counter", lambda: clock[0])
    model.register_forward_hook(lambda *_: clock.append(clock.pop() + 0.25))
    history = training.train(model, loader(), max_seconds=limit, **SETTINGS)
    assert [row["seconds"] for row in history.rows] == seconds
    assert clock == [100 + seconds[-1]], "no step after the limit"


class Interrupting(DataLoader):
    """Send the signal of Jupyter's stop button in the middle of the second epoch."""

    epoch = 0

    def __iter__(self):
        for i, batch in enumerate(super().__iter__()):
            if self.epoch == 1 and i == 2:
                signal.raise_signal(signal.SIGINT)
            yield batch
        self.epoch += 1


@pytest.mark.usefixtures("interrupts")
def test_interrupted_training_returns_the_history_so_far(capsys):
    model = tiny()
    batches = Interrupting(colour_data(), batch_size=8)
    history = training.train(model, batches, loader(shuffle=False), epochs=5, **SETTINGS)
    assert history.interrupted and [row["epoch"] for row in history.rows] == [1]
    assert "Interrupted in epoch 2" in capsys.readouterr().out


class Stop(Exception):
    """Ends a training in the middle of an epoch."""


def stopping(batches, epoch, after):
    """Break off in an epoch, after some batches."""

    class Stopping(type(batches)):
        def __iter__(self):
            self.epoch = getattr(self, "epoch", 0) + 1
            for i, batch in enumerate(super().__iter__()):
                if self.epoch == epoch and i == after:
                    raise Stop
                yield batch

    batches.__class__ = Stopping
    return batches


class Dropping(Tiny):
    """A model whose steps depend on torch's random numbers."""

    def forward(self, images):
        return F.dropout(super().forward(images), 0.3, self.training)


def dropping(seed=0):
    training.set_seed(seed)
    return Dropping()


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("precision", "epoch"),
    [
        ("float32", 2),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in (("float32", 4), ("bf16", 3))),
    ],
)
def test_resumed_training_equals_an_uninterrupted_one_bit_by_bit(tmp_path, precision, epoch, workers):
    options = SETTINGS | {"precision": precision, "seed": 3, "epochs": 4}
    whole = dropping()
    wanted = training.train(whole, loader(num_workers=workers), loader(seed=1), **options)
    options |= {"checkpoint_path": tmp_path / "last.pt", "resume": True}
    with pytest.raises(Stop):
        training.train(dropping(), stopping(loader(num_workers=workers), epoch, 2), loader(seed=1), **options)
    again = dropping(seed=9)  # another start, other random numbers: all must come from the file
    history = training.train(again, loader(num_workers=workers), loader(seed=1), **options)
    reached = again.state_dict()
    assert all(torch.equal(value, reached[name]) for name, value in whole.state_dict().items())
    for row, want in zip(history.rows, wanted.rows, strict=True):
        same = row.keys() - {"seconds", "images_per_second"}
        assert {k: row[k] for k in same} == {k: want[k] for k in same}
    seconds = [row["seconds"] for row in history.rows]
    assert seconds == sorted(seconds)


KILLED = """
import os, random, signal, sys, time
sys.path[:0] = sys.argv[2:]
import torch
torch.set_num_threads(1)
from d2lseg.engine import checkpoint
from test_training import SETTINGS, dropping, loader
from d2lseg import training

path, rng, epochs = sys.argv[1] + "/last.pt", random.Random(0), []

def start(path):
    "A process of its own: it has all modules already, so it trains at once."
    pid = os.fork()
    if pid == 0:
        options = SETTINGS | {"epochs": 150, "checkpoint_path": path, "resume": True}
        training.train(dropping(), loader(), **options)
        os._exit(0)
    return pid

def written():
    return os.stat(path).st_mtime_ns if os.path.exists(path) else None

for kill in range(20):
    before, pid = written(), start(path)
    while kill % 2 and written() == before:  # every other time not before it has come an epoch further
        time.sleep(0.001)
    time.sleep(rng.uniform(0, 0.1))
    os.kill(pid, signal.SIGKILL)
    assert os.WIFSIGNALED(os.waitpid(pid, 0)[1]), "it had ended before"
    if os.path.exists(path):
        epochs.append(checkpoint.read(path)["training"]["epoch"])
assert os.waitpid(start(path), 0)[1] == 0
assert os.waitpid(start(path + "-whole"), 0)[1] == 0
whole, killed = (checkpoint.read(name)["state"] for name in (path + "-whole", path))
assert all(torch.equal(killed[name], value) for name, value in whole.items())
print(*epochs)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="SIGKILL and fork are of POSIX")
def test_a_training_killed_20_times_goes_on_and_ends_as_if_it_never_was(tmp_path):
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(ROOT), str(ROOT / "tests")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    epochs = [int(word) for word in result.stdout.split()]
    assert epochs == sorted(epochs) and len(set(epochs)) >= 10, "the kills met too few different epochs"


def test_a_finished_training_is_not_trained_further(tmp_path):
    options = SETTINGS | {"epochs": 1, "checkpoint_path": tmp_path / "last.pt"}
    model = tiny()
    training.train(model, loader(), **options)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    history = training.train(model, loader(), **options, resume=True)
    assert len(history.rows) == 1
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_checkpoint_in_the_home_folder_is_found_again(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    epochs = []
    options = SETTINGS | {"after_epoch": lambda model, history: epochs.append(len(history.rows))}
    training.train(tiny(), loader(), **options, epochs=1, checkpoint_path="~/last.pt")
    training.train(tiny(), loader(), **options, epochs=2, checkpoint_path="~/last.pt", resume=True)
    assert epochs == [1, 2] and (tmp_path / "last.pt").is_file()  # the first is not trained again


def test_a_folder_for_the_checkpoint_is_refused_before_the_first_epoch(tmp_path):
    epochs = []
    options = SETTINGS | {"epochs": 1, "after_epoch": lambda model, history: epochs.append(len(history.rows))}
    with pytest.raises(ValueError, match=r"a folder; give the checkpoint's file, such as checkpoint\.pt"):
        training.train(tiny(), loader(), **options, checkpoint_path=tmp_path)
    assert epochs == []


@pytest.mark.parametrize("first", [True, False])
def test_a_resumed_run_may_gain_or_lose_its_validation_images(tmp_path, first):
    options = SETTINGS | {"checkpoint_path": tmp_path / "last.pt"}
    val = {first: loader(shuffle=False), not first: None}
    training.train(tiny(), loader(), val[True], 1, **options)
    history = training.train(tiny(), loader(), val[False], 2, **options, resume=True)
    (line, *_) = history.plot().axes[1].lines
    assert line.get_xdata().tolist() == [1 if first else 2]
    with history.write_csv(tmp_path / "history.csv").open(newline="") as file:
        assert [bool(row["miou"]) for row in csv.DictReader(file)] == [first, not first]


@pytest.mark.parametrize(
    ("change", "words"),
    [({"lr": 0.01}, r"lr=0\.05 \(now 0\.01\)"), ({"epochs": 1}, "epochs"), ({"seed": 1}, "seed=0")],
)
def test_other_settings_are_refused(tmp_path, change, words):
    options = SETTINGS | {"epochs": 2, "checkpoint_path": tmp_path / "last.pt"}
    training.train(tiny(), loader(), **options)
    with pytest.raises(ValueError, match=words):
        training.train(tiny(), loader(), **options | change, resume=True)


def test_checkpoints_that_cannot_be_gone_on_from_are_refused(tmp_path):
    path = tmp_path / "last.pt"
    with pytest.raises(ValueError, match="needs checkpoint_path"):
        training.train(tiny(), loader(), epochs=1, resume=True, **SETTINGS)
    options = SETTINGS | {"epochs": 1, "checkpoint_path": path, "resume": True}
    checkpoint.write(path, checkpoint.describe(tiny()))
    with pytest.raises(ValueError, match="without the state of its run"):
        training.train(tiny(), loader(), **options)
    path.unlink()
    training.train(tiny(), loader(), **options)
    with pytest.raises(ValueError, match="of another model"):
        training.train(Tiny(classes=4), loader(), **options)


def test_a_label_of_floats_is_refused_by_both_losses():
    logits, label = torch.zeros(1, 3, 2, 2), torch.full((1, 2, 2), 0.7)
    for loss in (training.segmentation_loss, training.dice_loss):
        with pytest.raises(ValueError, match="float32; expected class indices of an integer dtype"):
            loss(logits, label)


def test_counting_names_a_class_that_the_list_lacks():
    labels = [torch.tensor([[0, 1], [255, 1]]), torch.tensor([[0, 5]])]
    assert training.count_pixels(labels[:1], 3).tolist() == [1, 2, 0]
    with pytest.raises(ValueError, match="class index 5"):
        training.count_pixels(labels, 3)


@pytest.mark.parametrize(
    ("counts", "weights"),
    [([6, 0, 2], [8 / (2 * 6), 0, 8 / (2 * 2)]), ([0, 0, 0], [0, 0, 0])],  # the last: void alone
)
def test_a_class_that_does_not_occur_weighs_nothing(counts, weights):
    torch.testing.assert_close(training.balanced_weights(torch.tensor(counts)), torch.tensor(weights).float())


@pytest.mark.parametrize(
    "text",
    [
        "DefaultCPUAllocator: can't allocate memory: 1 bytes",
        "DefaultCPUAllocator: not enough memory: you tried to allocate 1 bytes.",  # the same on Windows
        None,
    ],
)
def test_running_out_of_memory_suggests_half_the_batch(text):
    error = torch.cuda.OutOfMemoryError("CUDA out of memory") if text is None else RuntimeError(text)
    model = tiny()

    def fail(*_):
        raise error

    model.register_forward_pre_hook(fail)
    with pytest.raises(MemoryError, match=r"batch of 8 images of 8x8: try a batch of 4"):
        training.train(model, loader(), epochs=1, **SETTINGS)


def test_other_errors_of_a_step_are_left_as_they_are():
    model = tiny()
    model.layers = nn.Conv2d(5, 3, 1)
    with pytest.raises(RuntimeError, match="channels"):
        training.train(model, loader(), epochs=1, **SETTINGS)


def test_the_live_curve_updates_one_image(monkeypatch):
    shown = []

    class Handle:
        def update(self, figure):
            shown.append(("update", figure))

    def display(figure, display_id):
        assert display_id
        shown.append(("display", figure))
        return Handle()

    class Shell:
        kernel = object()

    monkeypatch.setattr("IPython.get_ipython", Shell)
    monkeypatch.setattr("IPython.display.display", display)
    training.train(tiny(), loader(), loader(shuffle=False), epochs=3, **SETTINGS | {"live": True})
    assert [how for how, _ in shown] == ["display", "update", "update"]
    assert len({id(figure) for _, figure in shown}) == 1 and not plt.get_fignums()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "give either"),
        ({"epochs": 1, "max_seconds": 1}, "give either"),
        ({"epochs": 0}, "epochs=0"),
        ({"epochs": 1, "precision": "fp8"}, "fp8"),
        ({"epochs": 1, "schedule": "cosine"}, "one_cycle, poly; got 'cosine'"),
    ],
)
def test_bad_settings_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        training.train(tiny(), loader(), **SETTINGS | arguments)


def test_an_empty_loader_is_refused():
    with pytest.raises(ValueError, match="no batch"):
        training.train(tiny(), loader(batch_size=64, drop_last=True), epochs=1, **SETTINGS)
    with pytest.raises(ValueError, match="no batch"):
        training.evaluate(tiny(), [])


@pytest.mark.parametrize("step", [1, 3, 4, 6])  # 4 is the last of an epoch
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_the_run_with_its_step(tmp_path, step, value):
    model, seen = tiny(), []

    def spoil(_, __, logits):
        seen.append(1)
        return logits * value if len(seen) == step else logits

    model.register_forward_hook(spoil)
    options = SETTINGS | {"epochs": 2, "checkpoint_path": tmp_path / "last.pt"}
    rate = 0.05 * training.one_cycle((step - 1) / 8)
    with pytest.raises(
        FloatingPointError, match=f"at step {step}, with a learning rate of {rate:.2g}: lower"
    ):
        training.train(model, loader(), **options)
    if step > 4:  # what was written before is still good
        state = checkpoint.read(tmp_path / "last.pt")["state"]
        assert all(value.isfinite().all() for value in state.values())
    else:
        assert not (tmp_path / "last.pt").exists()


def test_evaluate_sums_the_confusion_matrices_of_ragged_batches():
    model = tiny().train()
    g = torch.Generator().manual_seed(0)
    batches = [
        (
            torch.randint(256, (1, 3, h, w), dtype=torch.uint8, generator=g),
            torch.randint(3, (1, h, w), generator=g),
        )
        for h, w in [(5, 7), (8, 3)]
    ]
    matrix = training.evaluate(model, batches, precision="float32")
    assert model.training  # its mode came back
    model.eval()
    oracle = sum(metrics.confusion_matrix(model(x).argmax(1), y, 3) for x, y in batches)
    assert torch.equal(matrix, oracle) and matrix.sum() == 5 * 7 + 8 * 3


def test_frozen_parameters_stay():
    model = tiny()
    model.layers[0].requires_grad_(False)
    before = model.layers[0].weight.clone()
    training.train(model, loader(), epochs=1, **SETTINGS)
    assert torch.equal(model.layers[0].weight, before)


@pytest.mark.parametrize(
    ("cuda", "mps", "device"),
    [(True, True, "cuda:0"), (True, False, "cuda:0"), (False, True, "mps"), (False, False, "cpu")],
)
def test_the_best_device_is_cuda_then_apples_then_the_cpu(monkeypatch, cuda, mps, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert training.best_device() == torch.device(device)


def test_without_a_gpu_the_cpu_is_given(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert training.try_gpu() == torch.device("cpu") and training.try_all_gpus() == [torch.device("cpu")]


@pytest.mark.parametrize(("capability", "precision"), [((7, 5), "fp16"), ((8, 0), "bf16"), ((9, 0), "bf16")])
def test_precision_on_cuda_follows_the_generation(monkeypatch, capability, precision):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert training.best_precision("cuda:0") == precision


def test_several_gpus_are_listed(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [str(d) for d in training.try_all_gpus()] == ["cuda:0", "cuda:1"]
    assert [str(training.try_gpu(i)) for i in range(3)] == ["cuda:0", "cuda:1", "cpu"]


def test_under_torchrun_the_best_gpu_is_the_processes_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    assert str(training.best_device()) == "cuda:3"


@pytest.mark.parametrize(
    ("flags", "has_bf16"), [("fpu avx512f avx512_bf16", True), ("amx_bf16", True), ("fpu avx2", False)]
)
def test_cpu_precision_follows_the_flags(tmp_path, monkeypatch, flags, has_bf16):
    (tmp_path / "cpuinfo").write_text(f"flags\t: {flags}\n")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    assert devices.cpu_has_bf16(tmp_path / "cpuinfo") is has_bf16
    assert devices.cpu_has_bf16(tmp_path / "absent") is False
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert devices.cpu_has_bf16(tmp_path / "cpuinfo") is False, "PyTorch was told to leave it alone"
    monkeypatch.setattr(devices, "cpu_has_bf16", lambda: has_bf16)
    assert training.best_precision("cpu") == ("bf16" if has_bf16 else "float32")
    assert training.best_precision("mps") == "float32"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU on this machine")
@pytest.mark.parametrize("precision", ["bf16", "fp16", "float32"])
def test_training_on_a_gpu(precision):
    options = SETTINGS | {"device": "cuda", "precision": precision}
    history = training.train(tiny(), loader(), loader(seed=1), epochs=4, **options)
    assert history.rows[-1]["miou"] > 0.9


def test_labels_out_of_range_are_refused_before_they_reach_a_gpu():
    """On a GPU they would end the process; so the check comes before the move, and needs no GPU here."""
    logits = torch.empty(1, 3, 32, 32, device="meta")  # as on a GPU: nothing can be read there
    labels = torch.full((1, 32, 32), 9, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"class index 9 at \(0, 0, 0\); expected 0\.\.2, or 255"):
        training.segmentation_loss(logits, labels)
