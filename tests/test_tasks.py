"""The commands: set-up that skips, remakes and explains its failures; then all other commands."""

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest

import tasks
from tools import commands, render

ROOT = Path(__file__).resolve().parent.parent
NOWHERE = "http://127.0.0.1:9/simple"  # the discard port: refused at once, on any machine


@pytest.fixture
def mini(tmp_path, monkeypatch):
    """A repository whose requirements are quickly met: none at all."""
    root = tmp_path / "mini"
    root.mkdir()
    (root / "requirements.txt").write_text("# nothing\n")
    (root / "pyproject.toml").write_text('Repository = "https://github.com/own/course"\n')
    monkeypatch.setattr(commands, "DISK_GB", {"cpu": 0.01, "default": 0.01})
    monkeypatch.delenv("D2LSEG_DISK_GB", raising=False)
    monkeypatch.setenv("D2LSEG_TORCH", "default")  # nothing here needs torch
    return root


def sentence(error):
    """Check that a failure is told in one sentence, and give it."""
    text = str(error.value)
    assert "\n" not in text and text.endswith(".") and ". " not in text.replace("...", ""), text
    return text


# --- an old Python ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [(2, 7), (3, 6), (3, 9, 19)])
def test_an_old_python_is_refused_in_one_sentence(version):
    message = tasks.too_old(version)
    assert "3.10 or newer" in message and f"{version[0]}.{version[1]}:" in message and "\n" not in message


@pytest.mark.parametrize("version", [(3, 10), (3, 14, 1), (4, 0)])
def test_a_new_python_is_accepted(version):
    assert tasks.too_old(version) is None


def test_tasks_is_read_by_old_pythons():
    ast.parse((ROOT / "tasks.py").read_text(), feature_version=(3, 4))
    with pytest.raises(SyntaxError):  # the check can fail
        ast.parse("x = f'{1}'\nmatch x:\n    case 1: pass", feature_version=(3, 4))


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.7", "3.8", "3.9"])
def test_a_real_old_python_prints_the_sentence(version):
    places = [shutil.which(f"python{version}"), *Path.home().glob(f".pyenv/versions/{version}.*/bin/python")]
    works = [p for p in places if p and not subprocess.run([p, "-c", ""], capture_output=True).returncode]
    if not works:
        pytest.skip(f"there is no Python {version} on this machine")
    found = works[0]
    run = subprocess.run([found, ROOT / "tasks.py", "lab"], capture_output=True, text=True)
    assert run.returncode == 1 and run.stdout == ""
    assert run.stderr.startswith("The course needs Python 3.10") and run.stderr.count("\n") == 1


def test_the_oldest_python_agrees_with_pyproject():
    oldest = ".".join(map(str, tasks.OLDEST))
    assert f'requires-python = ">={oldest}"' in (ROOT / "pyproject.toml").read_text()


# --- set-up -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_set_up_installs_once_and_again_only_after_a_change(mini, monkeypatch):
    calls = []
    real = commands.install
    monkeypatch.setattr(commands, "install", lambda root, extra: (calls.append(root), real(root, extra)))
    assert commands.setup(mini)  # a real environment, with a real pip
    assert commands.usable(mini)
    assert not commands.setup(mini) and len(calls) == 1

    (mini / "requirements.txt").write_text("# something else\n")
    mark = mini / ".venv" / "mark"
    mark.touch()
    assert commands.setup(mini) and len(calls) == 2
    assert mark.exists(), "a change of the requirements keeps the environment"

    (mini / ".venv" / "unfinished").touch()  # as a killed pip leaves it
    assert commands.setup(mini) and len(calls) == 3
    assert not mark.exists(), "a half-made environment is made anew"
    assert not commands.setup(mini)

    commands.venv_python(mini).unlink()  # as after an upgrade of the system's Python
    assert commands.setup(mini) and commands.usable(mini)


@pytest.mark.slow
def test_an_environment_made_by_hand_is_kept(mini):
    subprocess.run([sys.executable, "-m", "venv", mini / ".venv"], check=True)
    mark = mini / ".venv" / "mark"
    mark.touch()
    assert commands.setup(mini) and mark.exists()
    assert not commands.setup(mini)


def test_the_fingerprint_sees_requirements_pyproject_python_and_place(mini, tmp_path, monkeypatch):
    seen = [commands.fingerprint(mini)]
    for name in ("requirements.txt", "pyproject.toml"):
        (mini / name).write_text((mini / name).read_text() + "\n# more\n")
        seen.append(commands.fingerprint(mini))
    seen.append(commands.fingerprint(shutil.copytree(mini, tmp_path / "moved")))
    monkeypatch.setattr(commands.sys, "version_info", (3, 99, 0, "final", 0))
    seen.append(commands.fingerprint(mini))
    assert len(set(seen)) == 5
    assert commands.fingerprint(mini) == seen[-1]


