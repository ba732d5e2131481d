"""What is written can be read again: models compiled, wrapped or changed, and notes of any kind."""

import copy
import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from d2lseg import fcn, training
from d2lseg.engine import checkpoint

IMAGES = torch.randint(256, (2, 3, 40, 70), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
BATCHES = [(IMAGES, IMAGES[:, 0] % 3)]
OPTIONS = {"epochs": 1, "device": "cpu", "precision": "float32", "live": False}


@functools.cache
def first_network():
    torch.manual_seed(0)
    return fcn.FCN8s(3, classes=("background", "cup", "plate")).eval()


def network():
    """Copy the network; to draw its weights anew would take longer."""
    return copy.deepcopy(first_network())


def compiled(model):
    return torch.compile(model, backend="eager")


def with_compiled_backbone(model):
    model.backbone = compiled(model.backbone)
    return model


WRAPPERS = {
    "compiled": compiled,
    "data parallel": nn.DataParallel,
    "both": lambda model: compiled(nn.DataParallel(model)),
    "averaged": AveragedModel,
    "a compiled part": with_compiled_backbone,
    "half precision": lambda model: model.half(),
    "synchronised batch norm": nn.SyncBatchNorm.convert_sync_batchnorm,
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_a_wrapped_model_is_saved_as_what_it_holds(tmp_path, wrap):
    plain = network()
    with torch.no_grad():
        want = plain(IMAGES)
    again = fcn.load(fcn.save(wrap(network()), tmp_path / "model.pt", miou=0.5))
    assert again.classes == plain.classes and again.notes == {"miou": 0.5}
    with torch.no_grad():
        torch.testing.assert_close(
            again(IMAGES), want, atol=0.05, rtol=0
        )  # half of the bits were dropped once


def another_head(model):
    model.score = nn.Conv2d(512, 5, 1)


def another_activation(model):
    model.backbone.relu = nn.GELU()


def another_stride(model):
    model.backbone.layer4[0].conv1.stride = (1, 1)


def a_part_more(model):
    model.auxiliary = nn.Conv2d(256, 3, 1)


def a_part_less(model):
    del model.score8


def pruned(model):
    from torch.nn.utils import prune

    prune.l1_unstructured(model.score, "weight", 0.5)


def too_many_names(model):
    model.classes = ("background", "cup", "plate", "fork")


CHANGES = {
    another_head: r"'score' is Conv2d\(512, 5.*expected Conv2d\(512, 3",
    another_activation: r"'backbone.relu' is GELU.*expected ReLU",
    another_stride: "'backbone.layer4.0.conv1' is",
    a_part_more: r"'auxiliary' is Conv2d\(256, 3.*expected not there",
    a_part_less: "'score8' is not there",
    pruned: "'score.weight",
    too_many_names: "4 class names for 3 classes",
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_changed_model_is_refused_when_it_is_saved(tmp_path, change):
    model = network()
    change(model)
    with pytest.raises(ValueError, match=CHANGES[change]):
        fcn.save(model, tmp_path / "model.pt")
    with pytest.raises(ValueError, match=CHANGES[change]):  # before the first step, not after an epoch
        training.train(model, [(IMAGES, None)], checkpoint_path=tmp_path / "last.pt", **OPTIONS)
    assert not list(tmp_path.iterdir())


def test_a_forward_of_ones_own_is_refused(tmp_path):
    class Louder(fcn.FCN):
        def forward(self, images):
            return 2 * super().forward(images)

    with pytest.raises(ValueError, match="Louder has a forward of its own"):
        fcn.save(Louder("32s", 3), tmp_path / "model.pt")


@pytest.mark.parametrize("model", [nn.Conv2d(3, 3, 1), nn.Sequential(fcn.FCN32s(3))])
def test_what_is_no_fcn_is_refused(tmp_path, model):
    with pytest.raises(ValueError, match=f"expected an FCN, got {type(model).__name__}"):
        fcn.save(model, tmp_path / "model.pt")


def test_weights_that_are_not_finite_are_refused(tmp_path):
    model = network()
    model.score.bias.data[1] = float("nan")
    with pytest.raises(ValueError, match=r"model\.pt: 1 of the 3 values of 'score\.bias'"):
        fcn.save(model, tmp_path / "model.pt")


@pytest.mark.parametrize("note", [np.float64(0.5), np.ones(3), Path("x"), [{"a": Path("x")}], lambda: 0])
def test_notes_that_could_not_be_read_are_refused(tmp_path, note):
    with pytest.raises(ValueError, match=r"model\.pt: the note 'odd' is or holds \w+, which"):
        fcn.save(network(), tmp_path / "model.pt", fine=1, odd=note)
    assert not list(tmp_path.iterdir())


def test_notes_of_plain_values_come_back(tmp_path):
    notes = {"a": 1, "b": [0.5, None, True, "x"], "c": {"d": (1, 2)}, "e": torch.ones(2)}
    again = fcn.load(fcn.save(network(), tmp_path / "model.pt", **notes)).notes
    assert torch.equal(again.pop("e"), notes.pop("e")) and again == notes


def test_a_check_draws_no_random_numbers():
    model = network()
    before = torch.get_rng_state()
    model.check_unchanged()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.slow
@pytest.mark.parametrize("wrap", [compiled, nn.DataParallel], ids=["compiled", "data parallel"])
def test_the_checkpoint_of_a_wrapped_model_loads_and_resumes_unwrapped(tmp_path, wrap):
    """Train an epoch wrapped and one plain: the same weights as without the wrapper."""
    states = []
    for place, outside in (("plain.pt", lambda model: model), ("wrapped.pt", wrap)):
        options = OPTIONS | {"checkpoint_path": tmp_path / place, "schedule": "poly"}
        training.train(outside(network().train()), BATCHES, **options)
        names = checkpoint.read(tmp_path / place)["state"]
        assert names.keys() == network().state_dict().keys()
        fcn.load(tmp_path / place)
        resumed = network()
        training.train(resumed, BATCHES, **options | {"epochs": 2, "resume": True})
        states.append(resumed.state_dict())
    for name, value in states[0].items():
        torch.testing.assert_close(value, states[1][name])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dynamic", [None, True])
def test_a_compiled_model_gives_the_same_at_any_size(tiny_backbone, dynamic):
    """Sizes are the concern of what comes before and after the backbone."""
    torch.manual_seed(0)
    model = fcn.FCN8s(3, backbone=tiny_backbone).eval()
    for part in (model.score16, model.score8):
        nn.init.normal_(part.weight)  # they begin at zero, and would show no fault
    torch._dynamo.reset()
    fast = torch.compile(model, backend="aot_eager", dynamic=dynamic, fullgraph=True)
    with torch.no_grad():
        for size in ((64, 96), (70, 101), (33, 200), (1, 1)):
            images = torch.randint(256, (1, 3, *size), dtype=torch.uint8)
            torch.testing.assert_close(fast(images), model(images), atol=1e-4, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_model_trains_and_evaluates():
    torch._dynamo.reset()
    model = network()
    fast = torch.compile(model, backend="aot_eager")
    history = training.train(fast, BATCHES, BATCHES, **OPTIONS)
    assert "miou" in history.rows[0]
    with torch.no_grad():
        torch.testing.assert_close(fast.eval()(IMAGES), model.eval()(IMAGES), atol=1e-4, rtol=1e-4)


def test_a_compiled_model_keeps_what_is_frozen_in_eval_mode():
    model = network()
    fcn.freeze(model.backbone)
    torch.compile(model, backend="eager").train()
    assert model.score.training and not any(
        part.training for part in model.modules() if isinstance(part, nn.BatchNorm2d)
    )


def test_frozen_synchronised_batch_norm_stays_in_eval_mode():
    model = nn.SyncBatchNorm.convert_sync_batchnorm(network())
    fcn.freeze(model.backbone, fcn.BATCH_NORM)
    norms = [part for part in model.train().modules() if isinstance(part, nn.SyncBatchNorm)]
    assert norms and not any(part.training or part.weight.requires_grad for part in norms)
    assert model.backbone.conv1.weight.requires_grad
