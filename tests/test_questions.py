"""The bank of questions: each key is computed, each page is up to date, and an exam keeps its key apart."""

import json
import re
from pathlib import Path

import nbformat
import pytest
from notebook_rules import anchors

from d2lseg.exercises import quiz as quiz_module
from d2lseg.exercises.quiz import BANK, LETTERS, Option, Question, find, quiz, read, told
from d2lseg.exercises.verdicts import RIGHT, WRONG
from tools import questions

ROOT = Path(__file__).resolve().parent.parent
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))
FEWEST = 8  # questions on a notebook
ALL = [question for path in sorted(BANK.glob("*.yaml")) for question in read(path)]
NUMBER = re.compile(r"[\d.,]*\d")


def key_faults(question):
    """Run a question's code; the right option must hold, and no other."""
    if all(option.holds is None for option in question.options):
        return [] if question.cell else ["neither code nor a cell decides it"]
    names = {}
    exec(compile(question.code, question.id, "exec"), names)
    return [
        f"{option.text!r} holds: {not right}"
        for option in question.options
        for right in [option.misconception is None]
        if bool(eval(option.holds, names)) is not right
    ]


def form_faults(question, lesson):
    """What a question must have, whatever it asks."""
    faults, wrong = [], [option for option in question.options if option.misconception is not None]
    if len(wrong) != len(question.options) - 1 or not 3 <= len(question.options) <= 5:
        faults.append(f"{len(question.options)} options, {len(wrong)} of them wrong")
    if any(len(option.misconception.split()) < 5 for option in wrong):
        faults.append("a wrong option does not name its misconception")
    if len({option.text for option in question.options}) < len(question.options):
        faults.append("two options are alike")
    if questions.anchor(question.section) not in anchors(lesson):
        faults.append(f"no section {question.section!r}")
    if question.cell and question.cell not in {c.id for c in nbformat.read(lesson, as_version=4).cells}:
        faults.append(f"no cell {question.cell}")
    for option in question.options:  # an option that is a number must be compared with that number
        number = option.text.replace(",", "")
        if option.holds and NUMBER.fullmatch(option.text) and number not in option.holds:
            faults.append(f"{option.text} is decided by {option.holds}")
    return faults


def test_each_notebook_has_its_questions():
    assert [path.stem for path in sorted(BANK.glob("*.yaml"))] == [path.stem for path in LESSONS]


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_there_are_enough_and_they_are_whole(lesson):
    found = read(BANK / f"{lesson.stem}.yaml")
    assert len(found) >= FEWEST
    assert all(question.id.startswith(f"{lesson.stem[:2]}-") for question in found)
    assert [fault for question in found for fault in form_faults(question, lesson)] == []


def test_no_name_occurs_twice():
    assert len({question.id for question in ALL}) == len(ALL)


@pytest.mark.parametrize("question", ALL, ids=lambda question: question.id)
def test_a_key_is_the_one_that_code_computes(question):
    assert key_faults(question) == []


def test_most_keys_are_computed():
    computed = [question for question in ALL if question.code or any(o.holds for o in question.options)]
    assert len(computed) >= 0.8 * len(ALL), [q.id for q in ALL if q not in computed]


def test_the_right_letter_is_spread_over_all():
    letters = [question.letter for question in ALL]
    assert all(letters.count(letter) > 0.1 * len(ALL) for letter in LETTERS[:4])


def sample(**changes):
    """Make a good question, or one with a fault."""
    options = (Option("2", "Adds one too few, or forgets one.", "n == 2"), Option("3", None, "n == 3"))
    options += (Option("4", "Adds one too many to the sum.", "n == 4"),)
    plain = {"id": "01-a", "section": "Recap", "text": "1 + 2?", "explanation": "3.", "code": "n = 1 + 2"}
    return Question(**{**plain, "options": options, **changes})


def test_a_wrong_key_is_found():
    assert key_faults(sample()) == [] == form_faults(sample(), LESSONS[1])
    assert key_faults(sample(code="n = 2")) == ["'2' holds: True", "'3' holds: False"]
    bare = tuple(Option(o.text, o.misconception) for o in sample().options)
    assert key_faults(sample(options=bare)) == ["neither code nor a cell decides it"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"section": "Nowhere"}, "no section"),
        ({"cell": "01-999"}, "no cell 01-999"),
        ({"options": sample().options[:2]}, "2 options"),
        ({"options": (*sample().options, Option("5", "No.", "n == 5"))}, "does not name"),
        ({"options": (*sample().options, Option("4", "Adds one too many to it.", "n == 4"))}, "alike"),
        ({"options": (*sample().options, Option("5", "Adds two too many to it.", "n == 6"))}, "decided by"),
    ],
)
def test_a_fault_of_form_is_found(changes, expected):
    assert any(expected in fault for fault in form_faults(sample(**changes), LESSONS[1]))


# --- in the notebook ----------------------------------------------------------------------------------------


def test_all_questions_are_printed_as_plain_text(capsys):
    quiz("01")
    printed = capsys.readouterr().out
    assert 'check.quiz("01", 1, "a")' in printed
    for number, question in enumerate(read(find("01")), start=1):
        assert f"\n{number}. {question.text.strip()}\n   a) {question.options[0].text}\n" in printed