def fake_venv(root, status, log, torch="", settings=""):
    """Put a Python in place whose pip notes what it is to do, writes a log and exits with a status.

    ``torch`` is the version of PyTorch in the environment, ``settings`` what ``pip config list`` prints.
    """
    python = commands.venv_python(root)
    python.parent.mkdir(parents=True)
    version = " ".join(str(n) for n in sys.version_info[:3])
    for name, text in {"said": log, "torch": torch, "settings": settings}.items():
        (root / name).write_text(text)
    python.write_text(
        "#!/bin/sh\n"
        f'case "$1 $2 $3" in\n'
        f'"-c "*metadata*) test -s "{root}/torch" && cat "{root}/torch"; exit;;\n'
        f'"-c "*) echo "{version}"; exit;;\n'
        f'"-m pip config") cat "{root}/settings"; exit;;\n'
        "esac\n"
        f'cp "{root}/said" "$4"\n'  # -m pip --log LOG install ...
        f'shift 5; echo "$@" >> "{root}/calls"\nexit {status}\n'
    )
    python.chmod(0o755)


def installed(root):
    """List what the fake pip was told to install, one line a call, and forget it."""
    calls = root / "calls"
    lines = calls.read_text().splitlines() if calls.exists() else []
    calls.unlink(missing_ok=True)
    return lines


needs_sh = pytest.mark.skipif(os.name == "nt", reason="a shell script stands for a program")


@needs_sh
@pytest.mark.parametrize(
    ("log", "words"),
    [
        ("Retrying after 'NewConnectionError'\nERROR: No matching distribution found", "network"),
        ("Temporary failure in name resolution", "network"),
        ("pip._vendor.urllib3.exceptions.ReadTimeoutError: Read timed out. ReadTimeout", "network"),
        ("ERROR: Could not install packages: [Errno 28] No space left on device", "disk is full"),
        ("ERROR: No matching distribution found for torch>=2.2", "no fitting version"),
        ("OSError: [Errno 13] Permission denied: 'x'", "cannot be written"),
        ("something nobody thought of", "last lines above"),
    ],
)
def test_a_failing_pip_is_put_in_one_sentence(mini, log, words):
    fake_venv(mini, 1, log)
    with pytest.raises(commands.Stop) as error:
        commands.setup(mini)
    assert words in sentence(error) and "exit status is 1" in sentence(error)
    assert not (mini / ".venv" / "setup-stamp").exists()
    assert not (mini / ".venv" / "unfinished").exists()


@needs_sh
def test_the_stamp_of_an_earlier_success_goes_when_pip_fails(mini):
    fake_venv(mini, 0, "fine")
    assert commands.setup(mini) and not commands.setup(mini)
    shutil.rmtree(mini / ".venv")
    fake_venv(mini, 3, "Network is unreachable")
    (mini / ".venv" / "setup-stamp").write_text("of other requirements")
    with pytest.raises(commands.Stop, match="3"):
        commands.setup(mini)
    assert not (mini / ".venv" / "setup-stamp").exists()


@needs_sh
def test_lab_and_test_share_an_environment(mini, capsys):
    fake_venv(mini, 0, "fine", torch="2.9.0")
    assert commands.setup(mini, "lab") and installed(mini) == ["-e .[lab]"]
    assert not commands.setup(mini, "lab") and installed(mini) == []
    capsys.readouterr()
    assert commands.setup(mini, "site") and installed(mini) == ["-e .[site]"]
    assert "adding what builds the website" in capsys.readouterr().out
    assert commands.setup(mini, "dev") and installed(mini) == ["-r requirements.txt"]
    assert "adding the test tools" in capsys.readouterr().out
    assert not any(commands.setup(mini, extra) for extra in ("dev", "site", "lab")), "dev includes all"
    assert installed(mini) == []

    (mini / "pyproject.toml").write_text("# something else\n")
    assert commands.setup(mini, "lab") and installed(mini) == ["-e .[lab]"]
    assert "requirements have changed" in capsys.readouterr().out
    assert commands.setup(mini, "dev") and installed(mini) == ["-r requirements.txt"]


