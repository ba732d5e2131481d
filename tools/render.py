"""Execute notebooks in place from clean kernels and clean their outputs; ``tasks.py render`` runs this.

The time and the peak memory of each lesson go into the table of ``docs/run-all.md``. With ``--captions``, as
in ``python -m tools.render --captions 03``, nothing is executed: only the alt texts of kept images are
written anew, after a change to a caption.

It needs packages of the environment (nbclient, nbformat), so it is separate from ``commands.py``. If a
notebook raises, or if its outputs reveal where they were made, its file stays unchanged.
"""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellControlSignal, CellExecutionError, DeadKernelError

from d2lseg.engine import devices
from tools import captions, machine, opening

ROOT = Path(__file__).resolve().parent.parent
CELL_TIMEOUT = 900  # seconds
LARGEST = 1_000_000  # bytes of a notebook's file
HUB_SIZES = (1, 2, 4, 8, 16)  # GiB for one user
WIDGET = "application/vnd.jupyter.widget-view+json"


class RenderError(Exception):
    """A notebook cannot be rendered; the message names the notebook and the cell."""


def choose(names: Sequence[str], root: Path = ROOT) -> list[Path]:
    """Find notebooks by the beginnings of their names.

    Parameters
    ----------
    names
        ``"03"`` matches notebook 03 and its solutions, ``"solutions/03"`` only the solutions. Without names,
        all notebooks match.
    root
        The repository.

    Returns
    -------
    list of Path
        Sorted by name, solutions last, because 05 writes the checkpoint that 06 shows.

    Raises
    ------
    RenderError
        If a name matches no notebook.
    """
    folders = (root / "notebooks", root / "notebooks" / "solutions")
    found = [path for folder in folders for path in sorted(folder.glob("*.ipynb"))]

    def fits(path: Path, name: str) -> bool:
        full = path.relative_to(root / "notebooks").as_posix()
        name = name.removeprefix("notebooks/")
        return full.startswith(name) or path.name.startswith(name)

    for name in names:
        if not any(fits(path, name) for path in found):
            raise RenderError(f"No notebook matches {name!r}: use a number such as 03, or solutions/03.")
    return [path for path in found if not names or any(fits(path, name) for name in names)]


def execute(notebook: nbformat.NotebookNode, path: Path) -> int:
    """Run all cells in a new kernel, store their outputs in the notebook, and return the peak memory in MiB.

    Parameters
    ----------
    notebook
        Changed in place.
    path
        Its file, whose folder is the kernel's working folder.

    Raises
    ------
    RenderError
        If a cell raises, takes too long or ends the kernel.
    """
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.reset_execution_trackers()
    with client.setup_kernel():
        for index, cell in enumerate(notebook.cells):
            try:
                client.execute_cell(cell, index)
            except (CellExecutionError, CellControlSignal, DeadKernelError) as error:
                raise RenderError(f"{path.name}, cell {index}: {error}") from None
        return machine.peak_memory(client.km.provisioner.pid) // 2**20


def this_machine() -> str:
    """Describe the processor, and whether it computes in bf16."""
    bf16 = "bf16" if devices.cpu_has_bf16() else "no bf16"
    return f"{machine.processor()}, {os.cpu_count()} cores, {bf16}"


def hub_size(memory: str) -> str:
    """Name the smallest memory, of those usual on a hub, that holds a peak in MiB and a fifth more."""
    if not memory.endswith(" MiB"):
        return "not known"
    needed = int(memory.removesuffix(" MiB").replace(",", "")) * 1.2 / 1024
    return next((f"{size} GiB" for size in HUB_SIZES if needed <= size), f"over {HUB_SIZES[-1]} GiB")


def row(line: str) -> str:
    """Return a row of the table with its column about hubs, which depends on the peak memory alone."""
    name, seconds, memory, *_, where = (part.strip() for part in line.strip("|").split("|"))
    return f"| {name} | {seconds} | {memory} | {hub_size(memory)} | {where} |"


def record(path: Path, seconds: float, memory: int, root: Path = ROOT) -> None:
    """Write a lesson's row into the table of ``docs/run-all.md``, in the place of an older one."""
    page = root / "docs" / "run-all.md"
    if path.parent != root / "notebooks" or not page.is_file():
        return
    lines = page.read_text(encoding="utf-8").splitlines()
    start = f"| {path.stem} |"
    new = f"{start} {seconds:.0f} s | {f'{memory:,} MiB' if memory else 'not known'} | {this_machine()} |"
    last = next(i for i, line in enumerate(lines) if line.startswith("| ---"))
    while last + 1 < len(lines) and lines[last + 1].startswith("|"):
        last += 1
    table = [line for line in lines[: last + 1] if not line.startswith(start)] + [new]
    rows = sorted(line for line in table if re.match(r"\| \d\d_", line))
    head = [line for line in table if line not in rows]
    page.write_text("\n".join([*head, *map(row, rows), *lines[last + 1 :]]) + "\n", encoding="utf-8")


