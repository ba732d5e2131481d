"""The measured ratios as a JSON file, tables and a figure."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
import torchvision
from matplotlib.figure import Figure

from benchmarks.measures import Measure
from d2lseg.engine import devices, files
from tools import machine


def machine_class() -> str:
    """Name the class of CPU that decides about the ratios: one that multiplies bf16 in hardware, or not."""
    return "with bf16" if devices.cpu_has_bf16() else "without bf16"


def this_machine() -> str:
    """Describe the machine, the versions and the date of the measurement."""
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    versions += f", torchvision {torchvision.__version__}"
    threads = torch.get_num_threads()
    today = time.strftime("%d %B %Y").lstrip("0")
    return f"{machine.processor()} ({machine_class()}), {threads} threads, {versions}, {today}"


def write_json(path: Path, measures: Mapping[str, Measure]) -> None:
    """Write the ratios to a JSON file, one key per measure."""
    files.write_json(path, {key: round(measure.ratio, 3) for key, measure in measures.items()})


def table(measures: Mapping[str, Measure]) -> str:
    """Format the ratios as a Markdown table: medians, and the smallest and largest of the rounds."""
    lines = [
        f"| measure, CPU {machine_class()} | textbook | this course | ratio (smallest to largest) "
        "| at least | aim |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for m in measures.values():
        low, high = min(m.ratios), max(m.ratios)
        bound = "at most " if m.overhead else ""
        opponent = " (backbone)" if m.overhead else ""
        lines.append(
            f"| {m.title} | {_value(m.theirs, m.unit)}{opponent} | {_value(m.ours, m.unit)} | "
            f"{m.ratio:.3g} ({low:.3g} to {high:.3g}) | {bound}{m.at_least:g} | {bound}{m.aim:g} |"
        )
    return "\n".join(lines)


def _value(values: tuple[float, ...], unit: str) -> str:
    """Format a median with its unit."""
    return f"{sorted(values)[len(values) // 2]:.3g} {unit}"


def scaling_table(rows: list[dict[str, Any]]) -> str:
    """Format the growth of time and memory as a Markdown table."""
    grows = {
        "size": "training step with 2 images of",
        "batch": "training step at the first of these sizes, images:",
        "images": "first batch, images on disk:",
        "photo": "prediction of a photo of",
    }
    lines = [
        "| measured | textbook | this course | textbook | this course |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        both = [row.get(whose) for whose in ("textbook", "ours")]
        cells = [f"{found['seconds']:.3g} s" if found else "-" for found in both]
        cells += [f"{found['mib']:.0f} MiB" if found else "-" for found in both]
        lines.append(f"| {grows[row['what']]} {row['value']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def parts_table(rows: list[tuple[str, str, float]]) -> str:
    """Format the parts of a step as a Markdown table."""
    lines = ["| of | part | ms |", "| --- | --- | --- |"]
    return "\n".join(lines + [f"| {whole} | {part} | {ms:.3g} |" for whole, part, ms in rows])


def figure(measures: Mapping[str, Measure]) -> Figure:
    """Draw the ratios as bars on a logarithmic axis, with their bounds and goals.

    The comparison with the backbone is left out, because there less is better.
    """
    shown = [m for m in measures.values() if not m.overhead]
    drawn, axes = plt.subplots(figsize=(8, 3.6), layout="constrained")
    positions = range(len(shown))
    axes.barh(positions, [m.ratio for m in shown], color="#56b4e9", label="measured")
    axes.plot([m.at_least for m in shown], positions, "|", ms=18, mew=2, color="#d55e00", label="at least")
    axes.plot([m.aim for m in shown], positions, "|", ms=18, mew=2, color="#009e73", label="aim")
    axes.plot([], [], color="black", lw=1.5, label="smallest to largest round")
    for position, m in zip(positions, shown, strict=True):
        axes.plot([min(m.ratios), max(m.ratios)], [position, position], color="black", lw=1.5)
        end = 1.08 * max(*m.ratios, m.aim)
        axes.text(end, position, f"{m.ratio:.3g}x", va="center", fontsize=9)
    axes.set(xscale="log", xlim=(0.5, 3 * max(max(*m.ratios, m.aim) for m in shown)))
    axes.set(xlabel="times better than the textbook's recipe (logarithmic)")
    axes.set_yticks(list(positions), [m.title for m in shown])
    axes.xaxis.set_major_formatter("{x:g}")
    axes.invert_yaxis()
    axes.axvline(1, color="grey", lw=1, ls=":")
    drawn.legend(loc="outside upper center", ncols=4, fontsize=9, frameon=False)
    return drawn