@needs_sh
@pytest.mark.parametrize("stamp", ["", "of an earlier version", "{} other", "{}"])
def test_a_stamp_that_says_something_else_does_not_count(mini, stamp):
    fake_venv(mini, 0, "fine", torch="2.9.0")
    (mini / ".venv" / "setup-stamp").write_text(stamp.format(commands.fingerprint(mini)))
    assert commands.setup(mini, "lab")
    assert not commands.setup(mini, "lab")


@pytest.mark.parametrize(
    ("argv", "extra"),
    [
        (["lab"], "lab"),
        (["test"], "dev"),
        (["render"], "dev"),
        (["site"], "site"),
        (["setup"], "dev"),
    ],
)
def test_each_command_installs_what_it_needs(monkeypatch, argv, extra):
    asked = []

    def setup(root=ROOT, extra="dev"):
        asked.append(extra)
        raise commands.Stop("Enough.")

    monkeypatch.setattr(commands, "setup", setup)
    assert commands.main(argv) == 2
    assert asked == [extra]


def test_requirements_are_dev_which_includes_site_and_lab():
    assert (ROOT / "requirements.txt").read_text() == "-e .[dev]\n"
    text = (ROOT / "pyproject.toml").read_text()
    lab = text.split("\nlab = [")[1].split("\n]")[0]
    assert "jupyterlab" in lab and not any(tool in lab for tool in ("pytest", "nbval", "ruff"))
    assert '"d2lseg[site,export]"' in text.split("\ndev = [")[1].split("\n]")[0]
    assert '"d2lseg[lab]"' in text.split("\nsite = [")[1].split("\n]")[0]


@pytest.mark.slow
def test_a_real_pip_without_a_network(mini, monkeypatch):
    (mini / "requirements.txt").write_text("d2lseg-a-package-that-is-nowhere\n")
    for name, value in {"PIP_INDEX_URL": NOWHERE, "PIP_EXTRA_INDEX_URL": NOWHERE, "PIP_RETRIES": "0"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(commands.Stop) as error:
        commands.setup(mini)
    assert "the network failed" in sentence(error)


def test_a_full_disk_is_told_before_anything_is_made(mini, monkeypatch):
    monkeypatch.setattr(commands.shutil, "disk_usage", lambda _: SimpleNamespace(free=2.5e9))
    monkeypatch.setattr(commands, "DISK_GB", {"cpu": 3, "default": 8})
    with pytest.raises(commands.Stop) as error:
        commands.setup(mini)
    assert "2.5 GB free" in sentence(error) and "needs 3 GB" in sentence(error)
    assert "D2LSEG_TORCH" not in sentence(error), "there is nothing smaller"
    assert not (mini / ".venv").exists()
    with pytest.raises(commands.Stop) as error:
        commands.check_disk(mini, {}, "default")
    assert "needs 8 GB" in sentence(error) and "D2LSEG_TORCH=cpu" in sentence(error)
    commands.check_disk(mini, {"D2LSEG_DISK_GB": "2"})
    with pytest.raises(commands.Stop, match="'much'"):
        commands.check_disk(mini, {"D2LSEG_DISK_GB": "much"})


def test_a_python_without_ensurepip_names_the_missing_package(mini, monkeypatch):
    real = commands.importlib.util.find_spec
    monkeypatch.setattr(commands.importlib.util, "find_spec", lambda n: None if n == "ensurepip" else real(n))
    with pytest.raises(commands.Stop) as error:
        commands.setup(mini)
    assert f"apt install python3.{sys.version_info[1]}-venv" in sentence(error)


def test_the_environment_in_use_is_not_deleted(mini, monkeypatch):
    (mini / ".venv").mkdir()
    monkeypatch.setattr(commands.sys, "prefix", str(mini / ".venv"))
    with pytest.raises(commands.Stop, match="deactivate"):
        commands.setup(mini)
    assert (mini / ".venv").is_dir()


def test_main_prints_the_sentence_and_no_traceback(monkeypatch, capsys):
    def stop():
        raise commands.Stop("The disk is full.")

    monkeypatch.setattr(commands, "setup", stop)
    assert commands.main(["setup"]) == 2
    assert capsys.readouterr().err == "The disk is full.\n"

    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "setup", interrupt)
    assert commands.main(["setup"]) == 130
    assert capsys.readouterr().err == "Stopped.\n"


def test_unknown_commands_and_options_are_refused(capsys):
    for argv in ([], ["lob"], ["test", "--fast"], ["repository", "a/b", "--unset"]):
        with pytest.raises(SystemExit) as error:
            commands.main(argv)
        assert error.value.code == 2
    assert "usage" in capsys.readouterr().err


# --- lab ----------------------------------------------------------------------------------------------------


