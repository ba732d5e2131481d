"""The instructor's pages agree with the notebooks: minutes, headings, prompts and the cells they name."""

import re
from pathlib import Path

import kit_rules as kit
import nbformat
import pytest
from notebook_rules import anchors, tags

from tools.questions import anchor

ROOT = Path(__file__).resolve().parent.parent
TEACH = ROOT / "teach"
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SECTIONS = (
    "Goals",
    "Minute table",
    "On the board",
    "What to skip",
    "Answers to the prompts",
    "Misconceptions",
)
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
CELL = re.compile(r"`([^`\s]+)`")
SHORTEST, LONGEST = 85, 90  # minutes of a class, discussion included
FEWEST = 3  # misconceptions


def sections(text):
    """Split a page at its headings of the second level."""
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def rows(text):
    """List the rows of the first table in a text, each as a list of cells, without the header."""
    lines = [line.strip().strip("|") for line in text.splitlines() if line.startswith("|")]
    return [[part.strip() for part in line.split(" | ")] for line in lines[2:]]


def minute_faults(table):
    """The parts follow each other from 0, last 85 to 90 minutes in all, and each links to a heading."""
    faults, clock = [], 0
    for row in table:
        found = re.fullmatch(r"(\d+)-(\d+)", row[0])
        if found is None:
            faults.append(f"{row[0]!r} is not a range of minutes")
            continue
        start, end = map(int, found.groups())
        if start != clock or end <= start:
            faults.append(f"{row[0]} does not follow minute {clock}")
        clock = end
        if not re.match(r"\[.+\]\(\.\./notebooks/.+\.ipynb#.+\)", row[1]):
            faults.append(f"the line {row[0]} has no link to a heading")
    if not SHORTEST <= clock <= LONGEST:
        faults.append(f"{clock} minutes, not {SHORTEST} to {LONGEST}")
    return faults


def page_faults(text, lesson):
    """Hold an instructor's page to the notebook that it is about."""
    book, found = nbformat.read(lesson, as_version=4), sections(text)
    if tuple(found) != SECTIONS:
        return [f"the sections are {list(found)}, not {list(SECTIONS)}"]
    cells = {cell.id for cell in book.cells}
    faults = minute_faults(rows(found["Minute table"]))
    asked = [cell.id for cell in book.cells if "predict" in tags(cell)]
    answers = rows(found["Answers to the prompts"])
    answered = [CELL.match(row[1])[1] for row in answers]
    if answered != asked:
        faults.append(f"the answers are to {answered}, the prompts {asked}")
    faults += [
        f"{row[1]} has no answer" for row in rows(found["Answers to the prompts"]) if "**" not in row[3]
    ]
    beliefs = rows(found["Misconceptions"])
    if len(beliefs) < FEWEST:
        faults.append(f"{len(beliefs)} misconceptions, not {FEWEST} or more")
    for row in beliefs:
        named = CELL.findall(re.sub(LINK, "", row[1]))
        if not named or not set(named) <= cells:
            faults.append(f"{row[0]} names the cells {named}")
        if not LINK.search(row[1]):
            faults.append(f"{row[0]} has no link to its section")
    return faults


def link_faults(path):
    """Links of a page lead to files, and those into a notebook to one of its headings."""
    faults = []
    for target in LINK.findall(path.read_text(encoding="utf-8")):
        file, _, heading = target.partition("#")
        aim = path.parent / file if file else path
        if re.match(r"[a-z]+:", target):
            continue
        if not aim.exists():
            faults.append(f"{path.name}: {target} leads nowhere")
        elif heading and aim.suffix == ".ipynb" and heading not in anchors(aim):
            faults.append(f"{path.name}: {target} leads to no heading")
    return faults


def test_each_notebook_has_its_page():
    assert [path.stem for path in sorted(TEACH.glob("[0-9]*.md"))] == [path.stem for path in LESSONS]


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_a_page_agrees_with_its_notebook(lesson):
    page = TEACH / f"{lesson.stem}.md"
    text = page.read_text(encoding="utf-8")
    faults = page_faults(text, lesson) + link_faults(page)
    faults += kit.exercise_faults(text) + kit.number_faults(text, lesson)
    assert not faults, "\n" + "\n".join(faults)