def test_one_question_and_its_verdicts(capsys):
    question = read(find("01"))[2]
    quiz("01", 3)
    assert capsys.readouterr().out.startswith(f"3. {question.text}")
    for letter, option in zip(LETTERS, question.options, strict=False):
        quiz("01_transposed_convolution", 3, f" {letter.upper()}) ")
        verdict = RIGHT if option.misconception is None else WRONG
        reason = told(option.misconception) if option.misconception else question.explanation
        assert capsys.readouterr().out.startswith(f"{verdict} {reason.strip()}")


def test_a_misconception_is_told_as_a_sentence():
    assert told("Forgets the 2.") == "this answer forgets the 2."
    assert told("A kernel has no size.") == "A kernel has no size."
    told_of_the_answer = {
        option.misconception.split()[0]
        for path in BANK.glob("*.yaml")
        for question in read(path)
        for option in question.options
        if option.misconception and told(option.misconception).startswith("this answer")
    }
    assert "Forgets" in told_of_the_answer
    assert not told_of_the_answer & {"This", "Those", "Its", "Always", "Class", "Classes", "Pixels"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("77",), "no questions on notebook '77'; there are some on: 00, 01"),
        (("01", 99), "no question 99; notebook 01 has 1 to"),
        (("01", 0), "no question 0"),
        (("01", 1, "z"), "one of the letters a, b, c, d, and this was 'z'"),
        (("01", 1, ""), "this was ''"),
        (("01", 1, "ab"), "this was 'ab'"),
    ],
)
def test_a_slip_is_named(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        quiz(*arguments)


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_each_notebooks_checks_have_the_quiz(lesson):
    module = __import__(f"d2lseg.exercises.nb{lesson.stem[:2]}", fromlist=["quiz"])
    assert module.quiz is quiz_module.quiz


# --- on the website, and on paper ---------------------------------------------------------------------------


def test_the_pages_are_up_to_date(tmp_path):
    written = questions.write_pages(BANK, tmp_path)
    assert {path.name for path in written} == {path.name for path in questions.PAGES.glob("*.md")}
    for path in written:
        kept = (questions.PAGES / path.name).read_text(encoding="utf-8")
        assert path.read_text(encoding="utf-8") == kept, "run python -m tools.questions pages"


def test_a_page_folds_each_answer():
    text = questions.page(find("01"))
    found = read(find("01"))
    assert text.count("<details>") == text.count("</details>") == len(found)
    for question in found:
        before, _, rest = text.partition(question.text.strip())[2].partition("<details>")
        assert question.explanation.strip() not in before
        assert f"**{question.letter})** {question.explanation.strip()}" in rest.partition("</details>")[0]


def test_an_exam_is_drawn_by_its_seed():
    first, again = (questions.draw(["01", "02"], 10, 3) for _ in range(2))
    assert first == again and first != questions.draw(["01", "02"], 10, 4)
    assert [question.id[:2] for question in first] == ["01"] * 5 + ["02"] * 5
    assert len({question.id for question in first}) == 10
    stored = {question.id: question for question in ALL}
    for question in first:
        assert set(question.options) == set(stored[question.id].options)


def test_the_exam_does_not_hold_its_key(tmp_path):
    exam, key = questions.write_exam(["01"], 8, 5, tmp_path)
    paper, answers = exam.read_text(encoding="utf-8"), key.read_text(encoding="utf-8")
    drawn = questions.draw(["01"], 8, 5)
    letters = " ".join(f"{k}{question.letter}" for k, question in enumerate(drawn, start=1))
    assert f"<p>{letters}</p>" in answers and letters not in paper
    for question in drawn:
        assert questions.inline(question.explanation) in answers
        assert questions.inline(question.explanation) not in paper and question.id not in paper
        for letter, option in zip(LETTERS, question.options, strict=False):
            assert f"{letter}) {questions.inline(option.text)}</li>" in paper
            if option.misconception:
                assert f"{letter}) {questions.inline(option.misconception)}" in answers
    assert all(text.startswith("<!doctype html>") and "http" not in text for text in (paper, answers))


def test_text_is_escaped_for_html():
    assert questions.inline("`a < b` & *c*") == "<code>a &lt; b</code> &amp; <em>c</em>"
    assert questions.inline("2 * 3 * 4") == "2 * 3 * 4"


def test_the_command_line(tmp_path, capsys):
    assert questions.main(["exam", "--count", "3", "--seed", "2", "--out", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"exam-2.html", "key-2.html"}
    assert questions.main(["exam", "--notebooks", "01", "--count", "99", "--out", str(tmp_path)]) == 2
    assert "99 questions cannot be drawn: there are" in capsys.readouterr().err
    assert questions.main(["exam", "--notebooks", "77", "--out", str(tmp_path)]) == 2
    assert "no questions on notebook '77'" in capsys.readouterr().err


def test_an_exam_can_come_from_a_bank_of_ones_own(tmp_path):
    entry = {"id": "01-mine", "section": "Recap", "question": "One?", "explanation": "Yes."}
    entry |= {"right": {"text": "yes"}, "wrong": [{"text": "no", "misconception": "Denies it."}]}
    (tmp_path / "01_mine.yaml").write_text(json.dumps([entry]))  # JSON is YAML
    out = tmp_path / "out"
    assert questions.main(["exam", "--bank", str(tmp_path), "--count", "1", "--out", str(out)]) == 0
    assert "One?" in (out / "exam-0.html").read_text(encoding="utf-8")
    assert questions.main(["pages", "--bank", str(tmp_path), "--out", str(out)]) == 0
    assert (out / "01_mine.md").exists()