@pytest.fixture
def lab(monkeypatch):
    """Run ``lab`` up to the point where JupyterLab would start; gives its command line."""
    started = []
    monkeypatch.setattr(commands, "setup", lambda root, extra="dev": False)
    monkeypatch.setattr(commands, "hand_over", lambda command, root: (started.append(command), 0)[1])
    monkeypatch.setattr(commands, "is_root", lambda: False)
    monkeypatch.setattr(commands, "in_container", lambda: False)
    monkeypatch.setattr(commands, "leave_out_news", lambda root: None)
    monkeypatch.delenv("LAB_ARGS", raising=False)

    def run(*argv):
        assert commands.main(["lab", *argv]) == 0
        return started[-1]

    return run


def test_lab_opens_the_first_notebook_and_adds_nothing(lab, capsys):
    command = lab()
    assert command[:3] == [str(commands.venv_python(ROOT)), "-m", "jupyterlab"]
    assert command[3] == f"--ServerApp.root_dir={ROOT}", "README and module can be opened too"
    assert command[4] == "--LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb"
    assert len(command) == 5
    assert capsys.readouterr().out == ""


def test_lab_passes_arguments_on(lab, monkeypatch):
    monkeypatch.setenv("LAB_ARGS", "--port 9999 --no-browser '--ServerApp.password=a b'")
    assert lab()[5:] == ["--port", "9999", "--no-browser", "--ServerApp.password=a b"]
    assert lab("--debug", "--ip", "::1")[-3:] == ["--debug", "--ip", "::1"]
    monkeypatch.setenv("LAB_ARGS", "'unclosed")
    assert commands.main(["lab"]) == 2


def test_lab_as_root_and_in_a_container_says_what_it_adds(lab, monkeypatch, capsys):
    monkeypatch.setattr(commands, "is_root", lambda: True)
    assert lab()[5:] == ["--allow-root"]
    said = capsys.readouterr().out
    assert "--allow-root" in said and "--ip" not in said and said.count("\n") == 1
    monkeypatch.setattr(commands, "in_container", lambda: True)
    assert lab("--port=1")[5:] == ["--allow-root", "--ip=0.0.0.0", "--no-browser", "--port=1"]
    said = capsys.readouterr().out
    assert all(word in said for word in ("--allow-root", "--ip=0.0.0.0", "--no-browser", "token"))
    assert said.count("\n") == 1


@pytest.mark.parametrize("given", [["--ip=127.0.0.1"], ["--ServerApp.ip=127.0.0.1"], ["--ip", "127.0.0.1"]])
def test_lab_never_contradicts_the_caller(given):
    added, _ = commands.lab_options([*given, "--no-browser", "--allow-root"], root_user=True, container=True)
    assert added == []


def test_the_news_question_is_left_out_unless_the_reader_has_settings(mini):
    commands.leave_out_news(mini)
    page = mini / ".venv" / "etc" / "jupyter" / "labconfig" / "page_config.json"
    off = json.loads(page.read_text())["disabledExtensions"]
    assert off == {"@jupyterlab/apputils-extension:announcements": True}
    page.write_text("{}")
    commands.leave_out_news(mini)
    assert page.read_text() == "{}"


@needs_sh
def test_make_hands_lab_args_over(tmp_path):
    if not shutil.which("make"):
        pytest.skip("make is not on this machine")
    fake = tmp_path / "python"
    fake.write_text('#!/bin/sh\necho "$@ with $LAB_ARGS"\n')
    fake.chmod(0o755)
    command = ["make", "-s", "-C", str(ROOT), "lab", f"PYTHON={fake}", "LAB_ARGS=--port 9999 --no-browser"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "tasks.py lab with --port 9999 --no-browser"


def test_kernels_of_the_environment_come_first(tmp_path, monkeypatch):
    other = tmp_path / "other" / "kernels" / "python3"
    other.mkdir(parents=True)
    spec = {"argv": ["/not/this"], "display_name": "x", "language": "python"}
    (other / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "other"))
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    code = (
        "from jupyter_client.kernelspec import KernelSpecManager as K; "
        "print(K().get_kernel_spec('python3').argv[0])"
    )
    # The environment of these tests stands for .venv.
    root = tmp_path / "repo"
    root.mkdir()
    (root / ".venv").symlink_to(sys.prefix)
    ours, theirs = (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env).stdout.strip()
        for env in (commands.environment(root), {**os.environ})
    )
    assert theirs == "/not/this", "without the variables the other kernel wins"
    assert ours != "/not/this" and "python" in ours
    assert "PYTHONPATH" not in commands.environment(root)


