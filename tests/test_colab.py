"""The lane of a Colab visitor: Colab's versions, a stand-in for Colab's own module, and an upload."""

import re
import shutil
import sys
from importlib import metadata
from pathlib import Path

import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_notebook

from d2lseg import prediction
from tools import colab, commands, opening, render

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "colab.md").read_text(encoding="utf-8")
PHOTO, DRIVE = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_colabs_versions_stand_in_one_file_and_torch_can_be_left_out():
    pins = colab.requirements(shared=False)
    assert {"ipython==7.34.*", "ipywidgets==7.7.*", "numpy==2.1.*", "torch==2.11.*"} <= set(pins)
    assert set(pins) - set(colab.requirements(shared=True)) == {"torch==2.11.*", "torchvision==0.26.*"}


def test_sharing_links_what_is_needed_and_leaves_what_is_there(tmp_path):
    (tmp_path / "numpy-2.1.3.dist-info").mkdir()
    (tmp_path / "numpy-2.1.3.dist-info" / "METADATA").write_text("Name: numpy\nVersion: 2.1.3\n")
    typing = tmp_path / "typing_extensions-1.0.dist-info"
    typing.mkdir()
    (typing / "METADATA").write_text("Name: typing_extensions\nVersion: 1.0\n")
    colab.share(("torchvision",), tmp_path)
    assert [path.name for path in tmp_path.glob("typing*")] == [typing.name], "torch spells it with a hyphen"
    linked = {path.name.split("-")[0] for path in tmp_path.iterdir() if path.is_symlink()}
    assert {"torch", "torchvision", "sympy", "PIL"} <= linked
    (torch,) = metadata.distributions(name="torch", path=[str(tmp_path)])
    assert torch.version == metadata.version("torch") and not torch.requires, "pip looks for nothing more"
    assert not {"numpy", "IPython", "ipython", "d2lseg", "pytest"} & linked, "what is there, extras, others"


def test_a_visitor_is_not_led_back_to_the_checkout(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    env = colab.clean_environment(tmp_path)
    assert "PYTHONPATH" not in env and "D2LSEG_DATA" not in env and env["HOME"] == str(tmp_path)


def test_ci_runs_the_lane_and_weekly_all_of_it():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8"))
    job = workflow["jobs"]["colab"]
    assert job["steps"][1]["with"]["python-version"] == "3.13"
    command = job["steps"][-1]["run"]
    assert command.startswith("python -m tools.colab") and "!= 'schedule' && '00 03 06' || ''" in command


def test_the_drive_recipe_is_one_line():
    assert len(DRIVE.strip().splitlines()) == 1


@pytest.fixture(scope="module")
def lane(colab_python, tmp_path_factory):
    """An environment with Colab's versions, and the wheel."""
    return colab_python, commands.build_wheel(ROOT, tmp_path_factory.mktemp("dist"), sys.executable)


@pytest.mark.slow
def test_the_lane_has_colabs_versions_and_no_course(lane):
    python, _ = lane
    have = colab.versions(python, python.parent.parent.parent)
    for pin in colab.requirements(shared=True):
        name, version = pin.removesuffix("*").split("==")
        assert f"{have[name]}.".startswith(version), pin
    assert not set(colab.OURS) & set(have)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["00", "03", "06"])
def test_a_notebook_runs_as_on_colab(lane, tmp_path, name):
    (path,) = colab.lessons([name])
    book = visit(lane, path, tmp_path)
    assert "setup" in book.cells[1].metadata.tags and book.cells[1].outputs, (
        "the cell has installed the module"
    )
    assert (tmp_path / "home" / ".cache" / "d2lseg").is_dir(), "data lands in the documented place"


def visit(lane, path, place, *uploads):
    """Visit a notebook with the wheel."""
    python, wheel = lane
    return colab.visit(python, path, wheel, place, uploads)


@pytest.mark.slow
def test_a_visitor_segments_a_photo_within_the_first_notebook(lane, tmp_path):
    """The route of docs/colab.md: the cells of 00 down to its first figure, then the page's lines."""
    first = nbformat.read(ROOT / "notebooks" / "00_start_here.ipynb", as_version=4)
    codes = [cell for cell in first.cells if cell.cell_type == "code"]
    drawn = next(i for i, cell in enumerate(codes) if "show_images" in cell.source)
    cells = [*codes[: drawn + 1], new_code_cell(PHOTO), new_code_cell("print(classes.unique())")]
    book = new_notebook(cells=cells)
    nbformat.write(book, tmp_path / "route.ipynb")
    own = shutil.copy(prediction.sample_photo("chelsea"), tmp_path / "mine.jpg")
    done = visit(lane, tmp_path / "route.ipynb", tmp_path / "visit", own)
    assert any(
        "image/png" in output.get("data", {}) or "image/jpeg" in output.get("data", {})
        for output in done.cells[-2].outputs
    )
    assert "1" in done.cells[-1].outputs[0].text, "class 1 is the cat"


@pytest.mark.slow
def test_the_drive_recipe_moves_the_data(lane, tmp_path):
    setup = new_code_cell(opening.setup(None, "00_a"))
    line = DRIVE.replace("/content", tmp_path.as_posix())
    look = "from d2lseg import voc; print(voc.data_dir())"
    nbformat.write(
        new_notebook(cells=[setup, new_code_cell(line), new_code_cell(look)]), tmp_path / "a.ipynb"
    )
    done = visit(lane, tmp_path / "a.ipynb", tmp_path / "visit")
    assert Path(done.cells[-1].outputs[0].text.strip()) == tmp_path / "drive" / "MyDrive" / "d2lseg"


@pytest.mark.slow
def test_a_setup_cell_that_changes_another_package_is_found(lane, tmp_path):
    cells = [new_code_cell(opening.setup(None, "00_a")), new_code_cell("%pip uninstall -q -y tqdm")]
    nbformat.write(new_notebook(cells=cells), tmp_path / "a.ipynb")
    with pytest.raises(colab.ColabError, match="tqdm"):
        visit(lane, tmp_path / "a.ipynb", tmp_path / "visit")
    folder = lane[0].parent.parent.parent
    colab.run(lane[0], "-m", "pip", "install", "-q", "tqdm", home=folder)


@pytest.mark.slow
def test_a_notebook_without_its_setup_cell_fails_even_after_a_killed_visit(lane, tmp_path):
    """A killed visit leaves the course in the environment, and the next one must not find it there."""
    python, wheel = lane
    folder = python.parent.parent.parent
    colab.run(python, "-m", "pip", "install", "-q", "--no-deps", wheel, home=folder)
    assert "d2lseg" in colab.versions(python, folder)
    nbformat.write(new_notebook(cells=[new_code_cell("import d2lseg")]), tmp_path / "a.ipynb")
    with pytest.raises(render.RenderError, match="ModuleNotFoundError"):
        visit(lane, tmp_path / "a.ipynb", tmp_path / "visit")


def test_only_an_environment_that_was_finished_is_kept(tmp_path, capsys):
    assert not colab.kept(tmp_path)
    (tmp_path / ".venv").mkdir()
    assert colab.main(["00", "--keep", str(tmp_path)]) == 2
    assert f"{tmp_path / '.venv'} is not an environment" in capsys.readouterr().err
    colab.kernel_file(tmp_path).parent.mkdir(parents=True)
    colab.kernel_file(tmp_path).touch()
    assert colab.kept(tmp_path)
