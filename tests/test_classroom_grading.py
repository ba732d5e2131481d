"""Submissions are run in processes of their own: they get the right verdicts, and the limits hold."""

import csv
import sys
import time

import nbformat
import pytest

from tools.classroom import books, collect, grade, sample, sandbox, student

pytestmark = pytest.mark.slow
LESSONS = books.lessons()
FIRST = books.lesson("01")
LIMITS = sandbox.Limits(seconds=15)
linux = pytest.mark.skipif(sys.platform != "linux", reason="a limit that only Linux has")


def run(*sources, limits=LIMITS):
    """Run pieces of code as an answer to 01.4, then its check; give the outcome."""
    steps = [{"kind": "code", "exercise": "01.4", "source": source} for source in sources]
    steps.append({"kind": "check", "exercise": "01.4", "source": "check.even_overlap(even_overlap)"})
    return sandbox.run("01", steps, limits)


RIGHT = "def even_overlap(k, s):\n    return k % s == 0"


@pytest.mark.parametrize("path", LESSONS, ids=[path.stem for path in LESSONS])
def test_solutions_are_right_and_stubs_not_yet_after_the_needed_cells_alone(path, tmp_path):
    lesson = books.read(path)
    solved = sample.answers(lesson, books.read(path.parent / "solutions" / path.name))
    for given, verdict in ((solved, "right"), ({}, "not yet")):
        book = sample.fill(student.make_copy(lesson, path.stem, set(), None), given)
        nbformat.write(book, tmp_path / path.name)
        grades = grade.grade("ada", tmp_path / path.name, lesson, path.stem[:2], sandbox.Limits(30))
        assert [found.verdict for found in grades] == [verdict] * len(grades), grades
        assert not any(found.notes for found in grades), grades


# What the grader says of each kind of submission: verdicts of the five exercises, and words of a note.
R, W, N, S, M = grade.VERDICTS
EXPECTED = {
    "right": ([R] * 5, ""),
    "wrong": ([W] * 5, ""),
    "partly wrong": ([R, W, R, R, W], ""),
    "endless loop": ([S, R, R, R, R], "stopped after"),
    "endless loop outside of a function": ([R, S, R, R, R], "stopped after"),
    "edited check": ([W, R, R, R, R], "the check was edited"),
    "check of their own": ([W, R, R, R, R], "a `check` of its own"),
    "missing cells": ([R, M, R, M, R], "its cell is missing"),
    "new cell": ([R] * 5, ""),
    "syntax error": ([R, R, R, W, R], "syntax error in line 1"),
    "memory": ([R, R, W, R, R], "it needs more memory"),
    "memory at once": ([R, R, R, R, W], "it needs more memory"),
    "network": ([R, W, R, R, R], "it tried to use the network"),
    "training run": ([R, R, R, W, R], "it tried to train"),
    "crash": ([R, R, R, S, R], "it ended the process"),
    "untouched": ([N] * 5, ""),
    "renamed file": ([R] * 5, "renamed from"),
    "zip file": ([R] * 5, ""),
    "not a notebook": ([M] * 5, "not a notebook that can be read"),
    "nothing": ([M] * 5, "was not handed in"),
}


@linux
def test_each_kind_of_submission_gets_its_verdicts_and_notes(tmp_path):
    done = sample.make_class(tmp_path / "in")
    assert set(done.values()) == set(EXPECTED)
    collect.collect(tmp_path / "in", tmp_path / "collected")
    seen = set()
    for who, kind in done.items():  # one of each kind is enough
        if kind in seen:
            for path in (tmp_path / "collected" / who).iterdir():
                path.unlink()
            (tmp_path / "collected" / who).rmdir()
        seen.add(kind)
    grade.grade_all(tmp_path / "collected", tmp_path / "out", "01", LIMITS, 2, lambda line: None)
    with (tmp_path / "out" / "grades.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5 * len(EXPECTED)
    for who in sorted({row["student"] for row in rows}):
        mine = [row for row in rows if row["student"] == who]
        verdicts, words = EXPECTED[done[who]]
        assert [row["verdict"] for row in mine] == verdicts, mine
        assert any(words in row["note"] for row in mine) if words else not any(row["note"] for row in mine)
        text = (tmp_path / "out" / "feedback" / f"{who}.html").read_text(encoding="utf-8")
        assert f"{verdicts.count(R)} of 5 exercises are right" in text


def test_what_an_answer_may_not_do():
    assert run(RIGHT).results[1]["status"] == "right"
    assert run("even_overlap = input()").results[0]["error"].startswith("EOFError")
    assert "no network" in run("import socket\nsocket.socket().connect(('127.0.0.1', 9))").results[0]["error"]
    assert run("import sys\nsys.exit()", RIGHT).results[2]["status"] == "right"
    patched = "check.even_overlap = lambda answer: type('V', (), dict(status='right', message=''))"
    outcome = run("from d2lseg.exercises import nb01 as check", patched, "even_overlap = all")
    assert outcome.results[3]["status"] == "wrong"
    assert outcome.results[1]["notes"] == ["it changes the course's checks: they were put back"]


@linux
def test_nothing_that_an_answer_has_started_goes_on(tmp_path):
    sign = tmp_path / "sign"
    code = f"import time; time.sleep(3); open({str(sign)!r}, 'w')"
    start = (
        f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {code!r}], start_new_session=True)"
    )
    run(start, RIGHT)
    time.sleep(4)
    assert not sign.exists() or not sandbox.namespaces()


@pytest.mark.parametrize("size", [0, 1_000_000])  # more than a pipe holds
def test_a_process_that_cannot_start_is_told(monkeypatch, size):
    monkeypatch.setattr(sandbox, "START", "raise ImportError('no torch here')")
    with pytest.raises(sandbox.SandboxError, match="no torch here"):
        run(RIGHT + "#" * size)