# --- test ---------------------------------------------------------------------------------------------------


def test_the_stages_run_everything_in_order():
    stages = commands.test_stages(ROOT)
    ruff, form, types, unit, notebooks = (command for _, command in stages)
    assert ruff == ["ruff", "check", "."] and form == ["ruff", "format", "--check", "."]
    assert types == ["mypy"]
    assert {"--cov=d2lseg", "--cov-branch", "--cov-fail-under=90"} <= set(unit)
    names = [name for name in notebooks if name.endswith(".ipynb")]
    lessons = sorted(n for n in names if "/solutions/" not in n)
    assert names == lessons + sorted(n for n in names if "/solutions/" in n)
    on_disk = {p.relative_to(ROOT).as_posix() for p in (ROOT / "notebooks").rglob("[0-9]*.ipynb")}
    assert set(names) == {name for name in on_disk if ".ipynb_checkpoints" not in name}
    assert not any("cov" in option for option in notebooks)


@pytest.mark.parametrize("fails", [(), (0,), (1, 2)])
def test_every_stage_runs_and_any_failure_counts(mini, monkeypatch, capsys, fails):
    (mini / "notebooks").mkdir()
    (mini / "notebooks" / "00_x.ipynb").touch()
    monkeypatch.setattr(commands, "setup", lambda root, extra="dev": False)
    stages = [(f"stage {n}", ["x", f"raise SystemExit({int(n in fails)})"]) for n in range(3)]
    monkeypatch.setattr(commands, "test_stages", lambda root: stages)
    run = subprocess.run
    monkeypatch.setattr(
        commands.subprocess, "run", lambda command, **_: run([sys.executable, "-c", command[-1]], check=False)
    )
    assert commands.test(mini) == int(bool(fails))
    lines = capsys.readouterr().out.splitlines()[-4:]
    assert [line.startswith("FAILED") for line in lines] == [False, *(n in fails for n in range(3))]
    assert all(" s  " in line for line in lines)


def test_a_checkout_without_notebooks_is_told(mini, monkeypatch):
    monkeypatch.setattr(commands, "setup", lambda root, extra="dev": False)
    with pytest.raises(commands.Stop) as error:
        commands.test(mini)
    assert "no notebooks" in sentence(error)


# --- render -------------------------------------------------------------------------------------------------


def notebook(*sources):
    """Make a notebook of code cells."""
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])


@pytest.fixture
def lessons(tmp_path):
    """A repository with two notebooks and one solution, none of them run."""
    (tmp_path / "notebooks" / "solutions").mkdir(parents=True)
    for name in ("02_b", "01_a", "solutions/01_a"):
        nbformat.write(notebook("6 * 7"), tmp_path / "notebooks" / f"{name}.ipynb")
    return tmp_path


def test_render_chooses_by_name_and_in_order(lessons):
    def names(*wanted):
        return [p.relative_to(lessons / "notebooks").as_posix() for p in render.choose(wanted, lessons)]

    assert names() == ["01_a.ipynb", "02_b.ipynb", "solutions/01_a.ipynb"]
    assert names("01") == ["01_a.ipynb", "solutions/01_a.ipynb"]
    assert names("solutions/01", "notebooks/02_b.ipynb") == ["02_b.ipynb", "solutions/01_a.ipynb"]
    with pytest.raises(render.RenderError, match="'07'"):
        render.choose(["07"], lessons)
    assert render.main(["07"], lessons) == 2


@pytest.mark.slow  # a kernel
def test_render_executes_cleans_and_writes(lessons, capsys):
    path = lessons / "notebooks" / "01_a.ipynb"
    book = notebook(
        "6 * 7",
        "import sys; print('warning', file=sys.stderr); print('kept')",
        "display({'application/vnd.jupyter.widget-view+json': {}, 'text/plain': 'w'}, raw=True)",
    )
    book.metadata.widgets = {"state": {}}
    book.metadata.language_info = {"name": "python", "version": "3.0.0"}
    book.cells[0].metadata = {"tags": ["keep"], "execution": {"iopub": "2020"}, "collapsed": True}
    nbformat.write(book, path)
    assert render.main(["01_a"], lessons) == 0
    assert "01_a.ipynb:" in capsys.readouterr().out
    book = nbformat.read(path, as_version=4)
    first, second, third = book.cells
    assert first.outputs[0].data["text/plain"] == "42" and first.execution_count == 1
    assert first.metadata == {"tags": ["keep"]}
    assert [output.text for output in second.outputs] == ["kept\n"]
    assert third.outputs == []
    assert set(book.metadata) == {"kernelspec", "language_info"}
    assert book.metadata.language_info == {"name": "python"}
    assert {p.name for p in path.parent.iterdir()} == {"01_a.ipynb", "02_b.ipynb", "solutions"}


