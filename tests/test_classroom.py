"""Copies for students, what they hand in, and its grading."""

import csv
import importlib
import os
import re
import zipfile
from pathlib import PurePosixPath
from types import SimpleNamespace

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from notebook_rules import PROMPT, link_faults

from d2lseg.exercises import nb01, report, verdicts
from tools import commands, opening
from tools.classroom import books, cli, collect, grade, needed, sample, sandbox, student
from tools.classroom.submission import make_plan

LESSONS = books.lessons()
IDS = [path.stem for path in LESSONS]
FIRST = books.lesson("01")


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    """All lessons as students get them."""
    return student.make_copies(tmp_path_factory.mktemp("copies") / "all")


def copy_of_01(given=None):
    """Make a student's copy of lesson 01, with some answers in it."""
    return sample.fill(student.make_copy(books.read(FIRST), FIRST.stem, set(), None), given or {})


def right_answers(path=FIRST):
    return sample.answers(books.read(path), books.read(path.parent / "solutions" / path.name))


# --- students' copies ---------------------------------------------------------------------------------------


def test_copies_have_no_outputs_and_lead_nowhere_else(copies):
    assert [path.name for path in copies] == [path.name for path in LESSONS]
    for path in copies:
        book = nbformat.read(path, as_version=4)
        nbformat.validate(book)
        code = [cell for cell in book.cells if cell.cell_type == "code"]
        assert not any(cell.outputs or cell.execution_count for cell in code)
        assert link_faults(book, path) == [] and "](solutions" not in path.read_text(encoding="utf-8")
        assert code[-1].source == "check.report()"


def test_a_copy_of_one_lesson_has_no_link_to_the_others(tmp_path):
    (path,) = student.make_copies(tmp_path / "one", ["05"])
    assert link_faults(nbformat.read(path, as_version=4), path) == []
    alone = tmp_path / FIRST.name
    alone.write_bytes(FIRST.read_bytes())  # the check can fail
    assert len(link_faults(nbformat.read(alone, as_version=4), alone)) >= 3


@pytest.mark.parametrize("path", LESSONS, ids=IDS)
def test_a_copy_keeps_prompts_stubs_and_tags_and_drops_the_answers(path):
    book = books.read(path)
    copy = student.make_copy(book, path.stem, set(IDS), None)
    for before, after in zip(book.cells, copy.cells, strict=False):
        assert before.id == after.id and before.metadata == after.metadata
        if before.cell_type == "code":
            assert before.source == after.source
        if "predict" in books.tags(before):
            assert len(PROMPT.findall(before.source)) == len(PROMPT.findall(after.source)) == 1
        if "answer" in books.tags(before):
            paragraphs = [p for p in before.source.split("\n\n") if not p.startswith("*Figure: ")]
            assert after.source.startswith(student.BLANK) and "*Figure: " not in after.source
            assert paragraphs[0] not in after.source
            assert all(heading in after.source for heading in re.findall("^#.*$", before.source, re.M))


def test_what_is_taken_out_of_an_answer():
    text = "*Figure: a\n*b*.*\n\nIt is 4:\n\n$$4$$\n\nMore.\n\n## 2. Next\n\nIt is 5."
    assert student.without_answer(text) == f"{student.BLANK}\n\nMore.\n\n## 2. Next\n\nIt is 5."
    assert student.without_answer("Four.") == student.BLANK
    assert student.without_answer("Four.\n\n- a list\n- of more") == f"{student.BLANK}\n\n- a list\n- of more"


def test_links_to_what_is_not_handed_out_become_words():
    text = "Run it. [Solutions](s/a.ipynb).\n\n[Solutions](s/a.ipynb). See [00](00.ipynb#x) or [b](b.ipynb)."
    assert student.without_dead_links(text, {"b.ipynb"}) == "Run it.\n\nSee 00 or [b](b.ipynb)."
    text = "Ask. [This](s/a.ipynb) is more. [That](s/a.ipynb)"
    assert student.without_dead_links(text, set()) == "Ask. This is more."
    text = "See [up](#top), [web](https://example.org) and ![a](https://example.org/a.svg)."
    assert student.without_dead_links(text, set()) == text


