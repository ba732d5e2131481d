"""The questions on paper and on the website: ``python -m tools.questions pages`` and ``... exam``.

``pages`` writes one Markdown page for each notebook into ``teach/questions``, with answers that fold open.
``exam`` draws questions by a seed, shuffles their options, and writes two pages to print: the exam, and its
key. Run it from the root of the repository, in the course's environment.
"""

from __future__ import annotations

import argparse
import html
import itertools
import random
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from d2lseg.engine import files
from d2lseg.exercises.quiz import BANK, LETTERS, Question, find, read
from tools.slides.minutes import anchor

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "teach" / "questions"

STYLE = """
body { font: 11pt/1.45 Georgia, serif; max-width: 17cm; margin: 1.5cm auto; padding: 0 1em; color: #000 }
li.question { break-inside: avoid; margin-bottom: 1.1em }
ol.options { list-style: none; padding-left: 0.4em; margin: 0.3em 0 }
code { font-size: 0.92em }
table { border-collapse: collapse } td, th { border: 1px solid #999; padding: 0.2em 0.5em; text-align: left }
"""


# --- the website's pages ------------------------------------------------------------------------------------


def page(path: Path) -> str:
    """Write a notebook's questions as Markdown, each answer folded away."""
    number, book = path.stem[:2], f"../../notebooks/{path.stem}.ipynb"
    parts = [
        f"# Questions on notebook {number}",
        f"On [{path.stem}]({book}). Choose an answer before you unfold it. In the notebook, "
        f'`check.quiz("{number}")` prints the same questions and judges your answers.',
    ]
    parts += [folding(question, k, book) for k, question in enumerate(read(path), start=1)]
    return "\n\n".join(parts) + "\n"


def folding(question: Question, number: int, book: str) -> str:
    """Write one question with its folded answer."""
    lines = [f"## Question {number}", "", question.text.strip(), ""]
    lines += [f"- **{letter})** {o.text}" for letter, o in zip(LETTERS, question.options, strict=False)]
    lines += ["", "<details>", "<summary>Answer</summary>", ""]
    lines += [f"**{question.letter})** {question.explanation.strip()}", ""]
    for letter, option in zip(LETTERS, question.options, strict=False):
        if option.misconception is not None:
            lines.append(f"- {letter}) {option.misconception.strip()}")
    link = f"[{question.section}]({book}#{anchor(question.section)})"
    return "\n".join([*lines, "", f"In the notebook: {link}", "", "</details>"])


def write_pages(bank: Path = BANK, folder: Path = PAGES) -> list[Path]:
    """Write the page of each notebook, and return their paths."""
    return [write(folder / f"{path.stem}.md", page(path)) for path in sorted(bank.glob("*.yaml"))]


def write(path: Path, text: str) -> Path:
    """Write a text file whole, in a folder that is made where it is missing, and return its path."""
    files.make_folder(path.parent)
    with files.written_whole(path) as stream:
        stream.write(text.encode("utf-8"))
    return path


# --- an exam on paper ---------------------------------------------------------------------------------------


def draw(notebooks: Sequence[str], count: int, seed: int, bank: Path = BANK) -> list[Question]:
    """Draw questions, as evenly over the notebooks as they divide, and shuffle their options.

    Raises
    ------
    ValueError
        Where there are fewer questions than asked for, or none are asked for.
    """
    chance = random.Random(seed)
    piles = [read(find(notebook, bank)) for notebook in dict.fromkeys(notebooks)]
    for pile in piles:
        chance.shuffle(pile)
    there = sum(len(pile) for pile in piles)
    if not 1 <= count <= there:
        raise ValueError(f"{count} questions cannot be drawn: there are {there} on {', '.join(notebooks)}")
    rounds = [question for turn in itertools.zip_longest(*piles) for question in turn if question is not None]
    drawn = sorted(rounds[:count], key=lambda question: question.id[:2])  # in the order of the course
    return [
        replace(question, options=tuple(chance.sample(question.options, len(question.options))))
        for question in drawn
    ]


