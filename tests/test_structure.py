"""d2lseg keeps its limits of size, docstrings, borders and hops; and each limit can be broken."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tools import structure

ROOT = Path(__file__).resolve().parent.parent
GOOD = {
    "d2lseg/__init__.py": '__version__ = "0"\n',
    "d2lseg/__main__.py": "from .cli import main\n",
    "d2lseg/training.py": """
import torch.nn.functional as F
from .engine import files
from .engine.files import note as tell

def train(model, rate, *batches, seed=0, **more):
    return _loss(model)

def _loss(scores):
    tell(files.note)
    return F.cross_entropy(scores, scores)
""",
    "d2lseg/voc.py": """
def download():
    from .datasets import fetch
    return fetch.get()
""",
    "d2lseg/engine/__init__.py": "",
    "d2lseg/engine/files.py": "_SECRET = 1\ndef note(x): return __file__\ndef _hidden(): pass\n",
    "d2lseg/datasets/__init__.py": "",
    "d2lseg/datasets/fetch.py": "from .. import voc\nfrom ..engine.files import note\ndef get(): pass\n",
    "d2lseg/exercises/__init__.py": "",
    "d2lseg/exercises/_engine.py": "def check(): pass\n",
    "d2lseg/exercises/nb01.py": "from ._engine import check\nfrom .. import training\ndef _inside(): pass\n",
    "d2lseg/widgets.py": "",
    "d2lseg/cli/__init__.py": "from .. import __version__, training, voc\nfrom ..datasets import fetch\n",
    "tests/test_training.py": "from d2lseg import training\ntraining._loss(1)\nprint(training.__doc__)\n",
    "tests/test_exercises_engine.py": "from d2lseg.exercises._engine import check\n",
    "tools/count.py": "from d2lseg import voc\nvoc.download()\n",
}


@pytest.fixture
def measured(tmp_path):
    """A function that writes the good files, with changes, and measures them."""

    def measure(**changes):
        for name, text in (GOOD | changes.pop("files", {})).items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return structure.measure(tmp_path)

    return measure


def lines(count, name="x"):
    return "".join(f"{name}{n} = 1\n" for n in range(count))


@pytest.fixture(scope="module")
def course():
    """What is measured of the course, and which modules that loads, in a process of its own."""
    code = "import json, sys; from tools import structure; report = structure.measure(); "
    code += "print(json.dumps([structure.broken(report), structure.text(report), list(sys.modules)]))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


def test_the_course_keeps_all_limits(course):
    faults, text, _ = course
    assert not faults and "limits broken: 0" in text, text


def test_nothing_of_the_package_is_imported(course):
    _, text, modules = course
    assert len(text) > 99 and "tools.structure" in modules and not {"d2lseg", "torch"} & set(modules)


def test_the_good_sample_keeps_all_limits(measured):
    report = measured()
    assert structure.broken(report) == []
    assert report.private == report.imports == report.homeless == []
    assert report.private_in_own_tests == 2 and report.parameters == 5
    assert structure.short(" -> ".join(report.path)) == "training.train -> training._loss -> F.cross_entropy"


def test_comments_blank_lines_and_docstrings_are_not_code(measured):
    source = '"""Of\n\nfour\nlines."""\n\n# why\nX = """one\n\n# three"""  # said\n'
    source += 'def f(\n    a,\n):\n    "One."\n'
    report = measured(files={"d2lseg/metrics.py": source})
    assert report.sizes["d2lseg.metrics"] == structure.Size(code=6, docs=5)
    assert report.functions["d2lseg.metrics.f"] == 3


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"metrics": lines(250)}, None),
        ({"metrics": lines(251)}, "metrics: lines of code: 251, at most 250"),
        (
            {name: lines(236) for name in structure.CORE if name != "training"},
            "the core: lines of code: 2132, at most 1800",
        ),
        ({"metrics": "'''Long." + "\n" * 7 + "'''\n"}, "the core: docstring lines: 8, at most 5"),
        ({"helpers": ""}, "modules in no group: 1, at most 0"),
        (
            {"training": f"def train():\n{lines(80, '    x')}"},
            "training.train: lines of code: 81, at most 80",
        ),
        ({"training": f"def train({', '.join('abcdefghijklmnopq')}): pass"}, "parameters: 17, at most 16"),
        ({"training": "def train(): pass"}, "no path found from training.train to F.cross_entropy"),
        ({"training": ""}, "no path found"),
    ],
)
def test_sizes_and_shapes_can_be_too_large(measured, files, words):
    report = measured(files={f"d2lseg/{name}.py": text for name, text in files.items()})
    faults = structure.broken(report)
    assert any(words in fault for fault in faults) if words else not faults, faults


