"""The choice of PyTorch's build: every reason for it, and both builds through pip from an index of ours."""

import os
import socket
import subprocess
import sys
import threading
import time
import zipfile
from types import SimpleNamespace

import pytest
from test_tasks import NOWHERE, fake_venv, installed, mini, needs_sh, sentence

from tools import commands, torch_build

__all__ = ["mini"]  # a fixture


@pytest.fixture
def alone(mini, monkeypatch):
    """Leave out what this machine tells pip and the set-up, and let it show no GPU."""
    for name in [n for n in os.environ if n.startswith("PIP_") or n.startswith("D2LSEG_TORCH")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setattr(commands.platform, "system", lambda: "Linux")
    monkeypatch.setattr(torch_build, "has_gpu", lambda system: False)


# --- the decision -------------------------------------------------------------------------------------------


def decide(system="Linux", environ=None, settings=None, gpu=False, answers=True):
    return torch_build.choose(system, environ or {}, settings or {}, lambda: gpu, lambda index: answers)


@pytest.mark.parametrize(
    ("case", "build", "words"),
    [
        ({}, "cpu", "no NVIDIA GPU"),
        ({"system": "Windows"}, "cpu", "no NVIDIA GPU"),
        ({"gpu": True}, "default", "an NVIDIA GPU"),
        ({"system": "Windows", "gpu": True}, "default", "an NVIDIA GPU"),
        ({"answers": False}, "default", f"{torch_build.INDEX} does not answer"),
        ({"settings": {"index-url": "https://mirror.school/simple"}}, "default", "index-url"),
        ({"settings": {"extra-index-url": "x"}}, "default", "extra-index-url"),
        ({"settings": {"find-links": "/wheels"}}, "default", "find-links"),
        ({"settings": {"no-index": "true"}}, "default", "no-index"),
        ({"settings": {"no-index": "0", "constraint": "c.txt", "proxy": "p"}}, "cpu", "no NVIDIA GPU"),
        ({"environ": {"D2LSEG_TORCH": "default"}}, "default", "D2LSEG_TORCH is default"),
        ({"environ": {"D2LSEG_TORCH": "cpu"}, "gpu": True, "answers": False}, "cpu", "D2LSEG_TORCH is cpu"),
        ({"environ": {"D2LSEG_TORCH": "cpu"}, "settings": {"index-url": "x"}}, "cpu", "D2LSEG_TORCH is cpu"),
        ({"environ": {"D2LSEG_TORCH": ""}}, "cpu", "no NVIDIA GPU"),
    ],
)
def test_the_build_and_its_reason(case, build, words):
    choice = decide(**case)
    assert choice.build == build and words in choice.why
    assert choice.index == torch_build.INDEX == "https://download.pytorch.org/whl/cpu"
    line = choice.line()
    other = {"cpu": "default", "default": "cpu"}[build]
    assert words in line and f"D2LSEG_TORCH={other}" in line and "\n" not in line
    assert (torch_build.INDEX in line) == (build == "cpu" or "answer" in words)


def test_an_index_named_for_it_wins_over_pips_own():
    environ = {"D2LSEG_TORCH_INDEX": "https://mirror.school/torch-cpu/"}
    choice = decide(environ=environ, settings={"index-url": "https://mirror.school/simple"})
    assert choice.build == "cpu" and choice.index == "https://mirror.school/torch-cpu"


def test_on_macos_nothing_is_chosen_or_asked():
    def never(*_):
        raise AssertionError("asked")

    assert torch_build.choose("Darwin", {"D2LSEG_TORCH": "cpu"}, {}, never, never) is None
    assert torch_build.choose("Linux", {"D2LSEG_TORCH": "cpu"}, {}, never, never).build == "cpu"


@pytest.mark.parametrize("system", ["Linux", "Darwin"])
def test_an_unknown_build_is_refused(system):
    with pytest.raises(ValueError, match="cpu or default, and it is 'gpu'"):
        decide(system, environ={"D2LSEG_TORCH": "gpu"})


def test_pips_settings_are_read_from_its_list():
    listing = (
        ":env:.index-url='https://a/simple'\nglobal.extra-index-url='b c'\ninstall.find-links='/w=x'\n"
        "download.no-index='1'\nnonsense\n"
    )
    wanted = {"index-url": "https://a/simple", "extra-index-url": "b c", "find-links": "/w=x"}
    assert torch_build.pip_settings(listing) == wanted


def test_a_real_pip_lists_its_settings(monkeypatch):
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror.school/simple")
    command = [sys.executable, "-m", "pip", "config", "list"]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert torch_build.pip_settings(listing)["index-url"] == "https://mirror.school/simple"


# --- what the machine shows ---------------------------------------------------------------------------------


@needs_sh
@pytest.mark.parametrize(
    ("script", "found"),
    [
        ("echo 'GPU 0: NVIDIA H100 (UUID: GPU-1)'", True),
        ("echo 'No devices found.'", False),
        ("echo 'NVIDIA-SMI has failed because it could not communicate with the driver'; exit 9", False),
    ],
)
def test_nvidias_tool_is_asked_for_a_gpu(tmp_path, monkeypatch, script, found):
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert torch_build.has_gpu("Linux") == found


def test_without_the_tool_the_driver_tells(tmp_path, monkeypatch):
    monkeypatch.setattr(torch_build.shutil, "which", lambda name: None)
    gpus = tmp_path / "gpus"
    assert not torch_build.has_gpu("Linux", gpus)
    gpus.mkdir()
    assert not torch_build.has_gpu("Linux", gpus)
    (gpus / "0000:01:00.0").mkdir()
    assert torch_build.has_gpu("Linux", gpus)
    assert not torch_build.has_gpu("Windows", gpus, str(tmp_path))
    (tmp_path / "System32").mkdir()
    (tmp_path / "System32" / "nvcuda.dll").touch()
    assert torch_build.has_gpu("Windows", gpus, str(tmp_path))


def test_a_tool_that_hangs_counts_as_a_gpu(monkeypatch):
    def hang(command, timeout, **_):
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(torch_build.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(torch_build.subprocess, "run", hang)
    assert torch_build.has_gpu("Linux")


# --- does the index answer? ---------------------------------------------------------------------------------


def test_an_index_answers_with_a_page_for_torch(tmp_path, file_server, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    address = file_server(tmp_path).rstrip("/")
    assert not torch_build.answers(address), "404"
    (tmp_path / "torch").mkdir()
    assert torch_build.answers(address)
    assert not torch_build.answers(NOWHERE)
    assert not torch_build.answers("no address")


def test_pips_proxy_is_used(tmp_path, file_server):
    (tmp_path / "torch").mkdir()
    proxy = file_server(tmp_path)  # a server of files takes the whole address for a path: 404
    assert not torch_build.answers(file_server(tmp_path).rstrip("/"), proxy)


def test_a_silent_index_costs_the_time_limit_and_no_more():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start = time.monotonic()
        assert not torch_build.answers(f"http://127.0.0.1:{silent.getsockname()[1]}", seconds=0.3)
        assert time.monotonic() - start < 3


def test_a_name_that_is_looked_up_for_long_costs_the_time_limit(monkeypatch):
    done = threading.Event()

    def look_up(*_, **__):
        done.wait(20)
        raise OSError

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    start = time.monotonic()
    assert not torch_build.answers("http://slow.example", seconds=0.3)
    done.set()
    assert time.monotonic() - start < 3


# --- in the set-up, with a pip that only notes --------------------------------------------------------------


CPU = f"torch torchvision --index-url {torch_build.INDEX}"


@needs_sh
def test_the_cpu_build_comes_first_and_one_line_says_so(mini, alone, monkeypatch, capsys):
    monkeypatch.setattr(torch_build, "answers", lambda index, proxy: True)
    fake_venv(mini, 0, "fine", settings="global.timeout='60'")
    real = commands.pip_install

    def pip_install(root, *arguments):  # as pip would, it leaves a version behind
        (root / "torch").write_text("2.9.0+cpu")
        return real(root, *arguments)

    monkeypatch.setattr(commands, "pip_install", pip_install)
    commands.setup(mini, "lab")
    assert installed(mini) == [CPU, "-e .[lab]"]
    said = [line for line in capsys.readouterr().out.splitlines() if "PyTorch" in line]
    assert len(said) == 1 and "CPU build" in said[0] and "D2LSEG_TORCH=default" in said[0]
    commands.setup(mini, "dev")
    assert installed(mini) == ["-r requirements.txt"], "torch is there now, whichever it is"
    assert "PyTorch" not in capsys.readouterr().out


@needs_sh
def test_pips_own_index_and_proxy_are_heeded(mini, alone, monkeypatch, capsys):
    proxies = []
    monkeypatch.setattr(torch_build, "answers", lambda index, proxy: proxies.append(proxy))
    fake_venv(mini, 0, "fine", settings="global.proxy='http://proxy:3128'")
    commands.setup(mini)
    assert installed(mini) == ["-r requirements.txt"] and proxies == ["http://proxy:3128"]
    assert "does not answer" in capsys.readouterr().out
    (mini / "pyproject.toml").write_text("# changed\n")
    (mini / "settings").write_text("global.index-url='https://mirror.school/simple'")
    commands.setup(mini)
    assert installed(mini) == ["-r requirements.txt"] and len(proxies) == 1, "the public index is not asked"
    assert "index-url" in capsys.readouterr().out


@needs_sh
def test_on_macos_the_set_up_says_nothing_of_builds(mini, alone, monkeypatch, capsys):
    monkeypatch.setattr(commands.platform, "system", lambda: "Darwin")
    fake_venv(mini, 0, "fine")
    commands.setup(mini)
    assert installed(mini) == ["-r requirements.txt"] and "PyTorch" not in capsys.readouterr().out


@needs_sh
def test_where_the_cpu_build_fails_the_default_follows_unless_asked(mini, alone, monkeypatch, capsys):
    monkeypatch.setattr(torch_build, "answers", lambda index, proxy: True)
    fake_venv(mini, 1, "ERROR: No matching distribution found for torch")
    with pytest.raises(commands.Stop):  # of the second call: this pip never succeeds
        commands.setup(mini)
    assert installed(mini) == [CPU, "-r requirements.txt"]
    assert "default build after all, because the package index has no fitting" in capsys.readouterr().out
    monkeypatch.setenv("D2LSEG_TORCH", "cpu")
    with pytest.raises(commands.Stop) as error:
        commands.setup(mini)
    assert installed(mini) == [CPU]
    assert "no fitting version" in sentence(error) and "D2LSEG_TORCH=default" in sentence(error)
    monkeypatch.setenv("D2LSEG_TORCH", "gpu")
    with pytest.raises(commands.Stop) as error:
        commands.setup(mini)
    assert "'gpu'" in sentence(error) and installed(mini) == []


@needs_sh
def test_the_default_build_needs_its_own_disk(mini, alone, monkeypatch):
    monkeypatch.setattr(torch_build, "answers", lambda index, proxy: False)
    monkeypatch.setattr(commands, "DISK_GB", {"cpu": 3, "default": 8})
    monkeypatch.setattr(commands.shutil, "disk_usage", lambda _: SimpleNamespace(free=5e9))
    fake_venv(mini, 0, "fine")
    with pytest.raises(commands.Stop) as error:
        commands.setup(mini)
    assert "needs 8 GB" in sentence(error) and installed(mini) == []
    (mini / "torch").write_text("2.9.0")
    assert commands.setup(mini), "with torch in place the rest is small"


@needs_sh
def test_another_build_from_pips_own_settings_is_told(mini, alone, monkeypatch, capsys):
    monkeypatch.setenv("D2LSEG_TORCH", "cpu")
    fake_venv(mini, 0, "fine")
    monkeypatch.setattr(commands, "torch_choice", lambda root: decide())
    (mini / "torch").write_text("2.14.1")
    commands.setup(mini)
    assert "by pip's own settings it is 2.14.1, not the CPU build" in capsys.readouterr().out


# --- with a real pip and an index of ours -------------------------------------------------------------------


def put_wheel(index, name, version):
    """Add an empty package to an index, a folder with one folder a package."""
    folder = index / name
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}/__init__.py": f"__version__ = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    wheel = f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(folder / wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    (folder / "index.html").write_text(f'<a href="{wheel.replace("+", "%2B")}">{wheel}</a>\n')


@pytest.fixture
def index(tmp_path, file_server, alone, monkeypatch):
    """The folder of an index with both packages, which ``D2LSEG_TORCH_INDEX`` names."""
    folder = tmp_path / "whl" / "cpu"
    put_wheel(folder, "torch", "9.9+cpu")
    put_wheel(folder, "torchvision", "0.99+cpu")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("D2LSEG_TORCH_INDEX", file_server(tmp_path) + "whl/cpu")
    return folder


@pytest.mark.slow
def test_a_real_pip_takes_the_cpu_build_from_an_index_that_answers(mini, index, capfd):
    (mini / "requirements.txt").write_text("torch>=2.4\ntorchvision>=0.19\n")
    assert commands.setup(mini)
    assert commands.torch_version(mini) == "9.9+cpu"
    said = [line for line in capfd.readouterr().out.splitlines() if line.startswith("PyTorch")]
    assert len(said) == 1 and os.environ["D2LSEG_TORCH_INDEX"] in said[0]
    assert not commands.setup(mini)


@pytest.mark.slow
def test_a_real_pip_goes_on_where_the_cpu_build_is_broken(mini, index, capfd):
    (index / "torchvision" / "index.html").write_text("nothing here\n")
    put_wheel(index.parent / "default", "torch", "9.9")
    (mini / "requirements.txt").write_text(
        f"--no-index\n--find-links {(index.parent / 'default' / 'torch').as_uri()}\ntorch\n"
    )
    assert commands.setup(mini)
    assert commands.torch_version(mini) == "9.9"
    assert "default build after all, because the package index has no fitting" in capfd.readouterr().out