OTHERS = [TEACH / "README.md", *sorted((TEACH / "projects").glob("*.md"))]


@pytest.mark.parametrize("page", OTHERS, ids=lambda page: page.stem)
def test_plans_and_projects_name_exercises_that_exist(page):
    assert kit.exercise_faults(page.read_text(encoding="utf-8")) == [] == link_faults(page)


def minutes_alone(text):
    """Read the minutes beside each notebook's number in a page's first table of notebooks."""
    return re.findall(r"^\| \[?(\d\d) .*?\| (\d+) min \|", text, re.MULTILINE)


def test_the_times_alone_are_those_of_the_readme():
    pages = [(place / "README.md").read_text(encoding="utf-8") for place in (TEACH, ROOT)]
    there, here = map(minutes_alone, pages)
    assert there == here and [number for number, _ in there] == [path.stem[:2] for path in LESSONS]


def test_the_plans_name_notebooks_that_exist():
    text = (TEACH / "README.md").read_text(encoding="utf-8")
    assert link_faults(TEACH / "README.md") == []
    assert {"One lecture", "A week", "A term"} <= set(sections(text))
    for path in LESSONS:
        assert f"]({path.stem}.md)" in text, path.stem
    term = sections(text)["A term"]
    assert [row[0] for row in rows(term)] == [str(k) for k in range(1, len(rows(term)) + 1)], "week by week"


def test_an_anchor_is_the_one_that_the_rules_of_the_notebooks_use():
    assert anchor('4. Why "transposed"') in anchors(ROOT / "notebooks" / "01_transposed_convolution.ipynb")


# --- each rule can fail -------------------------------------------------------------------------------------

LESSON = ROOT / "notebooks" / "01_transposed_convolution.ipynb"
BROKEN = {
    "a section": ("## On the board", "## Sketch", "the sections are"),
    "a gap": ("| 5-15 |", "| 6-15 |", "does not follow minute 5"),
    "no minutes": ("| 5-15 |", "| later |", "not a range"),
    "too short": ("| 86-90 |", "| 86-80 |", "80 minutes, not"),
    "no link": ("[Exercise 01.1](../notebooks/", "[Exercise 01.1](", "no link to a heading"),
    "a prompt": ("| 1 | `01-006` |", "| 1 | `01-007` |", "the answers are to"),
    "no answer": ("**15.** 16 and", "16 and", "has no answer"),
    "a cell": ("`01-030`", "`01-999`", "names the cells ['01-999']"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_page_is_found(case):
    old, new, expected = BROKEN[case]
    text = (TEACH / f"{LESSON.stem}.md").read_text(encoding="utf-8")
    assert old in text and page_faults(text, LESSON) == []
    faults = page_faults(text.replace(old, new), LESSON)
    assert any(expected in fault for fault in faults), faults


def test_a_dead_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"[a](nowhere.md) [b]({LESSON.as_posix()}#no-heading) [c]({LESSON.as_posix()}#recap)")
    assert link_faults(page) == [
        "page.md: nowhere.md leads nowhere", f"page.md: {LESSON.as_posix()}#no-heading leads to no heading"
    ]  # fmt: skip


STALE = {
    "an exercise": ("and 01.5 is kernel 63", "and 01.6 is kernel 63", "there is no exercise 01.6"),
    "a title": ("[Exercise 01.1](", "[Exercise 01.1: the size](", "exercise 01.1 is 'the size formula'"),
    "a number": ("| 86-90 |", "| 86-90, at 0.731 |", "01_transposed_convolution has no 0.731"),
}


@pytest.mark.parametrize("case", STALE)
def test_a_stale_page_is_found(case):
    old, new, expected = STALE[case]
    text = (TEACH / f"{LESSON.stem}.md").read_text(encoding="utf-8")
    assert old in text
    text = text.replace(old, new)
    faults = kit.exercise_faults(text) + kit.number_faults(text, LESSON)
    assert any(expected in fault for fault in faults), faults


def test_what_is_no_exercise_is_passed_over():
    assert kit.mentioned("0.85, 12.345, 08.2 %, v1.12.3, [x](#exercise-991 99.9) and 08.2, 08.3.") == [
        "08.2",
        "08.3",
    ]