def test_a_badge_does_not_open_the_lesson_with_its_answers():
    book = books.read(FIRST)
    book.cells[0].source = f"# 01. Title\n\n{opening.badge('o/n', FIRST.stem)}\n\nText."
    first = student.make_copy(book, FIRST.stem, set(), "o/n").cells[0].source
    assert "github" not in first and opening.UPLOAD_PAGE in first and first.startswith("# 01. Title")


# --- needed cells -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", LESSONS, ids=IDS)
def test_the_needed_cells_are_tagged(path):
    before, after = needed.tagged(path)
    assert before == after, "the tags are out of date: run 'python3 tasks.py classroom tag'"


def small_lesson(*sources):
    """Make a lesson of these code cells and one exercise, and its solution, which calls `helper`."""
    cells = [new_code_cell(source) for source in sources]
    cells.append(new_markdown_cell("### Exercise 00.1: try"))
    cells.append(new_code_cell("answer = ...\ncheck.it(answer)", metadata={"tags": ["exercise"]}))
    solved = [new_markdown_cell("### Exercise 00.1: try")]
    solved.append(
        new_code_cell("answer = helper(1)\nassert check.it(answer)", metadata={"tags": ["solution"]})
    )
    return new_notebook(cells=cells), new_notebook(cells=solved)


@pytest.mark.parametrize(
    ("sources", "found"),
    [
        (["import torch", "x = torch.zeros(2)", "print(x)"], {0}),
        (["x = f()", "def helper(n):\n    return x + n", "y = 2 * x"], {0, 1}),
        (["x = 1", "x = f(2)", "def helper(n):\n    return x + n"], {0, 1, 2}),
        (["x = f(1)", "x = f(2)", "def helper(n):\n    return x + n"], {1, 2}),
        (["x = f(1)", "x += 1", "helper = x.double"], {0, 1, 2}),
        (["%matplotlib inline", "import math\nSIZES = [(1, -2)] * 3"], {1}),
        (["x = f()", "def unused(n=x):\n    return n"], set()),
    ],
)
def test_needed_cells_of_a_small_lesson(sources, found):
    assert needed.find(*small_lesson(*sources)) == found


@pytest.mark.parametrize(
    "trains",
    [
        "helper = training.train(model, batches)",
        "loss.backward()\nhelper = loss",
        "def run():\n    training.train(model, batches)\n\n\nhelper = run()",
    ],
)
def test_a_cell_that_trains_is_never_tagged(trains):
    with pytest.raises(books.BookError, match="cell 0, which trains"):
        needed.find(*small_lesson(trains))
    assert needed.find(*small_lesson("model = f()\nmodel.train()\nhelper = model")) == {0}


# --- collecting ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def handed_in(tmp_path_factory):
    """The made-up class: what each of the 40 did, and the folder with what they handed in."""
    folder = tmp_path_factory.mktemp("class") / "in"
    return sample.make_class(folder), folder


def test_a_class_of_40_is_collected(handed_in, tmp_path):
    done, folder = handed_in
    assert len(done) == 40 and list(done)[-1] == "student-40"
    rows = collect.collect(folder, tmp_path / "out")
    assert sorted({row["student"] for row in rows}) == sorted(done)
    for row in rows:
        kind, taken = done[row["student"]], (tmp_path / "out" / row["student"] / FIRST.name).is_file()
        assert taken == bool(row["notebook"]) == (kind not in ("not a notebook", "nothing"))
        assert ("renamed from" in row["note"]) == (kind == "renamed file")


def test_layouts_of_learning_platforms(tmp_path):
    book = nbformat.writes(copy_of_01())
    source = tmp_path / "in.zip"
    with zipfile.ZipFile(tmp_path / "inner.zip", "w") as inner:
        inner.writestr(f"work/{FIRST.name}", book)
        inner.writestr(f"__MACOSX/work/._{FIRST.name}", "x")
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr("Ada Lovelace_123_assignsubmission_file_/x.ipynb", book)
        archive.writestr(f"grace_{FIRST.name}", book)
        archive.writestr("../evil.ipynb", book)
        archive.write(tmp_path / "inner.zip", "Alan.zip")
    rows = collect.collect(source, tmp_path / "out")
    assert sorted(row["student"] for row in rows) == ["Ada Lovelace", "Alan", "grace"]
    assert all((tmp_path / "out" / row["student"] / FIRST.name).is_file() for row in rows)
    assert not (tmp_path / "evil.ipynb").exists()