@pytest.mark.parametrize(
    ("place", "source", "line"),
    [
        ("d2lseg/voc.py", "from .engine.files import _hidden", 1),
        ("d2lseg/voc.py", "def f():\n    from .engine import files\n    return files._hidden()", 3),
        ("d2lseg/engine/disk.py", "from . import files as other\nother._SECRET.real", 2),
        ("d2lseg/cli/train.py", "from ..training import files\nfiles._SECRET", 2),
        ("d2lseg/voc.py", "from .exercises import _engine\n_engine.check()", 1),
        ("tests/test_other.py", "import d2lseg.training\nd2lseg.training._loss(1)", 2),
        ("tests/test_training.py", "from d2lseg.engine import files\nfiles._hidden()", 2),
        ("tests/test_exercises_nb01.py", "from d2lseg.exercises._engine import check", 1),
        ("tests/test_other.py", "from d2lseg import training\npatch.setattr(training, '_loss', 1)", 2),
        ("tests/test_other.py", "patch.setattr('d2lseg.training._loss', 1)", 1),
        ("tests/test_other.py", "from d2lseg import training as t\nCASES = [(1, t, '_loss')]", 2),
        ("tests/sub/worker.py", "from d2lseg import training\ntraining.files._SECRET", 2),
        ("tools/look.py", "from d2lseg.training import train\ntrain._cache", 2),
        ("benchmarks/probe.py", "from d2lseg import training\ntraining._loss.name", 2),
    ],
)
def test_a_private_use_is_found(measured, place, source, line):
    report = measured(files={place: source})
    (found,) = report.private
    assert found.startswith(f"{place}:{line} d2lseg.")
    assert "private uses across modules: 1, at most 0" in structure.broken(report)


@pytest.mark.parametrize(
    ("place", "source", "target"),
    [
        ("d2lseg/engine/disk.py", "from .. import voc", "d2lseg.voc"),
        ("d2lseg/engine/disk.py", "def f():\n    import d2lseg.voc", "d2lseg.voc"),
        ("d2lseg/engine/disk.py", "import d2lseg.voc as v", "d2lseg.voc"),
        ("d2lseg/metrics.py", "from .datasets.fetch import get, put", "d2lseg.datasets.fetch"),
        ("d2lseg/metrics.py", "def download():\n    from .datasets import fetch", "d2lseg.datasets.fetch"),
        ("d2lseg/voc.py", "from .datasets import fetch\ndef download(): pass", "d2lseg.datasets.fetch"),
        ("d2lseg/voc.py", "def download():\n    from . import cli", "d2lseg.cli"),
        ("d2lseg/datasets/fetch.py", "from ..widgets import show", "d2lseg.widgets"),
        ("d2lseg/cli/train.py", "from ..exercises import nb01", "d2lseg.exercises.nb01"),
        ("d2lseg/__init__.py", "from . import voc", "d2lseg.voc"),
    ],
)
def test_an_import_against_the_direction_is_found(measured, place, source, target):
    report = measured(files={place: source})
    (found,) = report.imports
    assert found.startswith(f"{place}:") and found.endswith(f" imports {target}")
    assert "imports against the direction: 1, at most 0" in structure.broken(report)


