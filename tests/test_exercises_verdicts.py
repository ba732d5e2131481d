import functools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from d2lseg.exercises import nb01, nb02
from d2lseg.exercises.verdicts import NOT_YET, RETURNED_NONE, RIGHT, WRONG, Failure, call, check, value


@check("add one")
def add_one(answer):
    got = call(answer, 1)
    if got != 2:
        return Failure(f"for 1: expected 2, got {got!r}", draw=lambda: print("<figure>"))


@check("the number of legs of a spider")
def legs(answer):
    if value(answer) != 8:
        return f"expected 8, got {answer!r}"


def test_right_answers_pass(capsys):
    assert add_one(lambda x: x + 1) and legs(8)
    assert capsys.readouterr().out == f"{RIGHT}\n{RIGHT}\n"


def raises_not_implemented(x):
    raise NotImplementedError


def documented(x):
    """Add one."""
    ...


def passes(x):
    pass


@pytest.mark.parametrize(
    "stub",
    [
        ...,
        lambda x: None,
        lambda x: ...,
        documented,
        passes,
        raises_not_implemented,
    ],
)
def test_stub_functions_are_not_yet(stub, capsys):
    verdict = add_one(stub)
    assert not verdict and verdict.status == "not yet"
    assert capsys.readouterr().out == f"{NOT_YET} Hint: add one\n"


def forgets_to_return(x):
    x = x + 1


def raises_from_a_helper(x):
    return raises_not_implemented(x)


@pytest.mark.parametrize("silent", [print, lambda x: print(x), forgets_to_return, functools.partial(print)])
def test_functions_that_return_none_are_told_so(silent, capsys):
    assert add_one(silent).status == "not yet"
    assert capsys.readouterr().out.endswith(f"{NOT_YET} {RETURNED_NONE} Hint: add one\n")


@pytest.mark.parametrize(
    ("slip", "words"),
    [
        (lambda x: F.interpolate(torch.zeros(3, 4, 4), scale_factor=2, mode="bilinear"), "3D input"),
        (lambda x: F.pad(torch.zeros(4, 4), (1, 1, 1, 1), mode="replicate"), "not supported for 2D"),
        (lambda x: torch.zeros(3, dtype=torch.uint8).softmax(0), "not implemented for 'Byte'"),
        (torch.nn.Module(), "forward"),
    ],
)
def test_what_pytorch_does_not_implement_is_quoted(slip, words):
    verdict = add_one(slip)
    assert verdict.status == "wrong"
    assert "your code raised NotImplementedError: " in verdict.message and words in verdict.message


def test_a_helper_that_is_still_a_stub_is_not_yet():
    assert add_one(raises_from_a_helper).status == "not yet"


@pytest.mark.parametrize("stub", [..., None, (..., 1), [3, None]])
def test_stub_values_are_not_yet(stub):
    assert legs(stub).status == "not yet"


def test_wrong_answer_gets_case_hint_and_figure(capsys):
    verdict = add_one(lambda x: x)
    out = capsys.readouterr().out
    assert not verdict and verdict.status == "wrong"
    assert "expected 2, got 1" in out and "Hint: add one" in out and out.endswith("<figure>\n")
    assert legs(6).message.startswith(f"{WRONG} expected 8, got 6")


def divides(*arguments):
    return 1 / 0


def test_student_exceptions_are_shown_with_their_line_and_not_raised(capsys):
    verdict = nb01.size_formula(divides)
    assert verdict.status == "wrong"
    told = "your code raised ZeroDivisionError: division by zero, in the line `return 1 / 0`"
    assert told in verdict.message
    assert verdict.message in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "told"),
    [(lambda f: 1, "TypeError: "), (lambda f, j: [1], "TypeError: float() "), (5, "not callable")],
)
def test_an_answer_of_the_wrong_kind_is_not_called_an_error_of_the_students_code(answer, told):
    verdict = nb02.weight_sum(answer)
    assert verdict.status == "wrong" and "the check can't use your answer" in verdict.message
    assert told in verdict.message and "your code raised" not in verdict.message


def test_display_of_a_verdict_repeats_nothing(capsys):
    verdict = legs(8)
    capsys.readouterr()
    assert verdict._ipython_display_() is None and capsys.readouterr().out == ""
    assert repr(verdict) == "Verdict(status='right')"


@pytest.mark.parametrize("eight", [torch.tensor(8), np.int64(8), np.array(8.0)])
def test_single_numbers_of_torch_and_numpy_count_as_numbers(eight):
    assert legs(eight)
    assert value([eight, [eight]]) == (8, (8,)) and not hasattr(value(eight), "ndim")
