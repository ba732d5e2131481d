"""What the instructor's kit says about the notebooks: exercises, quoted reports, numbers. Lists of faults."""

import functools
import json
import re
from pathlib import Path

from notebook_rules import DECIMAL, EXERCISE

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
# 08.2, but not 15.5 or 08.2.1
MENTION = re.compile(r"(?<![\w.])((?:0\d|1[0-3])\.\d{1,2})(?![\d%]|\.\d)(?! %)")
TITLED = re.compile(r"(?:Exercise |\*\*)(\d\d\.\d+): ([^*|\]\n]+)")
REPORT = re.compile(r'\*"([^*]+)"\*')
LINK = re.compile(r"\]\([^)]*\)")
BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


@functools.cache
def written(notebook):
    """Return a notebook's text cells, and its text cells and outputs together."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    prose = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    printed = ["".join(o.get("text", o.get("data", {}).get("text/plain", ""))) for o in outputs]
    return prose, "\n".join([prose, *printed])


@functools.cache
def exercises():
    """Map the number of each exercise, such as ``08.2``, to its title."""
    found = {}
    for notebook in NOTEBOOKS.glob("*.ipynb"):
        for heading, lesson, number in EXERCISE.findall(written(notebook)[0]):
            found[f"{lesson}.{number}"] = heading.partition(": ")[2]
    return found


def plain(title):
    """Return a title without marks, end and case."""
    return re.sub(r"[`*]", "", title).strip().rstrip(".?!").lower()


def mentioned(text):
    """List the numbers of the exercises that a text names."""
    return MENTION.findall(LINK.sub("]", text))


def exercise_faults(text):
    """Every exercise that is named exists, and has the title that it is given."""
    text, known = LINK.sub("]", text), exercises()
    faults = [f"there is no exercise {number}" for number in mentioned(text) if number not in known]
    for number, title in TITLED.findall(text):
        if number in known and plain(title) != plain(known[number]):
            faults.append(f"exercise {number} is {known[number]!r}, not {title!r}")
    return faults


def report_faults(text, notebook):
    """What stands in italics and quotation marks, as the reports of bugs do, stands in the notebook."""
    prose = " ".join(written(notebook)[0].split())
    quotes = (" ".join(quote.split()) for quote in REPORT.findall(text))
    return [f"{notebook.stem} has no {quote!r}" for quote in quotes if quote not in prose]


def number_faults(text, notebook):
    """Every number with two decimals or more stands in the notebook, there perhaps with more digits."""
    known = [float(number) for number in DECIMAL.findall(written(notebook)[1])]
    faults = []
    for number in DECIMAL.findall(BLOCK.sub("", LINK.sub("]", text))):
        half = 0.5 * 10.0 ** -len(number.partition(".")[2]) + 1e-9
        if not any(abs(float(number) - value) <= half for value in known):
            faults.append(f"{notebook.stem} has no {number}")
    return faults