def test_of_two_files_the_later_counts(tmp_path):
    folder = tmp_path / "in" / "ada"
    folder.mkdir(parents=True)
    for time, name in ((2_000_000_000, "a"), (1_000_000_000, "b")):
        path = folder / f"{name}.ipynb"
        nbformat.write(copy_of_01({"01.4": f"even_overlap = {name!r}"}), path)
        os.utime(path, (time, time))
    collect.collect(tmp_path / "in", tmp_path / "out")
    assert "even_overlap = 'a'" in (tmp_path / "out" / "ada" / FIRST.name).read_text(encoding="utf-8")
    with pytest.raises(FileExistsError, match="already exists"):
        collect.collect(tmp_path / "in", tmp_path / "out")
    with pytest.raises(books.BookError, match="neither a folder nor a zip file"):
        collect.collect(tmp_path / "none", tmp_path / "new")


def test_a_zip_file_is_not_newer_than_a_later_notebook(tmp_path):
    folder = tmp_path / "in" / "ada"
    folder.mkdir(parents=True)
    nbformat.write(copy_of_01({"01.4": "even_overlap = 'new'"}), folder / FIRST.name)
    os.utime(folder / FIRST.name, (2_000_000_000, 2_000_000_000))
    with zipfile.ZipFile(folder / "first.zip", "w") as archive:
        old = zipfile.ZipInfo(FIRST.name, (2026, 1, 2, 3, 4, 5))
        archive.writestr(old, nbformat.writes(copy_of_01({"01.4": "even_overlap = 'old'"})))
    collect.collect(tmp_path / "in", tmp_path / "out")
    assert "'new'" in (tmp_path / "out" / "ada" / FIRST.name).read_text(encoding="utf-8")


def test_a_damaged_zip_file_is_one_note_and_the_others_are_collected(tmp_path):
    for name in ("ada", "alan"):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            archive.writestr(FIRST.name, nbformat.writes(copy_of_01()))
    content = bytearray((tmp_path / "ada.zip").read_bytes())
    content[100] ^= 1  # in the notebook, so that its checksum is wrong
    (tmp_path / "ada.zip").write_bytes(content)
    rows = {row["student"]: row for row in collect.collect(tmp_path, tmp_path / "out")}
    assert rows["ada"]["note"].startswith("not taken") and rows["alan"]["notebook"] == FIRST.stem


@pytest.mark.parametrize("place", ["???/a.ipynb", "/a.ipynb"])
def test_a_name_without_letters_is_unknown(place):
    assert collect.student(PurePosixPath(place), []) == "unknown"


# --- what is run of a submission ----------------------------------------------------------------------------


def planned(book):
    """Plan a submission; give the plan and its steps by exercise."""
    plan = make_plan(books.read(FIRST), book)
    steps = {}
    for step in plan.steps:
        steps.setdefault(step.exercise, []).append(step)
    return plan, steps


def test_an_untouched_copy_is_run_without_a_note():
    plan, steps = planned(copy_of_01())
    assert plan.notes == {} and plan.verdicts == {}
    assert [[step.kind for step in steps[f"01.{k}"]] for k in range(1, 6)] == [["code", "check"]] * 5
    assert not any("show_matrix(" in step.source for step in steps[""])  # no cell but the needed ones


def put_what_is_not_python(book):
    """Put a cell that is not Python below the heading of 01.1."""
    book.cells.insert(book.cells.index(sample.cell(book, "01.1")), new_code_cell("def ("))


@pytest.mark.parametrize(
    ("change", "exercise", "words"),
    [
        (sample.edit_check, "01.1", "the check was edited"),
        (sample.delete, "01.2", "its cell is missing"),
        (sample.delete, "01.4", "its cell is missing"),
        (lambda b: sample.cell(b, "01.1").update(source="output_size = 1"), "01.1", "the check was removed"),
        (lambda b: sample.cell(b, "01.4").update(source=sample.SYNTAX), "01.4", "syntax error in line 1"),
        (lambda b: sample.cell(b, "01.1").update(source=sample.OWN_CHECK), "01.1", "a `check` of its own"),
        (lambda b: b.cells[3].update(source=b.cells[3].source + "\nimport re"), "", "was changed"),
        (put_what_is_not_python, "01.1", "is not Python"),
    ],
)
def test_mishaps_are_named(change, exercise, words):
    book = copy_of_01(right_answers())
    change(book)
    plan, _ = planned(book)
    assert any(words in note for note in plan.notes[exercise]), plan.notes