@pytest.mark.parametrize(
    ("peak", "size"),
    [
        (853, "1 GiB"),
        (854, "2 GiB"),
        (1706, "2 GiB"),
        (3413, "4 GiB"),
        (13653, "16 GiB"),
        (13654, "over 16 GiB"),
    ],
)
def test_a_hub_holds_the_peak_and_a_fifth_more(peak, size):
    assert render.hub_size(f"{peak:,} MiB") == size


def test_render_keeps_time_and_memory_of_each_lesson(lessons):
    page = lessons / "docs" / "run-all.md"
    page.parent.mkdir(exist_ok=True)
    page.write_text(
        "# Times\n\n| notebook | time | peak memory | hub | machine |\n| --- | --- | --- | --- | --- |\n"
        "| 03_c | 2 s | 1,800 MiB | a machine of before |\n\nEnd.\n\n| other | table |\n| --- | --- |\n"
    )
    first, second = (lessons / "notebooks" / f"{name}.ipynb" for name in ("01_a", "02_b"))
    for path, seconds, memory in ((second, 61.4, 1234), (first, 5.0, 0), (second, 7.0, 90)):
        render.record(path, seconds, memory, lessons)
    render.record(lessons / "notebooks" / "solutions" / "01_a.ipynb", 1.0, 1, lessons)
    lines = page.read_text().splitlines()
    assert lines[4].startswith("| 01_a | 5 s | not known | not known | ")
    assert lines[5].startswith("| 02_b | 7 s | 90 MiB | 1 GiB | ")
    assert lines[6] == "| 03_c | 2 s | 1,800 MiB | 4 GiB | a machine of before |"
    assert (
        lines[:2] == ["# Times", ""] and lines[2].startswith("| notebook |") and lines[3].startswith("| ---")
    )
    assert lines[7:] == ["", "End.", "", "| other | table |", "| --- | --- |"]


@pytest.mark.slow  # a kernel for each
@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("import pathlib; print(pathlib.Path.cwd())", "relative path"),
        ("import pathlib; pathlib.Path.home() / 'x'", "relative path"),
        ("print('x' * 1_100_000)", "over 1 MB"),
        ("import os; os._exit(1)", "died"),
    ],
)
def test_render_leaves_a_bad_notebook_as_it_was(lessons, capsys, source, words):
    path = lessons / "notebooks" / "02_b.ipynb"
    nbformat.write(notebook("1", source), path)
    before = path.read_bytes()
    assert render.main(["02"], lessons) == 1
    said = capsys.readouterr().err
    assert words in said and "02_b.ipynb" in said and ("cell 1" in said or "MB" in said)
    assert path.read_bytes() == before


def test_render_finds_the_host_name_but_not_in_images(lessons, monkeypatch):
    monkeypatch.setattr(render.socket, "gethostname", lambda: "my-laptop")
    book = notebook("x")
    path = lessons / "notebooks" / "x.ipynb"
    out = nbformat.v4.new_output
    book.cells[0].outputs = [out("display_data", {"image/png": "/my-laptop/" + str(lessons)})]
    render.inspect(book, path, lessons)
    html = out("display_data", {"text/html": "<b>my-laptop</b>"})
    for output in (out("stream", text="on my-laptop."), html):
        book.cells[0].outputs = [output]
        with pytest.raises(render.RenderError, match="my-laptop"):
            render.inspect(book, path, lessons)


# --- wheel --------------------------------------------------------------------------------------------------


@needs_sh
def test_a_wheel_that_cannot_be_built_is_told_in_one_sentence(mini, tmp_path):
    (mini / "d2lseg").mkdir()
    for name in commands.PACKAGED:
        (mini / name).touch()
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'No module named pip'\nexit 1\n")
    python.chmod(0o755)
    with pytest.raises(commands.Stop) as error:
        commands.build_wheel(mini, mini / "dist", python)
    assert "wheel" in sentence(error) and "tasks.py setup" in sentence(error)
    assert not (mini / "dist").exists()


# --- repository ---------------------------------------------------------------------------------------------


def copy_into(root, books):
    """Copy the files of this repository that depend on its name, unset, with these notebooks."""
    for path in [ROOT / "pyproject.toml", *ROOT.glob("*.md"), *books]:
        target = root / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    commands.repository(None, root)
    return root


