"""The opponent does what the textbook's recipe does, and the ratios are read from what was measured."""

import copy
import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from benchmarks import __main__ as benchmarks
from benchmarks import measures, probe, report, scenes, textbook
from d2lseg import fcn, metrics, training, voc
from d2lseg.upsampling import bilinear_conv_transpose


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return scenes.draw(tmp_path_factory.mktemp("scenes"), 5, 3, (70, 90))


def test_the_drawn_set_is_the_same_each_time_and_in_voc_layout(folder, tmp_path):
    again = scenes.draw(tmp_path, 5, 3, (70, 90))
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    assert len(files) == 2 * 8 + 2
    assert all((folder / name).read_bytes() == (again / name).read_bytes() for name in files)
    images, labels = voc.read_voc_images(folder)
    assert all(image.shape == (3, 70, 90) for image in images)
    present = {int(index) for label in labels for index in label.unique()}
    assert {0, voc.VOID} < present and present <= {*range(21), voc.VOID}


def test_the_textbooks_labels_are_ours_with_void_as_background(folder):
    _, masks = textbook.read_images(folder, "train")
    table = textbook.colour_table()
    for mask, label in zip(masks, voc.read_voc_images(folder)[1], strict=True):
        assert torch.equal(textbook.class_indices(mask, table), probe.as_textbook(label))


def test_without_torchvisions_reader_pil_reads_the_same_masks(folder, monkeypatch):
    before = textbook.read_images(folder, "val")
    monkeypatch.delattr(textbook.torchvision.io, "read_image")
    after = textbook.read_images(folder, "val")
    assert all(torch.equal(a, b) for a, b in zip(before[1], after[1], strict=True))
    assert all(a.shape == b.shape and a.dtype == b.dtype for a, b in zip(before[0], after[0], strict=True))


def test_the_textbooks_dataset_crops_and_standardises(folder):
    data = textbook.InMemory(folder, "train", (64, 64))
    image, label = data[0]
    assert image.shape == (3, 64, 64) and label.shape == (64, 64) and label.dtype == torch.int64
    whole = torch.nn.functional.unfold(data.images[0][None], (64, 64)).view(3, 64, 64, -1)
    assert (whole == image[..., None]).all(0).all(0).all(0).any(), "a crop is a part of its image"
    assert len(textbook.InMemory(folder, "train", (71, 64))) == 0, "small images are left out"


@pytest.mark.slow
def test_both_models_compute_the_same_where_the_textbooks_has_no_bias():
    torch.manual_seed(0)
    theirs, ours = textbook.make_model().eval(), fcn.FCN32s(21).eval()
    torch.nn.init.zeros_(theirs.transpose_conv.bias)
    backbone = [value for name, value in theirs.state_dict().items() if name[0].isdigit()]
    ours.backbone.load_state_dict(dict(zip(ours.backbone.state_dict(), backbone, strict=True)))
    ours.score.load_state_dict(theirs.final_conv.state_dict())
    ours.upsample = bilinear_conv_transpose(21, 32)  # its border fades as the textbook's does
    images, _ = probe.random_batch(2, (64, 96))
    with torch.inference_mode():
        torch.testing.assert_close(theirs(probe.standardised(images)), ours(images), atol=1e-4, rtol=1e-4)


def test_the_textbooks_step_follows_the_gradient_of_the_summed_means():
    torch.manual_seed(0)
    model = textbook.make_model()
    images, labels = probe.random_batch(2, (32, 64))
    images, labels = probe.standardised(images), probe.as_textbook(labels)
    before = model.final_conv.weight.detach().clone()
    optimizer = textbook.make_optimizer(model)
    textbook.train_step(model, optimizer, images, labels)
    gradient = model.final_conv.weight.grad
    moved = before - 1e-3 * (gradient + 1e-3 * before)  # SGD with weight decay
    torch.testing.assert_close(model.final_conv.weight.detach(), moved)
    assert gradient.abs().max() > 0