def test_an_answer_in_other_cells_is_found():
    book = copy_of_01(right_answers())
    sample.rewrite_elsewhere(book)
    plan, steps = planned(book)
    assert plan.verdicts == {} and plan.notes == {}
    own = copy_of_01(right_answers())
    place = own.cells.index(sample.cell(own, "01.3"))
    own.cells.insert(place, new_code_cell("!pip list\nhelper = 3"))  # below the heading
    own.cells.insert(5, new_code_cell("def far_away():\n    return 1"))
    own.cells.insert(5, new_code_cell("print(1)"))
    plan, steps = planned(own)
    assert plan.notes == {} and "helper = 3" in steps["01.3"][0].source
    assert any("far_away" in step.source for step in steps[""])
    assert not any("print(1)" in step.source for step in plan.steps)


# --- pages, table, command line -----------------------------------------------------------------------------


def test_a_page_escapes_what_students_wrote():
    grades = [grade.Grade("<b>", "01.1", "wrong", 1.0, ["it raised <script>"], "got <i>1</i>")]
    text = grade.page("01_x", grades, {"01.1": "a < b"})
    assert "<script>" not in text and "<i>" not in text and "got &lt;i&gt;1" in text and "a &lt; b" in text


def test_files_that_cannot_be_read_are_missing_not_fatal(tmp_path):
    lesson = books.read(FIRST)
    broken = tmp_path / "x.ipynb"
    for content in ("{ half", "[]", "", '{"cells": 3}'):
        broken.write_text(content)
        grades = grade.grade("ada", broken, lesson, "01", sandbox.Limits())
        assert [found.verdict for found in grades] == ["missing"] * 5
        assert "not a notebook that can be read" in grades[0].notes[0]
    assert (
        "was not handed in"
        in grade.grade("a", tmp_path / "y.ipynb", lesson, "01", sandbox.Limits())[0].notes[0]
    )


def test_mistakes_on_the_command_line_are_one_sentence(tmp_path, capsys):
    assert cli.main(["student", str(tmp_path / "new"), "99"]) == 2
    assert cli.main(["collect", str(tmp_path / "none"), str(tmp_path / "new")]) == 2
    assert cli.main(["grade", "01", str(tmp_path), str(tmp_path / "new")]) == 2
    assert capsys.readouterr().err.count("\n") == 3 and not (tmp_path / "new").exists()


def test_the_task_hands_its_arguments_on(monkeypatch):
    run = []
    monkeypatch.setattr(commands, "setup", lambda *given: False)
    done = SimpleNamespace(returncode=3)
    monkeypatch.setattr(commands.subprocess, "run", lambda command, **given: run.append(command) or done)
    words = ["grade", "01", "in", "--seconds", "5", "out", "--jobs=3"]
    assert commands.main(["classroom", *words]) == 3
    assert run[0][1:] == ["-m", "tools.classroom", *words]


# --- verdicts that are handed in ----------------------------------------------------------------------------


def test_a_report_stores_the_latest_verdicts(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(verdicts, "GIVEN", {})
    monkeypatch.setattr(report, "GIVEN", verdicts.GIVEN)
    nb01.report(tmp_path)
    assert "no verdicts" in capsys.readouterr().out and not list(tmp_path.iterdir())
    nb01.even_overlap(lambda k, s: True)
    nb01.even_overlap(lambda k, s: k % s == 0)
    nb01.size_formula(...)
    nb01.report(tmp_path)
    with (tmp_path / "verdicts_01.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["check"]: row["verdict"] for row in csv.DictReader(file)}
    assert rows == {
        "size_formula": "not yet",
        "output_padding": "not run",
        "gather": "not run",
        "even_overlap": "right",
        "centred_layer": "not run",
    }
    assert "Right: 1 of 5. Stored in verdicts_01.csv." in capsys.readouterr().out


@pytest.mark.parametrize("path", LESSONS, ids=IDS)
def test_every_module_of_checks_has_the_report(path):
    assert importlib.import_module(f"d2lseg.exercises.nb{path.stem[:2]}").report is report.report
