"""What every notebook of the course is held to. Each rule gives a list of faults, empty where all is well."""

import re
import statistics

import nbformat

from d2lseg.exercises.verdicts import NOT_YET, RIGHT
from tools import captions, opening, render
from tools.slides import minutes

HEAD = ("**You will do**", "**You will learn**", "**You need**", "**Time**")
TAGS = {
    "setup",
    "exercise",
    "needed",  # by an exercise; "tasks.py classroom tag" sets it
    "solution",
    "predict",
    "answer",
    "quoted",
    "slide",
    "fragment",
    "nbval-check-output",
    "nbval-ignore-output",
    "raises-exception",
}
EXERCISE = re.compile(r"^### (Exercise (\d\d)\.(\d+): \S.*)$", re.MULTILINE)
PROMPT = re.compile(
    r"^\*\*Predict before you run[.:]?\*\*:?|(?<=[.!?)] )\*\*Predict before you run[.:]?\*\*:?", re.MULTILINE
)
NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?(?:e-?\d+)?")
DECIMAL = re.compile(r"(?<![\w.,])\d+\.\d{2,}(?!\w|\.\d)")
NOT_PROSE = re.compile(r"`[^`]*`|\$[^$]*\$|\]\([^)]*\)|(?i:exercises?) \d+\.\d+|^#.*$", re.MULTILINE)
MEDIAN, LONGEST = 6, 20  # lines of a code cell
WORDS = 3000  # of a lesson, in its text cells
FEWEST, MOST = 3, 5  # exercises of a lesson
MANY, MANY_FEWEST = {"12_bug_hunt"}, 10  # these lessons are their exercises, and have no upper limit
# Places of other machines than this one, which render.traces() does not know.
PLACES = re.compile(r"(?<![\w./~-])/(?:home|Users|root|tmp|mnt|content|private|var)/\w|\b[A-Z]:\\\w")


def tags(cell):
    """Give the tags of a cell."""
    return set(cell.metadata.get("tags", []))


def code_cells(book):
    """List the code cells."""
    return [cell for cell in book.cells if cell.cell_type == "code"]


def prose(book):
    """Join the text cells."""
    return "\n\n".join(cell.source for cell in book.cells if cell.cell_type == "markdown")


def opening_faults(book, name, repo):
    """Title, badge and setup cell; the last two depend on the repository, which may be unset."""
    faults, number, state = [], name.removeprefix("solutions/")[:2], repo or "an unset repository"
    first = book.cells[0].source if book.cells else ""
    title = first.partition("\n")[0]
    if not re.match(rf"# {number}\. \S", title):
        faults.append(f"the first line is {title!r}, not '# {number}. Title'")
    if opening.WRITTEN.findall(first) != [opening.badge(repo, name)]:
        faults.append(f"the first cell has no Colab badge, or a wrong one, for {state} and {name}.ipynb")
    if len(book.cells) < 2 or "setup" not in tags(book.cells[1]):
        faults.append("the second cell is not tagged 'setup'")
    elif book.cells[1].source.strip() != opening.setup(repo, name):
        faults.append(f"the setup cell is not the course's, for {state}")
    if {key: book.metadata[key] for key in opening.GPU if key in book.metadata} != opening.metadata(name):
        faults.append(f"the metadata asks Colab for another machine than {opening.metadata(name) or 'any'}")
    return faults


def frame_faults(book, name, following):
    """The headings of a lesson, in their order, and its links to the solutions and to the lesson after it."""
    text, at, faults = prose(book), 0, []
    for heading in (*HEAD, "## 1. ", "## Your turn", "## Recap"):
        found = re.compile("^(?:- )?" + re.escape(heading), re.MULTILINE).search(text, at)
        if found:
            at = found.end()
        else:
            faults.append(f"{heading!r} is missing, or not in its place")
    if following and f"]({following}.ipynb" not in text[at:]:
        faults.append(f"no link to {following}.ipynb after the recap")
    if f"](solutions/{name}.ipynb)" not in text:
        faults.append(f"no link to solutions/{name}.ipynb")
    return faults


def length_faults(book):
    """Short code cells: one idea each."""
    # The setup cell is the same in every notebook and nothing to read, so the median counts one line for it.
    lengths = [1 if "setup" in tags(cell) else len(cell.source.splitlines()) for cell in code_cells(book)]
    faults = []
    if statistics.median(lengths) > MEDIAN:
        faults.append(f"the median code cell has {statistics.median(lengths)} lines, over {MEDIAN}")
    for index, cell in enumerate(book.cells):
        if cell.cell_type == "code" and len(cell.source.splitlines()) > LONGEST:
            faults.append(f"cell {index} has {len(cell.source.splitlines())} lines, over {LONGEST}")
    return faults


