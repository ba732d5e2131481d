"""In every notebook, each exercise has a check, stubs are "not yet", and the solutions pass."""

import importlib

import pytest
from notebook_cells import NOTEBOOKS, cells, checks, run_solutions, run_stubs

from d2lseg.exercises.verdicts import NOT_YET, RIGHT

NAMES = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
SHOWN = {"number_of_classes"}  # notebook 00 only demonstrates this one


def asked(name):
    """List the checks of a notebook's exercises."""
    module = importlib.import_module(f"d2lseg.exercises.nb{name[:2]}")
    return [check for check in checks(module) if check not in SHOWN]


@pytest.mark.parametrize("name", NAMES)
def test_every_check_is_used_once_and_its_solution_passes(name, capsys):
    run_solutions(name)
    assert capsys.readouterr().out == f"{RIGHT}\n" * len(asked(name))
    for source in (cells(name, "exercise"), cells(f"solutions/{name}", "solution")):
        assert all(sum(f"check.{check}(" in cell for cell in source) == 1 for check in asked(name))


@pytest.mark.parametrize("name", NAMES)
def test_stubs_are_not_yet(name, capsys):
    run_stubs(name)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(asked(name)) and all(line.startswith(NOT_YET) for line in lines)