def test_the_textbooks_accuracy_is_that_of_the_confusion_matrix():
    torch.manual_seed(0)
    model = textbook.make_model()
    batches = [probe.random_batch(2, (32, 64)) for _ in range(2)]
    batches = [(probe.standardised(i), probe.as_textbook(y)) for i, y in batches]
    with torch.no_grad():
        model.eval()
        pairs = [(model(i).argmax(1), y) for i, y in batches]
    matrix = sum(metrics.confusion_matrix(p, y, 21) for p, y in pairs)
    assert textbook.evaluate(model, batches) == pytest.approx(metrics.scores(matrix).pixel_acc)


STEP = (2, (32, 64))  # images, and their height and width


def textbook_loss(model, images, labels):
    logits = model(probe.standardised(images))
    return F.cross_entropy(logits, probe.as_textbook(labels), reduction="none").mean((1, 2)).sum()


def our_loss(model, images, labels):
    return F.cross_entropy(model(images), labels.long(), ignore_index=voc.VOID)


def our_loss_in_bf16(model, images, labels):
    with torch.autocast("cpu", torch.bfloat16):
        return our_loss(model, images, labels)


def sgd(before, gradient):
    """A step of SGD by its definition, with the textbook's rate and decay."""
    return before - 1e-3 * (gradient + 1e-3 * before)


def adamw(before, gradient):
    """The first step of AdamW by its definition, with the rate and the decay of `probe.step_of`."""
    return before * (1 - 1e-3 * 1e-2) - 1e-3 * gradient / (gradient.abs() + 1e-8)


ORACLES = {
    "textbook": (textbook_loss, sgd, 1e-5),
    "float32": (our_loss, adamw, 1e-4),
    "bf16": (our_loss_in_bf16, adamw, 0.1),
}


MOVE, GRADIENTS, LOSS = "weights that move", "gradients", "the gradients of the loss of this batch"
RULE, STATISTICS = "the rule of the optimiser", "the running statistics of training mode"


def lacks(step, loss, rule, tolerance):
    """Take a step, and list what a training step does and this one has not done.

    The gradients are held against those of a loss, the weights against a rule; both are written above.
    """
    before, wanted = copy.deepcopy(step.model), copy.deepcopy(step.model).train()
    loss(wanted, *probe.random_batch(*STEP)).backward()
    step()
    models = (before, step.model, wanted)
    trios = [(old, new, like.grad) for old, new, like in zip(*(m.parameters() for m in models), strict=True)]
    found = [MOVE] if any(torch.equal(old, new) for old, new, _ in trios) else []
    if any(new.grad is None for _, new, _ in trios):
        found.append(GRADIENTS)
    else:
        ours = torch.cat([new.grad.flatten() for _, new, _ in trios])
        theirs = torch.cat([gradient.flatten() for *_, gradient in trios])
        if (ours - theirs).norm() > tolerance * theirs.norm():
            found.append(LOSS)
        if not all(torch.allclose(new, rule(old, new.grad), rtol=1e-5, atol=1e-6) for old, new, _ in trios):
            found.append(RULE)
    ours, theirs = (
        [value for name, value in m.named_buffers() if "running" in name] for m in (step.model, wanted)
    )
    if any((x - y).norm() > tolerance * y.norm() for x, y in zip(ours, theirs, strict=True)):
        found.append(STATISTICS)
    return found


def step_of(whose):
    torch.manual_seed(0)
    return probe.step_of(whose, *STEP)


@pytest.mark.slow
@pytest.mark.parametrize("whose", ORACLES)
def test_a_step_that_is_timed_is_a_step_of_training(whose):
    assert lacks(step_of(whose), *ORACLES[whose]) == []


def without_moving(step):
    """Compute all of a step, and put the weights back."""

    def take():
        before = [p.detach().clone() for p in step.model.parameters()]
        step()
        with torch.no_grad():
            for parameter, value in zip(step.model.parameters(), before, strict=True):
                parameter.copy_(value)

    return take


def with_another_loss(step):
    """Train, but to have only void and background."""
    optimizer = torch.optim.AdamW(step.model.parameters(), lr=1e-3, weight_decay=1e-2)

    def take():
        images, labels = probe.random_batch(*STEP)
        our_loss(step.model, images, labels.clamp(max=0)).backward()
        optimizer.step()

    return take


