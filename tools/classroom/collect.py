"""Sort what students handed in, from folders and zip files of any layout, into one folder a student."""

from __future__ import annotations

import io
import re
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from d2lseg.engine.files import folder_written_whole, read_csv, write_csv

from . import books

LIST = "collected.csv"  # what was found, beside the students' folders
# verdicts_01.csv is what `check.report()` wrote: the student's word, which the grader does not need
IGNORED = re.compile(r"(^|/)(\.|__MACOSX)|-checkpoint\.ipynb$|verdicts_\d\d\.csv$")
ENCRYPTED = 1  # the bit of a zip entry's flags
# Moodle's folders are called "Ada Lovelace_12345_assignsubmission_file_".
MOODLE = re.compile(r"_\d+_assignsubmission.*$")


@dataclass(frozen=True)
class File:
    """A file that was handed in: its place below the source, when it was changed, and its content."""

    place: PurePosixPath
    modified: float  # seconds since 1970
    content: bytes


def files(source: Path) -> Iterator[File]:
    """Yield the files in a folder or a zip file, and in the zip files in it.

    Raises
    ------
    BookError
        If the source is neither.
    """
    if source.is_file() and zipfile.is_zipfile(source):
        yield from unzipped(source.read_bytes(), PurePosixPath(), 1)
        return
    if not source.is_dir():
        raise books.BookError(f"{source}: neither a folder nor a zip file; give what your students handed in")
    for path in sorted(source.rglob("*")):
        place = PurePosixPath(path.relative_to(source).as_posix())
        if not path.is_file() or path.is_symlink() or IGNORED.search(str(place)):
            continue
        if path.stat().st_size > books.LARGEST:
            yield File(place, path.stat().st_mtime, b"")
        elif path.suffix.lower() == ".zip":
            yield from unzipped(path.read_bytes(), place.with_suffix(""), 0)
        else:
            yield File(place, path.stat().st_mtime, path.read_bytes())


def unzipped(content: bytes, place: PurePosixPath, deeper: int) -> Iterator[File]:
    """Yield the files in a zip file, as if it were a folder; those that cannot be read come empty."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except zipfile.BadZipFile:
        yield File(place.with_suffix(".zip"), 0, b"")
        return
    for entry in archive.infolist():
        inner = place / PurePosixPath(entry.filename.replace("\\", "/"))
        if entry.is_dir() or ".." in inner.parts or IGNORED.search(str(inner)):
            continue
        modified = time.mktime((*entry.date_time, 0, 0, -1))  # comparable with a file's st_mtime
        data = entry_content(archive, entry)
        if inner.suffix.lower() == ".zip" and deeper:
            yield from unzipped(data, inner.with_suffix(""), deeper - 1)
        else:
            yield File(inner, modified, data)


def entry_content(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """Read a file of an archive; one that is too large, encrypted or damaged comes empty."""
    if entry.file_size > books.LARGEST or entry.flag_bits & ENCRYPTED:
        return b""
    try:
        return archive.read(entry)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError):  # the last: unknown compression
        return b""


def student(place: PurePosixPath, lessons: list[str]) -> str:
    """Tell whose file it is: by its first folder, or else by its name without the lesson's."""
    if len(place.parts) > 1:
        return tidy(MOODLE.sub("", place.parts[0])) or "unknown"
    name = place.stem
    for lesson in lessons:
        name = name.replace(lesson, "")
    return tidy(name) or "unknown"


def tidy(name: str) -> str:
    """Make a name fit for a folder on any system."""
    return re.sub(r"[^\w. -]+", "_", name).strip(" ._-")


def recognise(book: Any) -> str | None:
    """Tell which lesson a notebook is, whatever its file is called: by its exercises, checks or title."""
    text = "\n".join(cell.source for cell in book.cells)
    for pattern in (r"^#+ Exercise (\d\d)\.\d", r"d2lseg\.exercises import nb(\d\d)", r"\A\s*# (\d\d)\. "):
        if found := re.search(pattern, text, re.MULTILINE):
            return found[1]
    return None


def parsed(content: bytes) -> Any:
    """Read a notebook from its bytes; see `books.read`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "book.ipynb")
        path.write_bytes(content)
        return books.read(path)


def collect(source: Path, target: Path, root: Path = books.ROOT) -> list[dict[str, str]]:
    """Sort what was handed in into ``target/STUDENT/LESSON.ipynb``, with a list of all files.

    Parameters
    ----------
    source
        A folder or a zip file: one folder or zip file a student, or one file each with the student's name
        in its own.
    target
        A new folder.
    root
        The repository.

    Returns
    -------
    list of dict
        A row for each file: student, file, notebook and note, as in ``target/collected.csv``.
    """
    lessons = {path.stem[:2]: path.stem for path in books.lessons(root)}
    rows = []
    with folder_written_whole(target) as draft:
        for file in sorted(files(source), key=lambda file: file.modified):  # of two, the later one counts
            rows.append(take(file, draft, lessons))
        if not rows:
            raise books.BookError(f"{source}: there is no file in it")
        write_csv(draft / LIST, sorted(rows, key=lambda row: (row["student"], row["file"])))
    return rows


def take(file: File, draft: Path, lessons: dict[str, str]) -> dict[str, str]:
    """Put one file into its student's folder, if it is a lesson, and return its row in the list."""
    who = student(file.place, list(lessons.values()))
    folder = draft / who
    folder.mkdir(exist_ok=True)
    row = {"student": who, "file": str(file.place), "notebook": "", "note": ""}
    try:
        number = recognise(parsed(file.content))
        if number not in lessons:
            raise books.BookError("it is a notebook, but none of the course's lessons")
    except books.BookError as error:
        return row | {"note": f"not taken: {error}"}
    path = folder / f"{lessons[number]}.ipynb"
    notes = []
    if lessons[number] not in file.place.stem:
        notes.append(f"renamed from {file.place.name}")
    if path.exists():
        notes.append("replaces an earlier file")
    path.write_bytes(file.content)
    return row | {"notebook": lessons[number], "note": "; ".join(notes)}


def listed(folder: Path) -> dict[tuple[str, str], list[str]]:
    """Read the notes of a collected folder, by student and notebook ("" for files that were not taken)."""
    notes: dict[tuple[str, str], list[str]] = {}
    for row in read_csv(folder / LIST):
        if row["note"]:
            words = row["note"] if row["notebook"] else f"{row['file']}: {row['note']}"
            notes.setdefault((row["student"], row["notebook"]), []).append(words)
    return notes
