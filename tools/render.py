"""Execute notebooks in place from clean kernels and clean their outputs; ``tasks.py render`` runs this.

It needs the environment's packages (nbclient, nbformat), so it is apart from ``commands.py``.
A notebook that raises, or whose outputs tell where they were made, leaves its file as it was.
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

ROOT = Path(__file__).resolve().parent.parent
CELL_TIMEOUT = 900  # seconds
LARGEST = 1_000_000  # bytes of a notebook's file
WIDGET = "application/vnd.jupyter.widget-view+json"


class RenderError(Exception):
    """A notebook cannot be rendered; the message names it and the cell."""


def choose(names: Sequence[str], root: Path = ROOT) -> list[Path]:
    """Find the notebooks that are meant.

    Parameters
    ----------
    names
        Beginnings of names. ``"03"`` is notebook 03 and its solutions, ``"solutions/03"`` these alone;
        none at all is every notebook.
    root
        The repository.

    Returns
    -------
    list of Path
        By name, the solutions last: 05 leaves the checkpoint that 06 shows.

    Raises
    ------
    RenderError
        Where a name fits no notebook.
    """
    folders = (root / "notebooks", root / "notebooks" / "solutions")
    found = [path for folder in folders for path in sorted(folder.glob("*.ipynb"))]

    def fits(path: Path, name: str) -> bool:
        full = path.relative_to(root / "notebooks").as_posix()
        name = name.removeprefix("notebooks/")
        return full.startswith(name) or path.name.startswith(name)

    for name in names:
        if not any(fits(path, name) for path in found):
            raise RenderError(f"No notebook is called {name!r}: give a number such as 03, or solutions/03.")
    return [path for path in found if not names or any(fits(path, name) for name in names)]


def execute(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Run all cells in a new kernel, filling in their outputs.

    Parameters
    ----------
    notebook
        Changed in place.
    path
        Where it lies; its folder is the kernel's working folder.

    Raises
    ------
    RenderError
        Where a cell raises, takes too long or ends the kernel.
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


def clean(notebook: nbformat.NotebookNode) -> None:
    """Drop what must not be saved: widget state and views, timings, warnings, versions of this machine.

    Parameters
    ----------
    notebook
        Changed in place.
    """
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({k: v for k, v in cell.metadata.items() if k == "tags"})
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if _kept(output)]


def _kept(output: nbformat.NotebookNode) -> bool:
    """Whether an output stays: widget views are dead in a file, and stderr differs between machines."""
    if output.output_type == "stream":
        return output.name != "stderr"
    return WIDGET not in output.get("data", {})


def texts(output: nbformat.NotebookNode) -> Iterator[str]:
    """Yield the readable text of an output; encoded pictures are left out."""
    if output.output_type == "stream":
        yield output.text
    elif output.output_type == "error":
        yield "\n".join([output.ename, output.evalue, *output.traceback])
    for kind, content in output.get("data", {}).items():
        if not kind.startswith("image/") or kind == "image/svg+xml":
            yield content if isinstance(content, str) else json.dumps(content)


def traces(root: Path = ROOT) -> list[re.Pattern]:
    """Make the patterns that tell where a notebook was rendered.

    Parameters
    ----------
    root
        The repository.

    Returns
    -------
    list of re.Pattern
        The checkout's path, the home folder, the temporary folder, the machine's name.
    """
    places = {str(root), str(Path.home()), tempfile.gettempdir(), sys.prefix}
    patterns = [re.escape(place) + r"(?![\w-])" for place in places if len(place) > 1]
    host = socket.gethostname()
    if len(host) > 3 and host != "localhost":
        patterns.append(rf"\b{re.escape(host)}\b")
    return [re.compile(pattern) for pattern in patterns]


def inspect(notebook: nbformat.NotebookNode, path: Path, root: Path = ROOT) -> None:
    """Refuse a notebook whose outputs give away where it was rendered, or which is too large.

    Parameters
    ----------
    notebook
        Cleaned.
    path
        Where it lies.
    root
        The repository.

    Raises
    ------
    RenderError
        Naming the cell and what was found in it.
    """
    for index, cell in enumerate(notebook.cells):
        for text in (text for output in cell.get("outputs", []) for text in texts(output)):
            for pattern in traces(root):
                if found := pattern.search(text):
                    where = f"{path.name}, cell {index}"
                    raise RenderError(f"{where}: the output holds {found[0]!r}; print a relative path.")
    size = len(nbformat.writes(notebook).encode())
    if size > LARGEST:
        raise RenderError(f"{path.name} has {size / 1e6:.2f} MB, over 1 MB: draw fewer or smaller figures.")


def write(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Replace the file in one step, so that no reader sees half of it.

    Parameters
    ----------
    notebook
        What to write.
    path
        The file to replace.
    """
    nbformat.validate(notebook)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        nbformat.write(notebook, beside)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def render(path: Path, root: Path = ROOT) -> float:
    """Execute, clean, inspect and write one notebook.

    Parameters
    ----------
    path
        The notebook.
    root
        The repository.

    Returns
    -------
    float
        The seconds that running all its cells took, the kernel's start included.

    Raises
    ------
    RenderError
        Where it raises or must not be kept; the file stays as it was.
    """
    notebook = nbformat.read(path, as_version=4)
    start = time.monotonic()
    execute(notebook, path)
    seconds = time.monotonic() - start
    clean(notebook)
    inspect(notebook, path, root)
    write(notebook, path)
    return seconds


def main(names: Sequence[str], root: Path = ROOT) -> int:
    """Render the notebooks that are meant, and print the seconds of each.

    Parameters
    ----------
    names
        As for ``choose``.
    root
        The repository.

    Returns
    -------
    int
        0, or 1 where one could not be rendered; the others are rendered all the same.
    """
    failed = 0
    try:
        paths = choose(names, root)
    except RenderError as error:
        print(error, file=sys.stderr)
        return 2
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