@pytest.fixture
def copied(tmp_path):
    """The files of this repository that depend on its name, unset."""
    return copy_into(tmp_path / "copied", commands.notebooks(ROOT))


@pytest.fixture
def few(tmp_path):
    """The same with three notebooks."""
    return copy_into(tmp_path / "few", commands.notebooks(ROOT)[:3])


def contents(root):
    return {
        p.relative_to(root): p.read_bytes() for p in root.rglob("*") if p.is_file() and ".git" not in p.parts
    }


def test_repository_sets_renames_and_unsets_all(copied, capsys):
    unset = contents(copied)
    assert commands.current_repository(copied) is None
    assert commands.repository("Some-One/new.name_2", copied) == 0
    assert "was unset and is now Some-One/new.name_2: 29 files" in capsys.readouterr().out
    named = contents(copied)
    assert commands.current_repository(copied) == "Some-One/new.name_2"
    changed = {name.as_posix() for name in named if named[name] != unset[name]}
    books = {path.relative_to(copied).as_posix() for path in commands.notebooks(copied)}
    assert changed == {"pyproject.toml", *books}
    assert (
        b'[project.urls]\nRepository = "https://github.com/Some-One/new.name_2"'
        in named[Path("pyproject.toml")]
    )

    assert commands.repository("a/b", copied) == 0
    assert not any(b"Some-One" in text for text in contents(copied).values())
    assert commands.repository("Some-One/new.name_2", copied) == 0
    assert contents(copied) == named
    capsys.readouterr()
    assert commands.repository("Some-One/new.name_2", copied) == 0
    assert ": 0 files changed" in capsys.readouterr().out
    assert commands.repository(None, copied) == 0
    assert contents(copied) == unset


def test_repository_keeps_the_line_ends_of_windows(copied):
    for path in [copied / "pyproject.toml", *commands.notebooks(copied)]:
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    before = contents(copied)
    commands.repository("a/b", copied)
    assert commands.current_repository(copied) == "a/b"
    assert all(
        text.count(b"\n") == text.count(b"\r\n")
        for name, text in contents(copied).items()
        if name in before and name.suffix != ".md"
    )
    commands.repository(None, copied)
    assert contents(copied) == before


@pytest.mark.parametrize("written", [0, 1, 3])  # of three notebooks
@pytest.mark.parametrize("name", ["a/b", None])
def test_a_run_that_was_cut_short_is_repeated(few, monkeypatch, written, name):
    start, aim = ("c/d", name) if name is None else (None, name)
    commands.repository(aim, few)
    wanted = contents(few)
    commands.repository(start, few)
    real, left = os.replace, [written]

    def cut(source, target):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        real(source, target)

    monkeypatch.setattr(commands.os, "replace", cut)
    with pytest.raises(KeyboardInterrupt):
        commands.repository(aim, few)
    assert commands.current_repository(few) == start, "the state is written last"
    monkeypatch.undo()
    assert set(contents(few)) == set(wanted), "no half-written file stays"
    assert commands.repository(aim, few) == 0
    assert contents(few) == wanted


@pytest.mark.parametrize(
    "name", ["", "name", "a/b/c", "https://github.com/a/b", "a/b.git", "a b/c", "-a/b", "a/..", "a/b\n"]
)
def test_repository_refuses_what_cannot_be_a_name(copied, name):
    before = contents(copied)
    with pytest.raises(commands.Stop) as error:
        commands.repository(name, copied)
    assert "OWNER/NAME" in str(error.value) and repr(name) in str(error.value)
    assert contents(copied) == before


def test_repository_needs_its_line_in_pyproject(copied):
    (copied / "pyproject.toml").write_text("[project]\n")
    with pytest.raises(commands.Stop) as error:
        commands.repository("a/b", copied)
    assert "pyproject.toml" in sentence(error) and commands.UNSET in sentence(error)


def test_a_notebook_without_its_badge_stops_before_anything_is_written(copied):
    path = commands.notebooks(copied)[-1]
    book = json.loads(path.read_text(encoding="utf-8"))
    book["cells"][0]["source"] = ["# Title"]
    path.write_text(json.dumps(book), encoding="utf-8")
    before = contents(copied)
    with pytest.raises(commands.Stop) as error:
        commands.repository("a/b", copied)
    assert path.relative_to(copied).as_posix() in sentence(error) and "badge" in sentence(error)
    assert contents(copied) == before


needs_git = pytest.mark.skipif(not shutil.which("git"), reason="git is not on this machine")


def origin(root, url):
    """Make a folder a clone of an address."""
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    subprocess.run(["git", "remote", "add", "origin", url], cwd=root, check=True)