def at_twice_the_rate(step):
    optimizer = torch.optim.AdamW(step.model.parameters(), lr=2e-3, weight_decay=1e-2)

    def take():
        our_loss(step.model, *probe.random_batch(*STEP)).backward()
        optimizer.step()

    return take


def without_training_mode(step):
    def take():
        step.model.eval()
        step()

    return take


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "lacking"),
    [
        (lambda step: lambda: None, [MOVE, GRADIENTS, STATISTICS]),
        (lambda step: lambda: step.model(probe.random_batch(*STEP)[0]), [MOVE, GRADIENTS]),
        (without_moving, [MOVE, RULE]),
        (with_another_loss, [LOSS]),
        (at_twice_the_rate, [RULE]),
        (without_training_mode, [LOSS, STATISTICS]),
    ],
)
def test_what_is_no_step_of_training_is_found(spoil, lacking):
    step = step_of("float32")
    assert lacks(probe.Step(step.model, spoil(step)), *ORACLES["float32"]) == lacking


def test_a_step_in_bf16_computes_in_bf16():
    assert lacks(step_of("bf16"), *ORACLES["float32"])[0] == LOSS


def test_the_backbones_step_leaves_gradients():
    step = measures.backbone_step(measures.QUICK, "float32")
    assert all(p.grad is None for p in step.model.parameters())
    step()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in step.model.parameters())


def test_turns_alternate_and_the_first_does_not_count(monkeypatch):
    order = []
    monkeypatch.setattr(measures.gc, "collect", lambda: order.append("."))
    values = measures.in_turns(3, a=lambda: order.append("a"), b=lambda: order.append("b") or 7.0)
    assert order == list(4 * ".a.b")
    assert len(values["a"]) == 3 and all(seconds >= 0 for seconds in values["a"])
    assert values["b"] == (7.0, 7.0, 7.0)


def test_ratios_say_how_much_better_ours_is():
    time = measures.Measure("a step", "s", (4.0, 6.0, 2.0), (2.0, 2.0, 2.0), 2, 3)
    speed = measures.Measure("a loader", "images/s", (10.0,), (25.0,), 2, 3, throughput=True)
    over = measures.Measure("over the backbone", "s", (1.0,), (1.3,), 1.25, 1.1, overhead=True)
    assert time.ratios == [2.0, 3.0, 1.0] and time.ratio == 2.0 and time.reached
    assert speed.ratio == 2.5 and speed.reached
    assert over.ratio == 1.3 and not over.reached


def test_loaders_are_counted_from_the_fourth_batch_on(monkeypatch):
    clock = [0.0]

    def loader():
        for number in range(6):
            clock[0] += 100 if number < 4 else 0.5  # the first ones wait for the workers
            yield torch.zeros(5, 3), None

    monkeypatch.setattr(measures.time, "perf_counter", lambda: clock[0])
    assert measures.images_per_second(loader()) == 5 * 2 / (2 * 0.5)


@pytest.mark.slow
def test_memory_is_that_of_the_process_itself(folder):
    small = measures.in_process("loading", "ours", folder, 2, 64, 64)
    large = measures.in_process("loading", "textbook", folder, 2, 64, 64)
    assert large["mib"] - small["mib"] > 100, "the table of colours alone takes 128 MiB"


@pytest.mark.slow
def test_the_memory_of_a_prediction_is_measured_from_the_loaded_model_on():
    found = measures.in_process("photo", "float32", 70, 90)
    assert 0 < found["mib"] < 200 and found["seconds"] > 0


def remember(monkeypatch, module, name):
    """Keep what a function returns, each time that it is called."""
    real, results = getattr(module, name), []
    monkeypatch.setattr(module, name, lambda *args: results.append(real(*args)) or results[-1])
    return results


def absent(cells, printed):
    """List the cells that are in no row of the printed tables; a cell may begin with other words."""
    return [cell for cell in cells if f" {cell} |" not in printed]