def exercises(book, tag):
    """Pair every exercise's heading with the cells of that tag which follow it.

    Returns
    -------
    list of (heading, cells)
    """
    found = []
    for cell in book.cells:
        if cell.cell_type == "markdown":
            found += [(match[1], []) for match in EXERCISE.finditer(cell.source)]
        elif tag in tags(cell):
            if not found:
                found.append(("before any heading", []))
            found[-1][1].append(cell)
    return found


def exercise_faults(book, name):
    """3 to 5 numbered exercises, ten or more in a hunt, each a stub that is kept as not yet solved."""
    found, faults = exercises(book, "exercise"), []
    if name in MANY:
        if len(found) < MANY_FEWEST:
            faults.append(f"{len(found)} exercises, not {MANY_FEWEST} or more")
    elif not FEWEST <= len(found) <= MOST:
        faults.append(f"{len(found)} exercises, not {FEWEST} to {MOST}")
    for k, (heading, cells) in enumerate(found, start=1):
        if not heading.startswith(f"Exercise {name[:2]}.{k}: "):
            faults.append(f"{heading!r} is not numbered {name[:2]}.{k}")
        if len(cells) != 1:
            faults.append(f"{heading!r} has {len(cells)} cells tagged 'exercise', not one")
        for cell in cells:
            if not printed(cell).startswith(NOT_YET):
                faults.append(f"{heading!r} is kept with {printed(cell)[:40]!r}, not {NOT_YET!r}")
    return faults


def solution_faults(lesson, solution):
    """The same exercises in the solutions, each asserted and kept as right."""
    asked = [heading for heading, _ in exercises(lesson, "exercise")]
    solved = exercises(solution, "solution")
    faults = []
    if [heading for heading, _ in solved] != asked:
        faults.append(f"the solutions are headed {[heading for heading, _ in solved]}, the exercises {asked}")
    for heading, cells in solved:
        if not any(re.search(r"^\s*assert ", cell.source, re.MULTILINE) for cell in cells):
            faults.append(f"{heading!r} has no cell tagged 'solution' that asserts")
        elif RIGHT not in "".join(map(printed, cells)).splitlines():
            faults.append(f"{heading!r} is kept without the verdict {RIGHT!r}")
    return faults


def printed(cell):
    """What a cell has printed."""
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


def output_faults(book, root):
    """Outputs are kept, of one clean run, and hold nothing of the machine."""
    faults = []
    counts = [cell.execution_count for cell in code_cells(book) if cell.source.strip()]
    if counts != list(range(1, len(counts) + 1)):
        faults.append(f"the cells were run in the order {counts}, not once each from the top")
    if not any(cell.outputs for cell in code_cells(book)):
        faults.append("no outputs are kept")
    for index, cell in enumerate(book.cells):
        for output in cell.get("outputs", []):
            faults += [f"cell {index}: {fault}" for fault in one_output_faults(output, root)]
    return faults


def one_output_faults(output, root):
    """What is wrong with one output."""
    if output.output_type == "error":
        yield f"an error is kept: {output.ename}"
    if output.output_type == "stream" and output.name == "stderr":
        yield "stderr is kept"
    if render.WIDGET in output.get("data", {}):
        yield "a widget view is kept"
    for text in render.texts(output):
        for pattern in (PLACES, *render.traces(root)):
            if found := pattern.search(text):
                yield f"the output holds {found[0]!r}, a place on one machine"


def alt_faults(book):
    """Each image has its caption as alt text."""
    faults = []
    for index, output, kind, text in captions.alt_texts(book):
        if text is None:
            faults.append(f"cell {index}: no '*Figure: ...*' comes after its image and before the next")
        elif output.metadata.get(kind, {}).get("alt") != text:
            faults.append(f"cell {index}: its image has not its caption as alt text; make render writes it")
    return faults


def metadata_faults(book):
    """No widget state (GitHub refuses to draw such a notebook), one kernel, no tag that is mistyped."""
    faults = []
    if "widgets" in book.metadata:
        faults.append("metadata.widgets is saved")
    if book.metadata.get("kernelspec", {}).get("name") != "python3":
        faults.append("the kernel is not python3")
    for index, cell in enumerate(book.cells):
        if unknown := tags(cell) - TAGS:
            faults.append(f"cell {index} has the unknown tags {sorted(unknown)}")
    return faults


