"""Every notebook keeps the course's rules, and every rule can fail."""

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from notebook_rules import all_faults, exercise_faults, opening_faults

from d2lseg.exercises.verdicts import NOT_YET, RIGHT
from tools import commands, opening

ROOT = Path(__file__).resolve().parent.parent
REPO = commands.current_repository(ROOT)
COURSE = [
    "00_start_here",
    "01_transposed_convolution",
    "02_bilinear_kernel",
    "03_voc_dataset",
    "04_fcn_model",
    "05_training",
    "06_prediction",
    "07_skip_connections",
    "08_real_photographs",
    "09_where_it_fails",
    "10_is_it_real",
    "11_your_own_data",
    "12_bug_hunt",
    "13_beyond_fcn",
]


@pytest.mark.parametrize("folder", ["notebooks", "notebooks/solutions"])
def test_the_course_is_whole(folder):
    assert sorted(path.stem for path in (ROOT / folder).glob("*.ipynb")) == COURSE


@pytest.mark.parametrize("path", commands.notebooks(ROOT), ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_a_notebook_keeps_the_rules(path):
    faults = all_faults(path, ROOT, REPO)
    assert not faults, "\n" + "\n".join(faults)


# --- each rule can fail -------------------------------------------------------------------------------------


def code(source, tag=None, text=None):
    """Make a code cell that has been run."""
    outputs = [new_output("stream", name="stdout", text=text)] if text else []
    return new_code_cell(source, outputs=outputs, metadata={"tags": [tag]} if tag else {})


def first_cells(name, repo="o/n"):
    return [
        new_markdown_cell(f"# 00. Title\n\n{opening.badge(repo, name)}\n\nText."),
        code(opening.setup(repo, name), "setup"),
    ]


def sample_lesson(repo="o/n"):
    """Make a lesson that keeps every rule."""
    cells = first_cells("00_a", repo)
    cells.append(
        new_markdown_cell(
            "**You will do**\n- x\n\n**You will learn** y\n\n**You need** z\n\n**Time** 1 minute"
        )
    )
    prompt = "## 1. Look\n\n[up](#your-turn)\n\n**Predict before you run.** Is it 42, or less?"
    cells += [new_markdown_cell(prompt, metadata={"tags": ["predict"]})]
    cells += [code("6 * 7", "nbval-check-output", "42")]
    cells.append(new_markdown_cell("It is 42.\n\n## Your turn", metadata={"tags": ["answer"]}))
    for k in (1, 2, 3):
        cells.append(new_markdown_cell(f"### Exercise 00.{k}: try\n\nDo it."))
        cells.append(code("answer = ...\ncheck.it(answer)", "exercise", f"{NOT_YET} Hint: think"))
    cells.append(
        new_markdown_cell("## Recap\n\n- x\n\n[solutions](solutions/00_a.ipynb)\n\nNext: [01](01_b.ipynb)")
    )
    return cells


def sample_solution(repo="o/n"):
    """Make its solutions."""
    cells = first_cells("solutions/00_a", repo)
    for k in (1, 2, 3):
        cells.append(new_markdown_cell(f"### Exercise 00.{k}: try\n\nBecause."))
        cells.append(code("answer = 1\nassert check.it(answer)", "solution", RIGHT))
    return cells


def lay(root, lesson, solution, metadata=None, repo="o/n"):
    """Write both to a repository and give the faults of both."""
    (root / "notebooks" / "solutions").mkdir(parents=True)
    paths = [root / "notebooks" / "00_a.ipynb", root / "notebooks" / "solutions" / "00_a.ipynb"]
    for path, cells in zip(paths, (lesson, solution), strict=True):
        for count, cell in enumerate((c for c in cells if c.cell_type == "code"), start=1):
            cell.execution_count = cell.execution_count or count
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        book = new_notebook(cells=cells, metadata={"kernelspec": kernel, **(metadata or {})})
        nbformat.write(book, path)
    nbformat.write(new_notebook(), root / "notebooks" / "01_b.ipynb")  # the lesson after it
    return [fault for path in paths for fault in all_faults(path, root, repo)]


@pytest.mark.parametrize("repo", ["o/n", None])
def test_a_good_sample_has_no_faults(tmp_path, repo):
    assert lay(tmp_path, sample_lesson(repo), sample_solution(repo), repo=repo) == []


def test_numbers_are_found_in_cells_and_outputs_and_may_be_quoted(tmp_path):
    lesson = sample_lesson()
    lesson[4].source += "\nrate = 0.05"
    lesson[4].outputs.append(new_output("stream", name="stdout", text="accuracy 0.4567, gain -0.25, 12.5%"))
    said = "\n\nAbout 0.46, or 0.457; 0.25 at 0.05; a share of 0.125. Exercise 00.10."
    lesson[5].source += f"{said} Neither `x[0.99]` nor $0.98$ is prose."
    lesson.insert(6, new_markdown_cell("The paper has 62.71.", metadata={"tags": ["quoted"]}))
    assert lay(tmp_path, lesson, sample_solution()) == []


def test_an_image_with_its_caption_as_alt_text_has_no_faults(tmp_path):
    lesson = sample_lesson()
    described = {"data": {"image/png": "iVBO"}, "metadata": {"image/png": {"alt": "A bar."}}}
    lesson[4].outputs.append(new_output("display_data", **described))
    swap(5, "It is 42.", "*Figure: a bar.*")(lesson, None)
    assert lay(tmp_path, lesson, sample_solution()) == []


OPENINGS = {
    "the other state": lambda cells, other: cells.__setitem__(slice(None), first_cells("00_a", other)),
    "its badge": lambda cells, other: cells.__setitem__(0, first_cells("00_a", other)[0]),
    "its setup cell": lambda cells, other: cells.__setitem__(1, first_cells("00_a", other)[1]),
    "a badge of both": lambda cells, other: cells[0].update(
        source=cells[0].source + "\n\n" + opening.badge(other, "00_a")
    ),
    "another notebook": lambda cells, other: cells[0].update(source=cells[0].source.replace("00_a", "01_b")),
    "no badge": lambda cells, other: cells[0].update(source="# 00. Title"),
    "other code": lambda cells, other: cells[1].update(source=cells[1].source.replace("-q", "-qq")),
}


@pytest.mark.parametrize("repo", ["o/n", None])
@pytest.mark.parametrize("case", OPENINGS)
def test_a_wrong_opening_is_found_in_both_states(repo, case):
    cells = first_cells("00_a", repo)
    assert opening_faults(new_notebook(cells=cells), "00_a", repo) == []
    OPENINGS[case](cells, None if repo else "o/n")
    faults = opening_faults(new_notebook(cells=cells), "00_a", repo)
    assert faults and all((repo or "unset") in fault for fault in faults), faults


def test_an_unset_notebook_names_what_to_upload_and_no_repository():
    badge, setup = opening.badge(None, "solutions/00_a"), opening.setup(None, "solutions/00_a")
    assert badge.count("https://") == 2 and opening.UPLOAD_PAGE in badge
    assert "`notebooks/solutions/00_a.ipynb`" in badge and "`dist/d2lseg-*.whl`" in badge
    assert "`python3 tasks.py wheel`" in badge
    assert "http" not in setup and "git" not in setup


def swap(index, old, new):
    """Make a change that replaces text in a cell of the lesson."""

    def change(lesson, solution):
        assert old in lesson[index].source
        lesson[index].source = lesson[index].source.replace(old, new)

    return change


def keep(**output):
    """Make a change that adds an output to the lesson's cell 4."""
    return lambda lesson, solution: lesson[4].outputs.append(new_output(**output))


def show(text):
    """Make a change that adds printed text."""
    return keep(output_type="stream", text=text)


BROKEN = {
    "title": (swap(0, "# 00. Title", "# Title"), "not '# 00. Title'"),
    "badge": (swap(0, "o/n", "other/n"), "no Colab badge"),
    "badge of another notebook": (swap(0, "00_a", "00_b"), "no Colab badge"),
    "setup": (swap(1, "o/n", "other/n"), "setup cell is not the course's"),
    "setup tag": (lambda a, b: a[1].metadata.clear(), "not tagged 'setup'"),
    "need": (swap(2, "**You need**", "You need"), "'**You need**' is missing"),
    "order": (swap(2, "**You will do**", "**Time** **You will do**"), "'**You will do**' is missing"),
    "steps": (swap(3, "## 1. Look", "## Look"), "'## 1. ' is missing"),
    "recap": (swap(-1, "## Recap", "## End"), "'## Recap' is missing"),
    "next": (swap(-1, "](01_b.ipynb)", "](00_a.ipynb)"), "no link to 01_b.ipynb"),
    "next, but before the recap": (
        lambda a, b: (
            swap(3, "[up]", "[on](01_b.ipynb) [up]")(a, b),
            swap(-1, "](01_b.ipynb)", "](00_a.ipynb)")(a, b),
        ),
        "no link to 01_b.ipynb",
    ),
    "solutions link": (swap(-1, "](solutions/00_a.ipynb)", "](00_a.ipynb)"), "no link to solutions"),
    "median": (lambda a, b: a.extend(code("x = 1\n" * 7) for _ in range(9)), "the median code cell has"),
    "longest": (swap(4, "6 * 7", "6 * 7\n" * 21), "cell 4 has 21 lines"),
    "few": (lambda a, b: (a.pop(6), a.pop(6)), "2 exercises"),
    "many": (
        lambda a, b: a.extend([new_markdown_cell(f"### Exercise 00.{k}: x") for k in (4, 5, 6)]),
        "6 exercises",
    ),
    "number": (swap(6, "00.1", "00.2"), "not numbered 00.1"),
    "no stub": (lambda a, b: a.pop(7), "0 cells tagged 'exercise'"),
    "solved": (lambda a, b: a[7].outputs[0].update(text=RIGHT), f"kept with {RIGHT!r}"),
    "other heading": (lambda a, b: b[2].update(source="### Exercise 00.1: else"), "the solutions are headed"),
    "unsolved": (lambda a, b: b.pop(3), "has no cell tagged 'solution'"),
    "no assert": (lambda a, b: b[3].update(source="check.it(1)"), "has no cell tagged 'solution'"),
    "wrong solution": (lambda a, b: b[3].outputs[0].update(text=f"Not {RIGHT}"), "without the verdict"),
    "order of runs": (lambda a, b: a[4].update(execution_count=17), "not once each from the top"),
    "no outputs": (
        lambda a, b: [c.update(outputs=[]) for c in b if c.cell_type == "code"],
        "no outputs are kept",
    ),
    "error": (keep(output_type="error", ename="E", evalue="", traceback=[]), "an error is kept"),
    "stderr": (keep(output_type="stream", name="stderr", text="warning"), "stderr is kept"),
    "widget": (
        keep(output_type="display_data", data={"application/vnd.jupyter.widget-view+json": {}}),
        "a widget view is kept",
    ),
    "a path of Linux": (show("see /home/ada/x"), "'/home/a'"),
    "a path of macOS": (show("'/Users/ada/x'"), "'/Users/a'"),
    "a path of Windows": (show(r"C:\Users\ada"), r"'C:\\U'"),
    "a path in a table": (
        keep(output_type="display_data", data={"text/html": "<td>/tmp/x</td>"}),
        "'/tmp/x'",
    ),
    "this home folder": (show(str(Path.home())), "a place on one machine"),
    "tag": (lambda a, b: a[4].update(metadata={"tags": ["nbval-chek-output"]}), "unknown tags"),
    "link": (swap(3, "#your-turn", "gone.ipynb"), "gone.ipynb leads nowhere"),
    "anchor": (swap(3, "#your-turn", "#my-turn"), "to no heading"),
    "an image without a caption": (
        keep(output_type="display_data", data={"image/png": "iVBO"}),
        "no '*Figure: ...*' comes after its image",
    ),
    "an image without alt text": (
        lambda a, b: (
            keep(output_type="display_data", data={"image/png": "iVBO"})(a, b),
            swap(5, "It is 42.", "*Figure: a bar.*")(a, b),
        ),
        "has not its caption as alt text",
    ),
    "size": (show("x" * 1_000_000), "over 1 MB"),
    "a number that nothing shows": (swap(5, "It is 42.", "It is 42.17."), "no cell or output shows 42.17"),
    "a number of another size": (
        lambda a, b: (show("0.1234")(a, b), swap(5, "It is 42.", "It is 0.124.")(a, b)),
        "no cell or output shows 0.124",
    ),
    "words": (swap(-1, "- x", "- " + "x " * 3000), "words, over 3000"),
    "prompt without a choice": (swap(3, ", or less?", "?"), "neither options nor a blank"),
    "prompt without a tag": (lambda a, b: a[3].metadata.clear(), "not the tag 'predict'"),
    "prompt without an answer": (lambda a, b: a[5].metadata.clear(), "no cell tagged 'answer' after it"),
    "prompt far from its code": (
        lambda a, b: a.insert(4, new_markdown_cell("More.")),
        "does not stand directly before its code",
    ),
    "two prompts, one answer": (
        lambda a, b: a.__setitem__(slice(3, 3), a[3:5]),
        "has no cell tagged 'answer' before the next prompt",
    ),
    "answer without a prompt": (
        lambda a, b: a[2].metadata.update(tags=["answer"]),
        "tagged 'answer', but no prompt",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_sample_is_found(tmp_path, case):
    change, words = BROKEN[case]
    lesson, solution = sample_lesson(), sample_solution()
    change(lesson, solution)
    faults = lay(tmp_path, lesson, solution)
    assert any(words in fault for fault in faults), faults


@pytest.mark.parametrize(
    ("name", "count", "faults"),
    [
        ("12_bug_hunt", 13, []),
        ("12_bug_hunt", 9, ["9 exercises, not 10 or more"]),
        ("05_training", 13, ["13 exercises, not 3 to 5"]),
    ],
)
def test_only_a_hunt_has_many_exercises(name, count, faults):
    cells = []
    for k in range(1, count + 1):
        cells.append(new_markdown_cell(f"### Exercise {name[:2]}.{k}: mend it"))
        cells.append(code("check.it(answer)", "exercise", f"{NOT_YET} Hint: think"))
    assert exercise_faults(new_notebook(cells=cells), name) == faults


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"widgets": {"state": {}}}, "metadata.widgets"),
        ({"kernelspec": {"name": "conda", "display_name": "x"}}, "not python3"),
    ],
)
def test_broken_metadata_is_found(tmp_path, metadata, words):
    assert any(words in fault for fault in lay(tmp_path, sample_lesson(), sample_solution(), metadata))