def clean(notebook: nbformat.NotebookNode) -> None:
    """Remove, in place, what should not be saved: widget state and views, timings, warnings and versions."""
    gpu = opening.GPU if "accelerator" in notebook.metadata else {}
    notebook.metadata = nbformat.from_dict(
        {
            **gpu,
            "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({k: v for k, v in cell.metadata.items() if k == "tags"})
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if _kept(output)]


def _kept(output: nbformat.NotebookNode) -> bool:
    """Return whether to keep an output: widget views do not work in a file, and stderr varies by machine."""
    if output.output_type == "stream":
        return output.name != "stderr"
    return WIDGET not in output.get("data", {})


def texts(output: nbformat.NotebookNode) -> Iterator[str]:
    """Yield the readable text of an output, without encoded images."""
    if output.output_type == "stream":
        yield output.text
    elif output.output_type == "error":
        yield "\n".join([output.ename, output.evalue, *output.traceback])
    for kind, content in output.get("data", {}).items():
        if not kind.startswith("image/") or kind == "image/svg+xml":
            yield content if isinstance(content, str) else json.dumps(content)


def traces(root: Path = ROOT) -> list[re.Pattern]:
    """Return patterns that reveal where a notebook was rendered: local folders and the machine's name."""
    places = {str(root), str(Path.home()), tempfile.gettempdir(), sys.prefix}
    patterns = [re.escape(place) + r"(?![\w-])" for place in places if len(place) > 1]
    host = socket.gethostname()
    if len(host) > 3 and host != "localhost":
        patterns.append(rf"\b{re.escape(host)}\b")
    return [re.compile(pattern) for pattern in patterns]


def inspect(notebook: nbformat.NotebookNode, path: Path, root: Path = ROOT) -> None:
    """Reject a notebook that is too large, or whose outputs reveal where it was rendered.

    Parameters
    ----------
    notebook
        Cleaned.
    path
        Its file, for the error.
    root
        The repository.

    Raises
    ------
    RenderError
        With the cell and what was found in it.
    """
    for index, cell in enumerate(notebook.cells):
        for text in (text for output in cell.get("outputs", []) for text in texts(output)):
            for pattern in traces(root):
                if found := pattern.search(text):
                    where = f"{path.name}, cell {index}"
                    raise RenderError(f"{where}: the output contains {found[0]!r}; print a relative path.")
    size = len(nbformat.writes(notebook).encode())
    if size > LARGEST:
        raise RenderError(f"{path.name} takes {size / 1e6:.2f} MB, over 1 MB: draw fewer or smaller figures.")


def write(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Replace a notebook's file in one step, so that it is never incomplete."""
    nbformat.validate(notebook)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        nbformat.write(notebook, beside)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def render(path: Path, root: Path = ROOT) -> float:
    """Execute, clean, inspect and write one notebook.

    Returns
    -------
    float
        Seconds spent on starting the kernel and running all cells.

    Raises
    ------
    RenderError
        If a cell fails or the outputs must not be saved; the file stays unchanged.
    """
    notebook = nbformat.read(path, as_version=4)
    start = time.monotonic()
    memory = execute(notebook, path)
    seconds = time.monotonic() - start
    clean(notebook)
    captions.describe(notebook)
    inspect(notebook, path, root)
    write(notebook, path)
    record(path, seconds, memory, root)
    return seconds


def describe(path: Path) -> None:
    """Write the alt texts of the images that a notebook keeps, without running it."""
    notebook = nbformat.read(path, as_version=4)
    captions.describe(notebook)
    write(notebook, path)


def main(names: Sequence[str], root: Path = ROOT) -> int:
    """Render notebooks and print the seconds each one takes.

    Parameters
    ----------
    names
        As in `choose`; ``"--captions"`` among them writes only the alt texts.
    root
        The repository.

    Returns
    -------
    int
        0; 1 if a notebook could not be rendered, after trying the others; 2 if a name matches none.
    """
    failed = 0
    try:
        paths = choose([name for name in names if name != "--captions"], root)
    except RenderError as error:
        print(error, file=sys.stderr)
        return 2
    if "--captions" in names:
        for path in paths:
            describe(path)
        return 0
    for path in paths:
        label = path.relative_to(root / "notebooks").as_posix()
        try:
            print(f"{label}: {render(path, root):.0f} s, {path.stat().st_size / 1e3:.0f} kB", flush=True)
        except RenderError as error:
            print(f"{label}: NOT RENDERED. {error}", file=sys.stderr, flush=True)
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
