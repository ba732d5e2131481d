"""Choose PyTorch's build for the set-up: CPU only where no NVIDIA GPU shows. Standard library only."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

INDEX = "https://download.pytorch.org/whl/cpu"
BUILDS = ("cpu", "default")
WAIT = 5  # seconds for the index to answer; an answer takes a fraction of one


@dataclass(frozen=True)
class Choice:
    """A build of PyTorch ("cpu" or "default"), why it was chosen, and the index of the CPU build."""

    build: str
    why: str
    index: str
    asked: bool = False

    def line(self) -> str:
        """Say which build is installed, and how to get the other one."""
        other = BUILDS[self.build == "cpu"]
        what = f"the CPU build from {self.index}" if self.build == "cpu" else "pip's default build"
        how = f"for the other build, delete .venv and start again with D2LSEG_TORCH={other}"
        return f"PyTorch: {what}, because {self.why} ({how})."


def choose(
    system: str,
    environ: Mapping[str, str],
    settings: Mapping[str, str],
    has_gpu: Callable[[], bool],
    answers: Callable[[str], bool],
) -> Choice | None:
    """Choose the build, or give None where there is only one (macOS).

    Parameters
    ----------
    system
        As ``platform.system()`` names it.
    environ
        ``D2LSEG_TORCH`` (cpu or default) decides; ``D2LSEG_TORCH_INDEX`` replaces PyTorch's own CPU index.
    settings
        pip's settings. An index of the user's own, such as a school's mirror, is not passed over silently.
    has_gpu, answers
        Asked only where their answer counts, because both take time.

    Raises
    ------
    ValueError
        Where ``D2LSEG_TORCH`` names no build.
    """
    asked = environ.get("D2LSEG_TORCH", "")
    if asked not in ("", *BUILDS):
        raise ValueError(f"D2LSEG_TORCH must be cpu or default, and it is {asked!r}.")
    if system not in ("Linux", "Windows"):
        return None
    own_cpu_index = environ.get("D2LSEG_TORCH_INDEX", "").rstrip("/")
    index = own_cpu_index or INDEX
    own = "" if own_cpu_index else own_index(settings)
    if asked:
        return Choice(asked, f"D2LSEG_TORCH is {asked}", index, asked=True)
    if has_gpu():
        return Choice("default", "there is an NVIDIA GPU", index)
    if own:
        return Choice("default", f"pip's setting {own} says where packages come from", index)
    if not answers(index):
        return Choice("default", f"{index} does not answer", index)
    return Choice("cpu", "no NVIDIA GPU was found", index)


def own_index(settings: Mapping[str, str]) -> str:
    """Name the first of pip's settings that says where packages come from, or give ""."""
    names = ("no-index", "index-url", "extra-index-url", "find-links")
    return next((n for n in names if settings.get(n, "").lower() not in ("", "0", "false", "no", "off")), "")


def pip_settings(listing: str) -> dict[str, str]:
    """Read the settings that ``pip install`` obeys from what ``pip config list`` prints."""
    settings = {}
    for line in listing.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.partition(".")
        if section in ("global", "install", ":env:"):
            settings[name] = value.strip().strip("'\"")
    return settings


def has_gpu(
    system: str,
    driver: Path = Path("/proc/driver/nvidia/gpus"),
    windows: str = os.environ.get("SYSTEMROOT", "C:/Windows"),
) -> bool:
    """Whether this machine shows an NVIDIA GPU: by its tool, or by its driver where the tool is missing."""
    tool = shutil.which("nvidia-smi")
    if tool:
        try:
            run = subprocess.run([tool, "-L"], capture_output=True, text=True, errors="replace", timeout=30)
        except (OSError, subprocess.TimeoutExpired):
            return True  # the tool is there and the GPU is perhaps busy: the default build serves both
        return run.returncode == 0 and "GPU " in run.stdout
    if system == "Windows":
        return Path(windows, "System32", "nvcuda.dll").exists()
    return driver.is_dir() and any(driver.iterdir())


def answers(index: str, proxy: str = "", seconds: float = WAIT) -> bool:
    """Whether an index has a page for torch, within some seconds.

    The question is asked in a thread, because looking up a host's name heeds no time limit.
    """
    proxies = {"http": proxy, "https": proxy} if proxy else None  # None: the system's, as pip has it too
    opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies))
    replies = []

    def ask() -> None:
        try:
            with opener.open(f"{index}/torch/", timeout=seconds) as reply:
                replies.append(reply.status == 200)
        except (OSError, ValueError, HTTPException):
            pass

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return replies == [True]