@pytest.mark.slow
def test_a_quick_run_prints_all_measures_and_writes_their_ratios_and_a_figure(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(measures, "in_process", lambda *_: {"seconds": 1.0, "mib": 2.0})
    monkeypatch.setattr(measures.gc, "collect", lambda: None)  # makes times steady, and a test slow
    runs, parts = remember(monkeypatch, benchmarks, "run"), remember(monkeypatch, measures, "parts")
    growth = remember(monkeypatch, measures, "scaling")
    status = benchmarks.main(
        ["--quick", "--json", f"{tmp_path / 'r.json'}", "--figure", f"{tmp_path / 'r.png'}"]
    )
    ratios = json.loads((tmp_path / "r.json").read_text())
    assert list(ratios) == [
        "step_fp32", "step_best", "step_vs_backbone", "evaluation",
        "first_batch", "memory", "loader", "loader_cached",
    ]  # fmt: skip
    assert status == 0 and all(math.isfinite(value) and value > 0 for value in ratios.values())
    assert (tmp_path / "r.png").read_bytes()[:4] == b"\x89PNG"
    printed, measured = capsys.readouterr().out, runs[0]
    cells = [measure.title for measure in measured.values()]
    cells += [f"{whole} | {part}" for whole, part, _ in parts[0]] + [row["value"] for row in growth[0]]
    assert len(set(cells)) == len(cells) > len(ratios) and absent(cells, printed) == []
    assert {row["what"] for row in growth[0]} == {"size", "batch", "images", "photo"}
    assert f"torch {torch.__version__}" in printed
    without_memory = report.table({key: measured[key] for key in measured if key != "memory"})
    assert absent(cells[: len(measured)], without_memory) == [measured["memory"].title]


def test_a_ratio_below_its_bound_is_named(monkeypatch, capsys):
    missed = measures.Measure("a step", "s", (1.0,), (1.0,), 2, 3)
    monkeypatch.setattr(benchmarks, "run", lambda plan, folder: {"step_fp32": missed})
    monkeypatch.setattr(scenes, "draw", lambda folder, *_: folder)
    assert benchmarks.main(["--ratios-only"]) == 1
    assert "bound missed: step_fp32" in capsys.readouterr().out
    assert "1 (1 to 1)" in report.table({"step_fp32": missed})


def test_the_textbook_reads_what_the_loss_of_training_reads(folder):
    train_iter, test_iter = textbook.load_data(folder, 2, (64, 64), workers=0)
    images, labels = next(iter(train_iter))
    logits = torch.randn(2, 21, 64, 64)
    means = F.cross_entropy(logits, labels, reduction="none").mean(1).mean(1)
    assert float(means.mean()) == pytest.approx(float(training.segmentation_loss(logits, labels)), rel=1e-5)
    assert images.dtype == torch.float32 and len(train_iter) == 2 and len(test_iter) == 1
    assert np.isfinite(images.numpy()).all()


def test_our_step_is_the_first_step_of_training():
    torch.manual_seed(0)
    start = fcn.FCN32s(21)
    images, labels = probe.random_batch(2, (32, 64))
    ours = copy.deepcopy(start).train()
    probe.train_step(ours, probe.make_optimizer(ours), images, labels, "float32")
    trained = copy.deepcopy(start)
    # one cycle begins at 1/25 of the peak learning rate, which is then that of `probe.make_optimizer`
    options = {"lr": 25e-3, "device": "cpu", "precision": "float32", "live": False}
    training.train(trained, [(images, labels)], epochs=1, **options)
    weights = [torch.cat([p.detach().flatten() for p in m.parameters()]) for m in (start, ours, trained)]
    moves = [weight - weights[0] for weight in weights[1:]]
    # the first step of AdamW follows the sign of each gradient, and rounding flips a few tiny ones
    assert (moves[0] - moves[1]).norm() < 0.05 * moves[1].norm()
    assert torch.allclose(ours.backbone.bn1.running_mean, trained.backbone.bn1.running_mean, atol=1e-6)