def link_faults(book, path):
    """Links to files lead somewhere, and those into a notebook to one of its headings."""
    faults = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(book)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        aim = path.parent / file if file else path
        if not aim.exists():
            faults.append(f"the link {target} leads nowhere")
        elif anchor and aim.suffix == ".ipynb" and anchor.lower() not in anchors(aim):
            faults.append(f"the link {target} leads to no heading of {aim.name}")
    return faults


def anchors(path):
    """The headings of a notebook as the ends of addresses, in small letters."""
    text = prose(nbformat.read(path, as_version=4))
    return minutes.anchors(text) | set(re.findall(r'<a (?:id|name)="([^"]+)"', text))


def prompt_faults(book):
    """A prompt offers options or a blank, ends its cell, and its answer comes in words after the output."""
    faults, waiting = [], None
    for index, cell in enumerate(book.cells):
        found = tags(cell)
        if "answer" in found:
            if waiting is None:
                faults.append(f"cell {index} is tagged 'answer', but no prompt comes before it")
            waiting = None
        if cell.cell_type == "markdown" and PROMPT.search(cell.source):
            if waiting is not None:
                faults.append(
                    f"the prompt in cell {waiting} has no cell tagged 'answer' before the next prompt"
                )
            waiting, text = index, PROMPT.split(cell.source)[-1]
            if "predict" not in found:
                faults.append(f"cell {index} has a prompt, but not the tag 'predict'")
            if not re.search(r"\bor\b|_{3}", text):
                faults.append(
                    f"the prompt in cell {index} has neither options nor a blank: {text.strip()[:60]!r}"
                )
            after = book.cells[index + 1] if index + 1 < len(book.cells) else None
            if after is None or after.cell_type != "code":
                faults.append(f"the prompt in cell {index} does not stand directly before its code")
    if waiting is not None:
        faults.append(f"the prompt in cell {waiting} has no cell tagged 'answer' after it")
    return faults


def word_faults(book):
    """A notebook fills one class, and no more."""
    words = sum(len(cell.source.split()) for cell in book.cells if cell.cell_type == "markdown")
    return [f"{words} words, over {WORDS}"] if words > WORDS else []


def numbers(text):
    """List the numbers in a text, without signs; 1,234 is one number, and exercise 12.10 is none."""
    text = re.sub(r"(?i)(exercises?|notebook|section) \d+\.\d+", " ", text)
    return [float(found.replace(",", "")) for found in NUMBER.findall(text)]


def number_faults(book):
    """A decimal number in the prose, with two places or more, stands in a cell or an output of its notebook.

    Percentages may be told as shares, and counts in millions. Formulas and code in the prose are left out,
    and so is a cell tagged "quoted": its numbers come from a source or a calculation that it shows.
    """
    shown = [cell.source for cell in code_cells(book)]
    shown += [text for cell in code_cells(book) for output in cell.outputs for text in render.texts(output)]
    measured = numbers(" ".join(shown))
    faults = []
    for index, cell in enumerate(book.cells):
        if cell.cell_type != "markdown" or tags(cell) & {"quoted", "predict"}:  # a prompt offers wrong ones
            continue
        for number in DECIMAL.findall(NOT_PROSE.sub(" ", cell.source)):
            half = 0.51 * 10 ** -len(number.partition(".")[2])
            if not any(abs(n / scale - float(number)) <= half for n in measured for scale in (1, 100, 1e6)):
                faults.append(f"cell {index}: no cell or output shows {number}")
    return faults


def size_faults(path):
    """Under 1 MB."""
    size = path.stat().st_size
    return [f"{size / 1e6:.2f} MB, over 1 MB"] if size > render.LARGEST else []


def all_faults(path, root, repo):
    """Hold one notebook to all rules.

    Parameters
    ----------
    path
        The notebook, below ``root / "notebooks"``.
    root
        The repository.
    repo
        OWNER/NAME, or None where it is unset.
    """
    name = path.relative_to(root / "notebooks").with_suffix("").as_posix()
    book = nbformat.read(path, as_version=4)
    faults = opening_faults(book, name, repo) + length_faults(book) + output_faults(book, root)
    faults += (
        alt_faults(book)
        + metadata_faults(book)
        + link_faults(book, path)
        + size_faults(path)
        + number_faults(book)
    )
    if name.startswith("solutions/"):
        lesson = nbformat.read(root / "notebooks" / f"{path.stem}.ipynb", as_version=4)
        return faults + solution_faults(lesson, book)
    lessons = sorted(lesson.stem for lesson in path.parent.glob("*.ipynb"))
    following = next((lesson for lesson in lessons if lesson > name), None)  # None after the last lesson
    faults += prompt_faults(book) + word_faults(book)
    return faults + frame_faults(book, name, following) + exercise_faults(book, name)