def inline(text: str) -> str:
    """Turn a line of Markdown into HTML: code spans, emphasis, and paragraphs."""
    safe = html.escape(text.strip(), quote=False)
    safe = re.sub(r"`([^`]*)`", r"<code>\1</code>", safe)
    safe = re.sub(r"\*([^*\s][^*]*)\*", r"<em>\1</em>", safe)
    return safe.replace("\n\n", "<br><br>")


def document(title: str, body: str) -> str:
    """Wrap a body as a page that prints by itself."""
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{title}</title>\n'
        f"<style>{STYLE}</style></head>\n<body>\n<h1>{title}</h1>\n{body}\n</body>\n</html>\n"
    )


def exam(questions: Sequence[Question], seed: int) -> str:
    """Write the exam, without any trace of its answers."""
    items = []
    for question in questions:
        options = "".join(
            f"<li>&#9744; {letter}) {inline(option.text)}</li>"
            for letter, option in zip(LETTERS, question.options, strict=False)
        )
        items.append(f'<li class="question">{inline(question.text)}<ol class="options">{options}</ol></li>')
    head = "<p>Name: ______________________________ &nbsp; Date: ______________</p>"
    rule = f"<p>{len(questions)} questions. Mark one answer for each. Version {seed}.</p>"
    return document("Fully convolutional networks", f"{head}{rule}<ol>{''.join(items)}</ol>")


def key(questions: Sequence[Question], seed: int) -> str:
    """Write the key: the right letters, and what each wrong one says about the student's thinking."""
    letters = " ".join(f"{k}{question.letter}" for k, question in enumerate(questions, start=1))
    rows = []
    for k, question in enumerate(questions, start=1):
        wrong = "<br>".join(
            f"{letter}) {inline(option.misconception)}"
            for letter, option in zip(LETTERS, question.options, strict=False)
            if option.misconception is not None
        )
        why = f"<b>{question.letter})</b> {inline(question.explanation)}"
        rows.append(f"<tr><td>{k}</td><td>{question.id}</td><td>{why}</td><td>{wrong}</td></tr>")
    head = "<tr><th></th><th>question</th><th>right</th><th>what a wrong answer suggests</th></tr>"
    return document(f"Key of version {seed}", f"<p>{letters}</p><table>{head}{''.join(rows)}</table>")


def write_exam(
    notebooks: Sequence[str], count: int, seed: int, folder: Path, bank: Path = BANK
) -> list[Path]:
    """Write the exam and its key as two HTML files, and return their paths."""
    questions = draw(notebooks, count, seed, bank)
    texts = {"exam": exam(questions, seed), "key": key(questions, seed)}
    return [write(folder / f"{name}-{seed}.html", text) for name, text in texts.items()]


# --- command line -------------------------------------------------------------------------------------------


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    top = argparse.ArgumentParser(prog="python -m tools.questions", description=__doc__.partition("\n")[0])
    sub = top.add_subparsers(dest="command", required=True)
    pages = sub.add_parser("pages", help="write teach/questions, one Markdown page for each notebook")
    pages.add_argument("--out", type=Path, default=PAGES)
    paper = sub.add_parser("exam", help="write an exam to print, and its key")
    paper.add_argument("--notebooks", nargs="+", metavar="NN", help="such as 01 02 03; default all")
    paper.add_argument("--count", type=int, default=12, help="how many questions (default 12)")
    paper.add_argument("--seed", type=int, default=0, help="another seed draws another exam (default 0)")
    paper.add_argument("--out", type=Path, default=Path("exam"), help="the folder (default exam)")
    for command in (pages, paper):
        command.add_argument("--bank", type=Path, default=BANK, help="a folder of your own questions")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; what cannot be drawn gives one sentence and the exit status 2."""
    options = parser().parse_args(argv)
    try:
        if options.command == "pages":
            written = write_pages(options.bank, options.out)
        else:
            books = options.notebooks or [path.stem[:2] for path in sorted(options.bank.glob("*.yaml"))]
            written = write_exam(books, options.count, options.seed, options.out, options.bank)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print(*written, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
