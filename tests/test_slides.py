"""Decks from a small notebook: what tags, deck file and minute table decide, and what is refused."""

import base64
import io
import re

import kit_rules as kit
import nbformat
import notebook_rules as rules
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from tools.slides import __main__ as command
from tools.slides import cells, deck, minutes

TABLE = """
| minutes | part | what happens |
| --- | --- | --- |
| 0-10 | [00. A lesson](../notebooks/00_a.ipynb#00-a-lesson) | Hello. |
| 10-25 | [1. Guess](../notebooks/00_a.ipynb#1-guess) | Vote. |
| 25-35 | [Exercise 00.1](../notebooks/00_a.ipynb#exercise-001-add) | In pairs. |
| 35-88 | [Recap](../notebooks/00_a.ipynb#recap) | Exit ticket. |
"""
DECK = """
- cell: first
  title: 00. A `lesson`
  text: Words, and $x_1$ [elsewhere](01_b.ipynb).
- cell: prompt
  title: Guess
  notes: Wait.
- cell: recap
  title: Recap
  text: The end.
"""


def png(width=40, height=20):
    """Give an image as a notebook stores it."""
    file = io.BytesIO()
    Image.new("RGB", (width, height)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def tagged(cell, name, *tags):
    """Give a cell its id and tags."""
    cell["id"], cell.metadata["tags"] = name, list(tags)
    return cell


def lesson():
    """Make a notebook with a prompt and its answer."""
    drawn = new_output("display_data", {"image/png": png(), "text/plain": "<Figure>"})
    printed = new_output("stream", name="stdout", text="4 < 5\n")
    cells = [
        tagged(new_markdown_cell("# 00. A lesson\n\nHello."), "first", "slide"),
        tagged(new_code_cell("setup"), "setup", "setup"),
        tagged(
            new_markdown_cell("## 1. Guess\n\nLead.\n\n**Predict before you run.** Is it 4 or 5?"), "prompt"
        ),
        tagged(new_code_cell("2 + 2\n3 + 3", outputs=[printed]), "code", "fragment"),
        tagged(new_code_cell("draw()", outputs=[drawn]), "figure", "fragment"),
        tagged(
            new_markdown_cell("*Figure: a `black` box.*\n\nIt is 4. See [there](01_b.ipynb).\n\nMore."),
            "answer",
        ),
        tagged(new_markdown_cell("### Exercise 00.1: add\n\nAdd."), "exercise"),
        tagged(new_markdown_cell("## Recap\n\nAll."), "recap", "slide"),
    ]
    cells[2].metadata["tags"] = ["predict", "slide"]
    cells[5].metadata["tags"] = ["answer", "fragment"]
    return new_notebook(cells=cells)


@pytest.fixture
def notebook(tmp_path):
    """Write the notebook with its deck file and minute table."""
    for folder in ("notebooks", "teach/slides"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "teach" / "slides" / "00_a.yaml").write_text(DECK)
    (tmp_path / "teach" / "00_a.md").write_text(TABLE)
    path = tmp_path / "notebooks" / "00_a.ipynb"
    nbformat.write(lesson(), path)
    return path


def edited(path, edit):
    """Change the notebook on disk."""
    book = nbformat.read(path, as_version=4)
    edit({cell.id: cell for cell in book.cells})
    nbformat.write(book, path)


def test_tags_choose_the_cells_and_their_clicks(notebook):
    first, prompt, recap = deck.slides(notebook)
    parts = [(part.kind, part.click) for part in [*prompt.left, *prompt.right]]
    assert parts == [("question", 0), ("code", 1), ("output", 1), ("figure", 2), ("answer", 3)]
    assert [part.kind for part in first.left] == ["text"] and first.layout == recap.layout == "words"
    assert prompt.layout == "stack" and prompt.right == []


def test_a_prompt_shows_its_question_and_an_answer_its_first_sentences(notebook):
    question, _, output, figure, answer = deck.slides(notebook)[1].left
    assert "Is it 4 or 5?" in question.html and "Lead" not in question.html
    assert "It is 4. See there." in answer.html and "More" not in answer.html and "Figure" not in answer.html
    assert (
        "4 &lt; 5" in output.html and 'alt="A black box."' in figure.html and "data:image/png" in figure.html
    )


def test_long_answers_are_cut_after_a_sentence():
    text = "One two three. Four five six: seven eight. Nine ten."
    assert cells.answer(text, 3) == cells.answer(text, 1) == "One two three."
    assert cells.answer(text, 8) == "One two three. Four five six: seven eight."
    assert cells.answer("See:\n\n$$x$$", 9) == "See."
    assert cells.answer("It is 4. And the time:") == cells.answer("It is 4. Why?") == "It is 4."


@pytest.mark.parametrize(
    ("shown", "kinds"),
    [("code", ["code"]), ("output", ["output"]), ("both", ["code", "output"]), ("2-2", ["code", "output"])],
)
def test_the_deck_file_chooses_code_output_or_lines(notebook, shown, kinds):
    place = deck.deck_file(notebook)
    place.write_text(DECK.replace("notes: Wait.", f"show: {{code: {shown}}}"))
    parts = [part for part in deck.slides(notebook)[1].left if part.click == 1]
    assert [part.kind for part in parts] == kinds
    if shown == "2-2":
        assert ">3<" in parts[0].html and ">2<" not in parts[0].html


def test_titles_and_words_are_markdown_without_dead_links(notebook):
    first = deck.slides(notebook)[0]
    assert first.title == "00. A <code>lesson</code>"
    assert (
        "elsewhere" in first.left[0].html
        and "href" not in first.left[0].html
        and "$x_1$" in first.left[0].html
    )


def test_a_narrow_figure_stands_beside_many_words(notebook):
    square = png(20, 20)
    edited(notebook, lambda by_id: by_id["figure"].outputs[0].data.update({"image/png": square}))
    assert deck.slides(notebook)[1].layout == "stack"
    deck.deck_file(notebook).write_text(DECK.replace("notes: Wait.", f"text: {'word ' * 30}"))
    slide = deck.slides(notebook)[1]
    assert slide.layout == "columns" and [part.kind for part in slide.left] == ["text", "question", "answer"]


def test_notes_hold_the_plan_the_hint_and_the_lesson(notebook):
    first, prompt, recap = (slide.notes for slide in deck.slides(notebook))
    assert "Minutes 0 to 10</strong> of 88: 00. A lesson. Hello." in first
    assert "Minutes 10 to 25</strong> of 88: 1. Guess. Vote." in prompt and "Wait." in prompt
    assert (
        "Then <strong>Minutes 25 to 35</strong> of 88: Exercise 00.1. In pairs." in prompt
    )  # it has no slide
    assert "Lead." in prompt and "More." in prompt and "Add." not in prompt
    assert "Minutes 35 to 88" in recap and "Add." in recap


def test_slides_of_one_row_are_numbered(notebook):
    edited(notebook, lambda by_id: by_id["exercise"].metadata.update(tags=["slide"]))
    (notebook.parent.parent / "teach" / "00_a.md").write_text(TABLE.replace("#exercise-001-add", "#recap"))
    deck.deck_file(notebook).write_text(DECK + "- cell: exercise\n  title: Exercise\n")
    notes = [slide.notes for slide in deck.slides(notebook)]
    assert "slide 1 of 2. Vote." in notes[1] and "slide 2 of 2." in notes[3] and "Vote." not in notes[3]


def test_a_cell_can_answer_and_ask(notebook):
    both = "It is 4.\n\n**Predict before you run.** And now, 6 or 7?"
    edited(notebook, lambda by_id: by_id["answer"].update(source=both))
    edited(
        notebook,
        lambda by_id: by_id["answer"].metadata.update(tags=["answer", "predict", "fragment", "slide"]),
    )
    deck.deck_file(notebook).write_text(DECK + "- cell: answer\n  title: Next\n")
    slides = deck.slides(notebook)
    assert "It is 4." in slides[1].left[-1].html and "6 or 7" in slides[3].left[0].html


FAULTS = {
    "no deck file": (lambda path: deck.deck_file(path).unlink(), r"00_a\.yaml: no such file in teach/slides"),
    "no list": (lambda path: deck.deck_file(path).write_text("a: b"), "expected a list of slides"),
    "no YAML": (lambda path: deck.deck_file(path).write_text("- ["), "not YAML"),
    "a missing key": (
        lambda path: deck.deck_file(path).write_text("- cell: first"),
        r"'first' lacks \['title'\]",
    ),
    "an unknown key": (
        lambda path: deck.deck_file(path).write_text(DECK.replace("notes:", "note:")),
        r"'prompt' has the unknown keys \['note'\]",
    ),
    "an unknown way to show": (
        lambda path: deck.deck_file(path).write_text(DECK.replace("notes: Wait.", "show: {code: all}")),
        "cell code shows 'all'; say code, output, both or lines",
    ),
    "a cell twice": (
        lambda path: deck.deck_file(path).write_text(DECK + DECK),
        "a cell is in the deck file twice",
    ),
    "a tag too many": (
        lambda path: edited(path, lambda by_id: by_id["exercise"].metadata.update(tags=["slide"])),
        "cell exercise is tagged 'slide', but not in the deck file",
    ),
    "a tag too few": (
        lambda path: edited(path, lambda by_id: by_id["recap"].metadata.update(tags=[])),
        "cell recap is in the deck file, but not tagged 'slide'",
    ),
    "a fragment of nothing": (
        lambda path: edited(path, lambda by_id: by_id["first"].metadata.update(tags=["fragment"])),
        "cell first is tagged 'fragment', but no cell before it 'slide'",
    ),
    "no minute table": (
        lambda path: (path.parent.parent / "teach" / "00_a.md").unlink(),
        r"00_a\.md: no minute table",
    ),
    "a row that leads nowhere": (
        lambda path: (path.parent.parent / "teach" / "00_a.md").write_text(TABLE.replace("#recap", "#end")),
        "links to #end, which is no heading",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_does_not_fit_is_named_and_the_others_are_made(notebook, fault, tmp_path):
    spoil, message = FAULTS[fault]
    other, target = notebook.with_name("01_b.ipynb"), tmp_path / "out"
    other.write_bytes(notebook.read_bytes())
    for folder, suffix in (("teach/slides", "yaml"), ("teach", "md")):
        text = (tmp_path / folder / f"00_a.{suffix}").read_text()
        (tmp_path / folder / f"01_b.{suffix}").write_text(text)
    assert command.build([notebook], target) == []
    spoil(notebook)
    with pytest.raises(minutes.DeckError, match=message):
        deck.slides(notebook)
    assert len(command.build([notebook, other], target)) == 1
    assert not (target / "00_a.html").exists() and (target / "01_b.html").is_file()
    assert "01_b.html" in (index := (target / "index.html").read_text()) and "00_a.html" not in index


def test_long_code_gets_small_letters():
    assert not cells.code("x = 1\n" * 10).small and cells.code("x = 1").letters == cells.MOST_OF_CODE
    assert cells.code("x = 1\n" * 11).small and cells.code("x" * 86).small


def test_letters_of_output_fill_its_width_or_height():
    printed = new_output("stream", name="stdout", text="x = 1\n" * 3)
    assert cells.outputs(new_code_cell("", outputs=[printed]), "")[0].letters == cells.MOST
    for columns, lines in ((60, 3), (80, 3), (100, 3), (20, 12), (300, 40)):
        size = cells.letters("\n".join(["x" * columns] * lines))
        room = size * 0.602 * columns <= cells.WIDE and size * 1.35 * lines <= cells.HIGH
        assert cells.LEAST <= size <= cells.MOST and (room or size == cells.LEAST)


def test_a_folder_of_decks_needs_nothing_else(notebook, tmp_path):
    target = tmp_path / "out"
    assert command.build([notebook], target) == []
    page, index = ((target / name).read_text(encoding="utf-8") for name in ("00_a.html", "index.html"))
    assert "http:" not in page and "https:" not in page
    assert '<a href="00_a.html">00. A lesson</a></td><td>3</td><td>88</td>' in index
    for name in command.VENDORED:
        assert f"assets/{name}" in page and (target / "assets" / name).is_file()
        assert (target / "assets" / name).with_name("LICENSE").is_file()


def test_the_command_names_an_unknown_notebook(capsys):
    with pytest.raises(SystemExit):
        command.main(["77"])
    assert "no notebook's name begins with '77'" in capsys.readouterr().err


def test_each_notebook_has_a_deck_file():
    names = {path.stem for path in (command.ROOT / "notebooks").glob("*.ipynb")}
    assert {path.stem for path in (command.ROOT / "teach" / "slides").glob("*.yaml")} == names


DECKS = sorted((command.ROOT / "teach" / "slides").glob("*.yaml"))


def deck_faults(path):
    """Hold the words of a deck to its notebook: exercises, quoted reports, and what is set for home."""
    faults, notebook = [], command.ROOT / "notebooks" / f"{path.stem}.ipynb"
    page = (command.ROOT / "teach" / f"{path.stem}.md").read_text(encoding="utf-8")
    homework = kit.mentioned("".join(re.findall(r"^Homework: .*?\n\n", page, re.MULTILINE | re.DOTALL)))
    for slide in deck.read_deck(path):
        text = slide.get("text", "")
        said = kit.exercise_faults(f"{slide['title']}\n{text}\n{slide.get('notes', '')}")
        said += kit.report_faults(text, notebook)
        home = re.findall(r"^(?:At home|With a week).*", f"{slide['title']}\n{text}", re.MULTILINE)
        said += [
            f"{number} is no homework on the page"
            for number in kit.mentioned(" ".join(home))
            if number not in homework
        ]
        faults += [f"{slide['cell']}: {fault}" for fault in said]
        if len(slide.get("notes", "").split()) < 3:
            faults.append(f"{slide['cell']}: no notes that say what to say or ask")
    return faults


@pytest.mark.parametrize("path", DECKS, ids=lambda path: path.stem)
def test_a_deck_names_the_exercises_and_reports_of_its_notebook(path):
    assert deck_faults(path) == []


STALE = {
    "a number": ("Exercise 12.4: never", "Exercise 12.14: never", "there is no exercise 12.14"),
    "a title": (
        "Exercise 12.4: never sure",
        "Exercise 12.4: numbers in the hundreds",
        "exercise 12.4 is 'never sure'",
    ),
    "a report": (
        "The loss falls to 2.1",
        "The loss falls to 3.1",
        "12_bug_hunt has no 'The loss falls to 3.1",
    ),
    "homework": (
        "At home: the seven hunts",
        "At home: 13.4 and the seven hunts",
        "13.4 is no homework on the page",
    ),
    "no notes": ("notes: Which mask was it compared with?", "notes: Go.", "12-087: no notes"),
}


@pytest.mark.parametrize("case", STALE)
def test_a_stale_deck_is_found(case, tmp_path):
    old, new, expected = STALE[case]
    path = tmp_path / "12_bug_hunt.yaml"
    text = (command.ROOT / "teach" / "slides" / path.name).read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    assert any(expected in fault for fault in deck_faults(path)), deck_faults(path)


def test_no_deck_file_states_a_measured_number():
    """A run can change it, and the cell that prints it can be shown instead."""
    for path in (command.ROOT / "teach" / "slides").glob("*.yaml"):
        for slide in deck.read_deck(path):
            words = rules.NOT_PROSE.sub(" ", f"{slide['title']} {slide.get('text', '')}")
            assert not rules.DECIMAL.search(words), slide["cell"]
