"""What an exercise asks to write raises while its check runs, under any name, and works again afterwards."""

import inspect

import pytest
import torch
import torch.nn.functional as F

import d2lseg.upsampling as u
from d2lseg import backbones, fcn, metrics, prediction
from d2lseg.datasets import lists
from d2lseg.exercises import nb01, nb02, nb03, nb04, nb05, nb06, nb07, nb09, nb11
from d2lseg.exercises.guard import Withheld, withheld
from d2lseg.exercises.verdicts import WRONG, call, check
from d2lseg.upsampling import bilinear_kernel as imported

alias = u.bilinear_kernel
kept_in_a_list = [u.bilinear_kernel]


def wrapper(*arguments):
    """Call the function through another one, which was defined before the check."""
    return alias(*arguments)


@check("write it", withhold=[u.bilinear_kernel])
def kernel(answer):
    return None if call(answer, 1, 1, 2) is not None else "no kernel"


@pytest.mark.parametrize(
    "answer",
    [u.bilinear_kernel, alias, imported, wrapper, kept_in_a_list[0], lambda *a: u.bilinear_kernel(*a)],
)
def test_the_function_raises_under_each_name_and_works_afterwards(answer):
    verdict = kernel(answer)
    assert verdict.status == "wrong"
    told = "upsampling.bilinear_kernel can't be used while this check runs: the exercise asks you to write it"
    assert verdict.message.startswith(f"{WRONG} {told}")
    assert torch.equal(answer(1, 1, 2), torch.full((1, 1, 2, 2), 0.25))


def test_an_answer_of_ones_own_passes():
    assert kernel(lambda *arguments: torch.ones(1))


def test_functions_come_back_after_an_error_in_the_block():
    with pytest.raises(ZeroDivisionError), withheld([u.bilinear_kernel]):
        raise ZeroDivisionError
    assert alias(1, 1, 2).shape == (1, 1, 2, 2)


def test_a_decorated_function_is_withheld_too():
    decorated = torch.no_grad()(lambda: 1)
    with withheld([decorated]), pytest.raises(Withheld):
        decorated()
    assert decorated() == 1


def test_pytorchs_compiled_functions_are_caught_when_called():
    scatter, layer, x = F.conv_transpose2d, torch.nn.ConvTranspose2d(1, 1, 2), torch.ones(1, 1, 2, 2)
    for use in (lambda: scatter(x, x), lambda: layer(x)):
        with withheld([F.conv_transpose2d]), pytest.raises(Withheld, match=r"torch\.conv_transpose2d"):
            use()
        use()


def cut(size, tile, overlap):
    return [min(start, max(size - tile, 0)) for start in prediction.tile_starts(size, tile, overlap)]


def weights(classes, factor):
    weight = u.bilinear_conv_transpose(classes, factor).weight
    return weight.numel(), int((weight != 0).sum())


def heights(n):
    x, found = torch.empty(1, 3, n, 32), []
    for name, stage in backbones.make_backbone("resnet18").named_children():
        x = stage(x)
        found += [x.shape[2]] * (name in ("conv1", "maxpool", "layer1", "layer2", "layer3", "layer4"))
    return found


def padded(image, label):
    large = fcn.pad_to_multiple(torch.cat([image, label[None]])[None])
    return large[0, :3], large[0, 3]


def counted(b, k):
    matrix = torch.zeros(k, k, dtype=torch.int64)
    matrix[0, 0], matrix[1:, 0] = round(b * 1000), round((1 - b) * 1000 / (k - 1))
    scores = metrics.background_baseline(matrix)
    return scores.pixel_acc, scores.mean_acc, scores.miou


def head(variant, channels, classes, learned):
    counts = fcn.parameter_counts(fcn.FCN(variant, classes, upsampling="learned" if learned else "bilinear"))
    return counts["total"] - counts["backbone"]


def divided(names, source, share):
    found = lists.split(names, share, source=source)
    return found["train"], found["val"]


BORROWED = {
    "01.1": (nb01.size_formula, u.trans_conv_size),
    "01.3, the module's": (nb01.gather, u.trans_conv),
    "01.3, PyTorch's": (
        nb01.gather,
        lambda X, K, s: F.conv_transpose2d(X[None, None], K[None, None], stride=s)[0, 0],
    ),
    "02.1": (nb02.geometry, u.bilinear_geometry),
    "02.2": (nb02.weight_sum, lambda f, j: u.bilinear_matrix(3, f, border="fade").sum(1)[j]),
    "02.4, the layer": (nb02.enlarge, lambda Z, f: u.BilinearUpsample(f)(Z)),
    "02.4, interpolate": (nb02.enlarge, lambda Z, f: F.interpolate(Z, scale_factor=f, mode="bilinear")),
    "03.2": (nb03.pad_to_32, padded),
    "04.2": (nb04.dense_weights, weights),
    "04.3": (nb04.heights, heights),
    "05.3": (nb05.baseline, counted),
    "06.2": (nb06.full_tiles, cut),
    "07.2": (nb07.head_parameters, head),
    "09.3": (nb09.calibration, lambda c, r, b: metrics.calibration_error(torch.stack([c, r, c]))),
    "11.3": (nb11.split, divided),
}


@pytest.mark.parametrize("case", BORROWED)
def test_the_modules_own_function_does_not_solve_an_exercise(case):
    judge, answer = BORROWED[case]
    verdict = judge(answer)
    assert verdict.status == "wrong" and "can't be used while this check runs" in verdict.message


def test_no_check_asks_the_function_that_it_withholds():
    """A withheld function would raise in the check itself; so its source names it once, to withhold it."""
    for module in (nb01, nb02, nb03, nb04, nb05, nb06, nb07, nb09, nb11):
        source = inspect.getsource(module)
        for line in (line for line in source.splitlines() if "withhold=[" in line):
            names = line.split("withhold=[")[1].split("]")[0].split(", ")
            assert all(source.count(f"{name}(") == 0 for name in names if not name.startswith("F.")), line