HEAD = "import torch.nn.functional as F\nfrom torch import nn\n"
LOSS = "def loss(x): return F.cross_entropy(x, x)\n"


@pytest.mark.parametrize(
    ("source", "way"),
    [
        ("def train(): nn.functional.cross_entropy(1, 1)", ""),
        (f"{LOSS}def train(): loss(1)", "loss"),
        (f"{LOSS}def step(): loss(1)\ndef train(): step()", "step loss"),
        (f"{LOSS}def train(): list(map(loss, []))", "loss"),
        (f"{LOSS}def train(fast):\n    f = None if fast else loss\n    f(1)", "loss"),
        (f"{LOSS}def train(a, b=1, *, c=loss, d=None):\n    a(d)\n    c(1)", "loss"),
        (f"{LOSS}def train(a, b=loss):\n    b(a)", "loss"),
        (f"{LOSS}def train(a, b=loss):\n    a(1)", None),
        (f"{LOSS}def train():\n    def inner(): return lambda: loss(1)\n    inner()", "loss"),
        (f"{LOSS}class Run:\n  def __init__(self): loss(1)\ndef train(): Run()", "Run.__init__ loss"),
        (f"{LOSS}class Run:\n  def go(self): loss(1)\ndef train(run): run.go()", "Run.go loss"),
        (f"{LOSS}class Run:\n  def update(self): loss(1)\ndef train(d):\n  d.update()\n  Run()", None),
        (
            f"{LOSS}class Mod:\n  def forward(self): loss(1)\ndef train():\n  m = Mod()\n  m(1)",
            "Mod.forward loss",
        ),
        (
            f"{LOSS}class Mod:\n  def __call__(self): loss(1)\nclass Base:\n  def go(self): self.mod(1)\n"
            "  def __init__(self): self.mod = nn.wrap(Mod())\nclass Run(Base):\n  def run(self): self.go()\n"
            "def train(x): x.run()",
            "Run.run Base.go Mod.__call__ loss",
        ),
    ],
)
def test_the_hops_follow_the_calls(measured, source, way):
    report = measured(files={"d2lseg/training.py": HEAD + source})
    if way is None:
        assert report.path == []
        return
    names = [structure.short(name).removeprefix("training.") for name in report.path]
    assert names == ["train", *way.split(), "F.cross_entropy"]


def test_the_hops_go_through_other_modules_and_four_are_too_many(measured):
    files = {
        "d2lseg/training.py": "from . import fcn\ndef train(): fcn.loss(1)",
        "d2lseg/fcn.py": "from .engine.losses import loss",
        "d2lseg/engine/losses.py": f"{HEAD}def loss(x): one(x)\ndef one(x): F.cross_entropy(x, x)\n",
    }
    assert structure.broken(measured(files=files)) == []
    files["d2lseg/engine/losses.py"] += "def loss(x): two(x)\ndef two(x): one(x)\n"
    report = measured(files=files)
    assert len(report.path) == 5
    assert "hops from training.train to F.cross_entropy: 4, at most 3" in structure.broken(report)


def test_the_command_prints_the_faults_and_fails(measured, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["structure", str(tmp_path)])
    measured()
    assert structure.main() == 0
    out = capsys.readouterr().out
    assert "limits broken: 0" in out and "training.train -> training._loss -> F.cross_entropy" in out
    measured(files={"d2lseg/voc.py": "from .engine.files import _hidden\nfrom .datasets import fetch"})
    assert structure.main() == 1
    out = capsys.readouterr().out
    assert "\n  d2lseg/voc.py:1 d2lseg.engine.files._hidden\n" in out
    assert "\n  d2lseg/voc.py:2 imports d2lseg.datasets.fetch\n" in out and "limits broken: 2" in out
