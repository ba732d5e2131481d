"""The description of this machine and the memory of its processes."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tools import machine

ROOT = Path(__file__).resolve().parent.parent
ABOUT = 2**25  # Linux counts pages in batches
needs_proc = pytest.mark.skipif(not machine.peak_memory(), reason="memory is read from Linux's /proc")


def test_the_processor_has_the_name_that_linux_gives(tmp_path):
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: A CPU @ 2 GHz\nflags\t: fpu\n\nmodel name\t: another\n")
    assert machine.processor(info) == "A CPU @ 2 GHz"
    info.write_text("processor\t: 0\nCPU part\t: 0xd0c\n")  # as on Arm
    assert machine.processor(info) == machine.processor(tmp_path / "absent")
    assert machine.processor(info) == (platform.processor() or platform.machine())


@needs_proc
def test_the_peak_stays_when_memory_is_given_back():
    code = (
        "from tools.machine import held_memory as held, peak_memory as peak; a = held(); "
        "b = bytearray(2**29); b[::4096] = b[::4096]; c = held(); del b; print(c - a, held() - a, peak() - a)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True, text=True)
    full, after, peak = map(int, done.stdout.split())
    assert abs(full - 2**29) < ABOUT and abs(after) < ABOUT and abs(peak - 2**29) < ABOUT


@needs_proc
def test_any_process_of_this_machine_can_be_asked():
    held, peak = machine.held_memory(), machine.peak_memory(os.getpid())
    assert 10 * 2**20 < held < peak + ABOUT


def test_a_process_that_does_not_exist_holds_nothing():
    assert machine.peak_memory(0) == machine.held_memory(0) == 0
