"""The widgets answer in a real browser under ipywidgets 7, the version that Colab has."""

import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from voc_layout import make_folder

from tools import colab

ROOT = Path(__file__).resolve().parent.parent
DRIVER = Path(__file__).with_name("drive_widgets.py")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
LOOK = "import hashlib; print(hashlib.sha256(shown.image.value).hexdigest())"


@pytest.fixture
def environment(request):
    """The Python of an environment with ipywidgets 7 and its notebook server."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    python = request.getfixturevalue("colab_python")
    assert colab.versions(python, python.parent.parent.parent)["ipywidgets"].startswith("7.7.")
    return python


def drive(python, place, code, controls, seconds=60):
    """Open a notebook that shows a widget, use its controls, and give what was seen in so many seconds."""
    cells = [new_code_cell(f"{code}\nshown"), new_code_cell(LOOK)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    book = place / "widget.ipynb"
    nbformat.write(new_notebook(cells=cells, metadata=kernel), book)
    folder = python.parent.parent.parent
    env = colab.clean_environment(folder) | {"PYTHONPATH": str(ROOT), "JUPYTER_PATH": str(folder / "jupyter")}
    command = [sys.executable, DRIVER, CHROMIUM, book, json.dumps(controls), python, str(seconds)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def check(seen):
    """Each control has changed the image, and the browser shows what the kernel holds."""
    assert all(step["browser"] == step["kernel"] for step in seen), seen
    images = [step["browser"] for step in seen]
    assert all(before != after for before, after in itertools.pairwise(images))
    assert len({step["caption"] for step in seen}) > 1


@pytest.mark.slow
def test_the_explorer_answers_in_a_browser(environment, tmp_path):
    code = "from d2lseg.widgets import TransposedConvExplorer\nshown = TransposedConvExplorer()"
    controls = [
        ["slider", "stamps"],
        ["button", "next stamp"],
        ["slider", "kernel size"],
        ["slider", "stride"],
    ]
    check(drive(environment, tmp_path, code, controls))


@pytest.mark.slow
def test_the_dataset_browser_answers_in_a_browser(environment, tmp_path):
    make_folder(tmp_path / "data")
    code = f"from d2lseg.widgets import DatasetBrowser\nshown = DatasetBrowser({str(tmp_path / 'data')!r})"
    controls = [["slider", "image"], ["list", "show", "mask"], ["list", "list", "val"]]
    check(drive(environment, tmp_path, code, controls))


@pytest.mark.slow
def test_a_control_that_changes_nothing_is_found(environment, tmp_path):
    """With its callbacks taken away the explorer stays as it is, and the driver says so."""
    code = "from d2lseg.widgets import TransposedConvExplorer\nshown = TransposedConvExplorer()\n"
    code += "[slider.unobserve_all() for slider in shown.sliders.values()]"
    with pytest.raises(AssertionError, match="the image is still"):
        drive(environment, tmp_path, code, [["slider", "stamps"]], seconds=10)
