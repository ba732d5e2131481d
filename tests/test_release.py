"""A release: its parts, their checksums, and a workflow whose commands exist."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest
import yaml

from d2lseg import __version__
from tools import commands, release

ROOT = Path(__file__).resolve().parent.parent
WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8"))
BOOK = ROOT / "notebooks" / "00_start_here.ipynb"


@pytest.fixture
def root(tmp_path):
    """A copy of what a release is made of, with one notebook."""
    root = tmp_path / "course"
    shutil.copytree(ROOT / "d2lseg", root / "d2lseg", ignore=shutil.ignore_patterns("__pycache__", "weights"))
    (root / "notebooks").mkdir()
    for name in (*commands.PACKAGED, "CHANGELOG.md", "CITATION.cff", f"notebooks/{BOOK.name}"):
        shutil.copy(ROOT / name, root / name)
    return root


def test_the_tag_names_the_version_that_the_files_name(root):
    assert release.check(f"v{__version__}", root) == __version__


@pytest.mark.parametrize("tag", ["v9.9.9", __version__, "version-1"])
def test_another_tag_is_refused(root, tag):
    with pytest.raises(commands.Stop, match=r"vX\.Y\.Z"):
        release.check(tag, root)


@pytest.mark.parametrize("name", ["CHANGELOG.md", "CITATION.cff"])
def test_a_file_that_names_another_version_is_told(root, name):
    path = root / name
    path.write_text(path.read_text(encoding="utf-8").replace(__version__, "0.9.9"), encoding="utf-8")
    with pytest.raises(commands.Stop, match=f"{name}.* says 0.9.9"):
        release.check(f"v{__version__}", root)


def test_a_class_gets_the_notebooks_without_outputs():
    text = BOOK.read_text(encoding="utf-8")
    before, after = (nbformat.reads(t, as_version=4) for t in (text, release.without_outputs(text)))
    assert any(cell.get("outputs") for cell in before.cells)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in after.cells)
    assert [(c.cell_type, c.source, c.metadata) for c in after.cells] == [
        (c.cell_type, c.source, c.metadata) for c in before.cells
    ]
    assert after.metadata == before.metadata
    nbformat.validate(after)


def test_the_same_files_give_the_same_bytes(tmp_path):
    files = {"b/c.txt": b"two", "a.txt": b"one"}
    release.pack(tmp_path / "1.zip", files)
    release.pack(tmp_path / "2.zip", dict(reversed(files.items())))
    assert (tmp_path / "1.zip").read_bytes() == (tmp_path / "2.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "1.zip") as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == files


def test_a_website_that_was_not_built_is_told(root, tmp_path):
    with pytest.raises(commands.Stop, match=r"index\.html.*tasks\.py site"):
        release.release(f"v{__version__}", tmp_path, sys.executable, root)


@pytest.mark.slow
def test_a_release_holds_its_parts_and_can_be_repeated(root, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "")  # so that it is as before, after the test
    site = tmp_path / "site"
    (site / "sub").mkdir(parents=True)
    (site / "index.html").write_text("<title>x</title>")
    (site / "sub" / "a.css").write_text("a {}")
    folder = release.release(f"v{__version__}", site, sys.executable, root)
    parts = {
        f"d2lseg-{__version__}-py3-none-any.whl", f"d2lseg-notebooks-{__version__}.zip",
        f"d2lseg-site-{__version__}.zip", "SHA256SUMS",
    }  # fmt: skip
    assert {path.name for path in folder.iterdir()} == parts
    with zipfile.ZipFile(folder / f"d2lseg-notebooks-{__version__}.zip") as archive:
        assert set(archive.namelist()) == {f"notebooks/{BOOK.name}", "LICENSE", "LICENSE-PROSE"}
        assert not any(
            cell.get("outputs") for cell in json.loads(archive.read(f"notebooks/{BOOK.name}"))["cells"]
        )
    with zipfile.ZipFile(folder / f"d2lseg-site-{__version__}.zip") as archive:
        assert set(archive.namelist()) == {"index.html", "sub/a.css"}
    sums = (folder / "SHA256SUMS").read_text()
    assert len(sums.splitlines()) == 3
    if shutil.which("sha256sum"):
        check = ["sha256sum", "--check", "SHA256SUMS"]
        subprocess.run(check, cwd=folder, check=True, capture_output=True)
        (folder / f"d2lseg-site-{__version__}.zip").write_bytes(b"changed")
        assert subprocess.run(check, cwd=folder, capture_output=True).returncode
    release.release(f"v{__version__}", site, sys.executable, root)
    assert (folder / "SHA256SUMS").read_text() == sums


def test_the_workflow_builds_for_a_tag_and_publishes_a_draft():
    assert WORKFLOW[True]["push"] == {"tags": ["v*"]} and "workflow_dispatch" in WORKFLOW[True]
    assert WORKFLOW["permissions"] == {"contents": "read"}
    publish = WORKFLOW["jobs"]["publish"]
    assert publish["if"] == "github.ref_type == 'tag'" and "--draft" in publish["steps"][-1]["run"]
    uploads = [
        step["with"] for step in WORKFLOW["jobs"]["build"]["steps"] if "upload" in step.get("uses", "")
    ]
    assert uploads == [{"name": "release", "path": "dist/release/*", "if-no-files-found": "error"}]


def test_the_workflow_calls_commands_that_exist(capsys):
    """Each line that calls the course's own tools names a command of theirs; other lines are the shell's."""
    lines = [line for step in WORKFLOW["jobs"]["build"]["steps"] for line in step.get("run", "").splitlines()]
    ours = [shlex.split(line) for line in lines if "tasks.py" in line or "tools." in line]
    assert [words[2] for words in ours] == ["tools.release", "repository", "setup", "site", "tools.release"]
    known = re.findall(r"^ +(\w+)(?:  |$)", commands.parser().format_help(), re.MULTILINE)
    assert {words[2] for words in ours if words[1] == "tasks.py"} <= set(known)
    assert release.main(["--check", "--tag", f"v{__version__}"]) == 0
    assert capsys.readouterr().out == f"v{__version__} releases {__version__}.\n"
    assert release.main(["--check", "--tag", "v0.0.1"]) == 2