@needs_git
@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/own-er/na.me",
        "https://github.com/own-er/na.me.git",
        "https://github.com/own-er/na.me/",
        "https://user:secret@github.com/own-er/na.me.git",
        "git@github.com:own-er/na.me.git",
        "git@github.com:own-er/na.me",
        "ssh://git@github.com/own-er/na.me.git",
    ],
)
def test_without_a_name_the_git_remote_is_read(mini, url):
    origin(mini, url)
    assert commands.remote_repository(mini) == "own-er/na.me"


@needs_git
@pytest.mark.parametrize(
    "url", ["https://me:secret@git.example.org/a/b.git", "https://github.com/a", "/srv/a/b"]
)
def test_a_remote_elsewhere_is_told_without_its_password(mini, url):
    origin(mini, url)
    with pytest.raises(commands.Stop) as error:
        commands.remote_repository(mini)
    assert "OWNER/NAME" in sentence(error) and url.rpartition("@")[2].removeprefix("https://") in sentence(
        error
    )
    assert "secret" not in sentence(error)


@needs_git
def test_a_clone_around_the_course_does_not_count(mini):
    origin(mini.parent, "https://github.com/somebody/else")
    with pytest.raises(commands.Stop) as error:
        commands.remote_repository(mini)
    assert "'origin'" in sentence(error) and "OWNER/NAME" in sentence(error)


def test_without_git_the_name_is_asked_for(mini, monkeypatch):
    monkeypatch.setenv("PATH", str(mini))
    with pytest.raises(commands.Stop) as error:
        commands.remote_repository(mini)
    assert "git is not installed" in sentence(error) and "OWNER/NAME" in sentence(error)


@pytest.mark.parametrize(
    ("argv", "name"), [(["a/b"], "a/b"), ([], "from/remote"), (["--unset"], None), ([""], "")]
)
def test_the_command_line_says_which_name(monkeypatch, argv, name):
    called = []
    monkeypatch.setattr(commands, "remote_repository", lambda root: "from/remote")
    monkeypatch.setattr(commands, "repository", lambda name, root: called.append(name))
    assert commands.main(["repository", *argv]) == 0
    assert called == [name]


@pytest.mark.parametrize(
    ("state", "here", "status", "printed"),
    [
        (None, "own/fork", 0, "python3 tasks.py repository own/fork\n"),
        ("own/course", "own/course", 0, ""),
        ("own/course", "Own/Course", 0, ""),
        ("own/course", "own/fork", 1, "python3 tasks.py repository own/fork\n"),
    ],
)
def test_check_prints_the_one_command(copied, capsys, state, here, status, printed):
    commands.repository(state, copied)
    before = contents(copied)
    capsys.readouterr()
    assert commands.check_repository({"GITHUB_REPOSITORY": here}, copied) == status
    assert capsys.readouterr().out == printed
    assert contents(copied) == before
    if printed:
        commands.repository(printed.split()[-1], copied)
        assert commands.check_repository({"GITHUB_REPOSITORY": here}, copied) == 0, "the command is right"


def test_check_is_for_github_actions(monkeypatch, capsys):
    monkeypatch.delenv("GITHUB_REPOSITORY", raising=False)
    assert commands.main(["repository", "--check"]) == 2
    assert "GITHUB_REPOSITORY" in capsys.readouterr().err
    workflow = (ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8")
    assert "run: python tasks.py repository --check" in workflow


def test_no_page_and_no_code_names_a_repository():
    name, strangers = commands.current_repository(ROOT), "github.com/" + "d2lseg/"
    folders = ("d2lseg", "tools", "tests", ".github", "docs", "data", "benchmarks")
    sources = [
        p for folder in folders for p in (ROOT / folder).rglob("*.*") if p.suffix in {".py", ".yml", ".md"}
    ]
    for path in [*sources, *ROOT.glob("*.md"), ROOT / "Makefile"]:
        text = path.read_text(encoding="utf-8")
        assert strangers not in text, path
        assert name is None or f"github.com/{name}" not in text, path
    for path in [ROOT / "pyproject.toml", *commands.notebooks(ROOT)]:
        assert name is not None or strangers not in path.read_text(encoding="utf-8"), path


def test_ci_runs_make_test():
    script = (ROOT / ".ci" / "run").read_text()
    assert "set -euo pipefail" in script and script.strip().endswith("make test")
    assert os.access(ROOT / ".ci" / "run", os.X_OK) or os.name == "nt"
    assert "run: make test" in (ROOT / ".github" / "workflows" / "test.yml").read_text()
