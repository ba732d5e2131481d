"""Questions with several options, after a notebook: ``check.quiz("01")``.

The questions are in ``d2lseg/questions``, one YAML file for each notebook. Each has one right answer and some
wrong ones, and each wrong one names the misconception behind it. ``tests/test_questions.py`` runs the code of
a question and asserts that the right option holds and that no other does.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .verdicts import RIGHT, WRONG

BANK = Path(__file__).resolve().parent.parent / "questions"
LETTERS = "abcdef"


@dataclass(frozen=True)
class Option:
    """One answer to choose from.

    Parameters
    ----------
    text
        The answer, in Markdown.
    misconception
        What somebody who chooses it believes, as a sentence or from its verb on ("Forgets ..."); None for the
        right answer.
    holds
        A Python expression that is true only for the right answer; None where a question is about an idea
        that no short code can decide.
    """

    text: str
    misconception: str | None = None
    holds: str | None = None


@dataclass(frozen=True)
class Question:
    """One question, its options in the order in which they are shown.

    Parameters
    ----------
    id
        Its name, which begins with the notebook's number.
    section
        The heading in the notebook that answers it.
    text, explanation
        The question, and why the right answer is right, in Markdown.
    options
        All answers, shuffled in a way that depends on the id alone.
    code
        What runs before the options' expressions.
    cell
        The id of the notebook's cell that shows the answer.
    """

    id: str
    section: str
    text: str
    explanation: str
    options: tuple[Option, ...]
    code: str = ""
    cell: str | None = None

    @property
    def letter(self) -> str:
        """The letter of the right answer."""
        return LETTERS[[option.misconception is None for option in self.options].index(True)]


def find(notebook: str, bank: Path = BANK) -> Path:
    """Find the file of a notebook by its number, such as "01", or its name.

    Raises
    ------
    ValueError
        Where the bank has no such file.
    """
    files = sorted(bank.glob("*.yaml"))
    for path in files:
        if notebook in (path.stem, path.stem[:2]):
            return path
    known = ", ".join(path.stem[:2] for path in files) or "none"
    raise ValueError(f"there are no questions on notebook {notebook!r}; there are some on: {known}")


def read(path: Path) -> list[Question]:
    """Read the questions of one notebook."""
    return [_question(entry) for entry in yaml.safe_load(path.read_text(encoding="utf-8"))]


def _question(entry: dict[str, Any]) -> Question:
    """Make a question from its entry in the file."""
    options = [Option(**entry["right"]), *(Option(**wrong) for wrong in entry["wrong"])]
    random.Random(entry["id"]).shuffle(options)
    plain = {key: entry[key] for key in ("id", "section", "explanation", "code", "cell") if key in entry}
    return Question(text=entry["question"], options=tuple(options), **plain)


def quiz(notebook: str, number: int | None = None, answer: str | None = None, bank: Path = BANK) -> None:
    """Print a notebook's questions, one of them, or what an answer is worth.

    Parameters
    ----------
    notebook
        The notebook's number, such as ``"01"``.
    number
        The question's number, from 1; without it, all are printed.
    answer
        A letter. A wrong one gets the misconception behind it, and the right one its reason.

    Raises
    ------
    ValueError
        For a notebook, number or letter that there is not.
    """
    questions = read(find(notebook, bank))
    if number is None:
        print(f'Answer with the number and a letter, for example check.quiz("{notebook}", 1, "a").')
        for k, question in enumerate(questions, start=1):
            print(f"\n{shown(question, k)}")
        return
    if number not in range(1, len(questions) + 1):
        raise ValueError(f"there is no question {number}; notebook {notebook} has 1 to {len(questions)}")
    question = questions[number - 1]
    print(shown(question, number) if answer is None else judged(question, answer))


def shown(question: Question, number: int) -> str:
    """Write a question and its options as plain text."""
    lines = [f"{number}. {question.text.strip()}"]
    lines += [f"   {letter}) {o.text}" for letter, o in zip(LETTERS, question.options, strict=False)]
    return "\n".join(lines)


def judged(question: Question, answer: str) -> str:
    """Write the verdict on an answer.

    Raises
    ------
    ValueError
        For a letter that no option has.
    """
    letters = LETTERS[: len(question.options)]
    letter = str(answer).strip(" ().").lower()
    if len(letter) != 1 or letter not in letters:
        raise ValueError(f"the answer is one of the letters {', '.join(letters)}, and this was {answer!r}")
    option = question.options[letters.index(letter)]
    if option.misconception is None:
        return f"{RIGHT} {question.explanation.strip()}"
    advice = f"Read the section {question.section!r} again, then try another letter."
    return f"{WRONG} {told(option.misconception)}\n{advice}"


def told(misconception: str) -> str:
    """Give a misconception that begins with its verb a subject: "Forgets ..." is told of the answer."""
    text = misconception.strip()
    is_verb = re.match(r"[A-Z][a-z]+s\b", text) is not None
    return f"this answer {text[0].lower()}{text[1:]}" if is_verb else text
