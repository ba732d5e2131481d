"""The projects: what a sample answer prints is what its code prints, and the rubrics add up."""

import contextlib
import io
import re
from pathlib import Path

import pytest
import torch

from d2lseg import experiments
from d2lseg.classes import VOC_CLASSES, VOID
from d2lseg.exercises import nb10
from teach.projects import part_1

PAGES = sorted((Path(__file__).resolve().parent.parent / "teach" / "projects").glob("part-*.md"))
BLOCKS = re.compile(r"```python\n(.*?)```\n\n```text\n(.*?)```", re.DOTALL)


def test_each_part_has_a_project():
    assert [page.stem for page in PAGES] == ["part-1", "part-2", "part-3"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_sample_answer_prints_what_its_code_prints(page):
    found = BLOCKS.findall(page.read_text(encoding="utf-8"))
    assert found
    for code, said in found:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, page.name, "exec"), {})
        assert printed.getvalue() == said


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_has_a_task_a_rubric_that_adds_up_and_a_sample(page):
    text = page.read_text(encoding="utf-8")
    rows = re.findall(r"^\| [A-Z].* \|$", text, re.MULTILINE)
    most = int(re.search(r"\d+ of (\d+) is very good work", text)[1])
    assert most == 2 * len(rows) and all(row.count("|") == 5 for row in rows)
    assert text.index("\n1. **") < text.index("## Rubric") < text.index("## A sample answer")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_the_table_of_project_1_has_each_class_once_and_keeps_void():
    assert sorted(sum(part_1.GROUPS.values(), ())) == sorted(VOC_CLASSES)
    label = torch.tensor([[0, 12, 15], [7, 16, VOID]], dtype=torch.uint8)  # dog, person, car, pottedplant
    assert part_1.group_label(label).tolist() == [[0, 1, 2], [3, 4, VOID]]


def test_grouping_a_matrix_is_grouping_the_answers():
    generator = torch.Generator().manual_seed(0)
    truth, guess = torch.randint(21, (2, 500), generator=generator)
    matrix = torch.zeros(21, 21, dtype=torch.int64)
    grouped = torch.zeros(5, 5, dtype=torch.int64)
    for t, g in zip(truth.tolist(), guess.tolist(), strict=True):
        matrix[t, g] += 1
        grouped[int(part_1.TABLE[t]), int(part_1.TABLE[g])] += 1
    assert torch.equal(part_1.group_matrix(matrix), grouped)


def test_the_check_accepts_both_reports_on_the_page_about_marking():
    text = (PAGES[0].parent.parent / "grading.md").read_text(encoding="utf-8")
    part = text[text.index("## Marking the report") :]
    reports = [quote.replace("> ", "") for quote in re.findall(r"(?:^> .*\n)+", part, re.MULTILINE)]
    kept = experiments.read("scores")
    base, change = ([float(r["miou"]) for r in kept if r["setup"] == name] for name in ("8s", "8s Dice"))
    assert len(reports) == 2 and all(after > before for before, after in zip(base, change, strict=True))
    for words in reports:
        report = {"base": base, "change": change, "verdict": "not seen", "conclusion": words}
        assert nb10.experiment(report)
