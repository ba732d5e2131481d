"""Find the cells of a lesson that its exercises need, and tag them ``needed``: the grader runs these alone.

An exercise needs the cells that define the names which its cell or its solution uses, and what those cells
use in turn. Imports, functions, classes and constants are tagged all: they cost nothing, and an answer may
use any of them. A cell that trains is never tagged.
"""

from __future__ import annotations

import ast
import json
import symtable
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import books

TAG = "needed"
DEFINITIONS = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
# A constant is made of these, so of no call.
PARTS = (ast.Constant, ast.Tuple, ast.List, ast.Dict, ast.Set, ast.Starred, ast.BinOp, ast.UnaryOp, ast.Name)
PARTS += (ast.operator, ast.unaryop, ast.expr_context)


@dataclass(frozen=True)
class Cell:
    """What a code cell binds and uses in the notebook's namespace.

    Parameters
    ----------
    binds
        The names that it defines.
    at_once, later
        The names from other cells that it uses when it runs, and those in the bodies of its functions.
    defines_only
        Whether it holds nothing but imports, functions, classes and constants.
    """

    binds: frozenset[str]
    at_once: frozenset[str]
    later: frozenset[str]
    defines_only: bool


def look(source: str) -> Cell:
    """Find the names of a cell without running it."""
    code = books.python(source)
    tree, table = ast.parse(code), symtable.symtable(code, "cell", "exec")
    binds = {s.get_name() for s in table.get_symbols() if s.is_assigned() or s.is_imported()}
    grown = {node.target.id for node in tree.body if is_grown(node)}  # x += 1 needs an earlier x
    at_once = {s.get_name() for s in table.get_symbols() if s.is_referenced()} - binds | grown
    later = {
        s.get_name()
        for inner in below(table)
        for s in inner.get_symbols()
        if s.is_global() and s.is_referenced()
    }
    return Cell(frozenset(binds), frozenset(at_once), frozenset(later - binds), all(map(defines, tree.body)))


def is_grown(node: ast.stmt) -> bool:
    """Whether a statement is ``name += ...``."""
    return isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name)


def below(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    """Yield the tables of all functions and classes in a table, at any depth."""
    for child in table.get_children():
        yield child
        yield from below(child)


def defines(node: ast.stmt) -> bool:
    """Whether a statement is an import, a function, a class or a constant: it does nothing else."""
    if isinstance(node, ast.Assign):
        return all(isinstance(part, PARTS) for value in [node.value] for part in ast.walk(value))
    return isinstance(node, DEFINITIONS)


def training(trees: list[ast.Module]) -> list[bool]:
    """Tell for each cell whether it trains: by ``training.train``, by hand, or by a function that does."""
    trainers, found = {"train", "backward"}, []
    for tree in trees:
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and calls(node, trainers):
                trainers.add(node.name)
        found.append(any(calls(node, trainers) for node in tree.body if not isinstance(node, DEFINITIONS)))
    return found


def calls(node: ast.AST, functions: set[str]) -> bool:
    """Whether one of the functions is called anywhere in a statement; ``model.train()`` only sets a mode."""
    for call in ast.walk(node):
        if isinstance(call, ast.Call):
            name = getattr(call.func, "attr", getattr(call.func, "id", None))
            mode = name == "train" and len(call.args) + len(call.keywords) < 2
            if name in functions and not mode:
                return True
    return False


def solution_names(solution: Any) -> dict[str, frozenset[str]]:
    """Return the names that each solution's answer uses, by the exercise; demonstrations don't count."""
    found: dict[str, frozenset[str]] = {}
    name = ""
    for cell in solution.cells:
        if cell.cell_type == "markdown" and (match := books.HEADING.search(cell.source)):
            name = match[1]
        elif "solution" in books.tags(cell) and books.split(cell.source)[1]:
            parts = look(cell.source)
            found[name] = found.get(name, frozenset()) | parts.at_once | parts.later
    return found


def find(book: Any, solution: Any) -> set[int]:
    """Return the places of the cells that the exercises of a lesson need.

    Raises
    ------
    BookError
        If an exercise needs a cell that trains.
    """
    code = {i: cell for i, cell in enumerate(book.cells) if cell.cell_type == "code"}
    tasks = books.exercises(book)
    cells = {i: look(cell.source) for i, cell in code.items()}
    plain = {i: c for i, c in cells.items() if not books.tags(code[i]) & {"exercise", "setup"}}
    trees = [ast.parse(books.python(cell.source)) for cell in code.values()]
    trains = dict(zip(code, training(trees), strict=True))
    wanted, used = set(), solution_names(solution)
    for task in tasks:
        own = cells[task.cell]
        for name in own.at_once | own.later | used.get(task.name, frozenset()) - own.binds:
            wanted |= closure(name, task.cell, plain)
    if bad := sorted(i for i in wanted if trains[i]):
        raise books.BookError(f"an exercise needs cell {bad[0]}, which trains: define its names apart")
    last = max((task.cell for task in tasks), default=0)
    return wanted | definitions({i: c for i, c in plain.items() if i < last})


def closure(name: str, before: int, cells: dict[int, Cell]) -> set[int]:
    """Find the last cell before a place that defines a name, and the cells that it needs in turn."""
    place = max((i for i, cell in cells.items() if i < before and name in cell.binds), default=None)
    if place is None:
        return set()
    found, cell = {place}, cells[place]
    for other in cell.at_once | cell.later:
        # a function is called later, so what it uses may be defined below it
        found |= closure(other, place, cells)
    return found


def definitions(cells: dict[int, Cell]) -> set[int]:
    """Find the cells of definitions that run with nothing but one another."""
    found, known = set(), set()
    every = {name for cell in cells.values() for name in cell.binds}
    for place, cell in cells.items():
        if cell.defines_only and cell.at_once & every <= known:
            found.add(place)
            known |= cell.binds
    return found


def tagged(path: Path) -> tuple[str, str]:
    """Return the text of a lesson's file as it is and with the right cells tagged."""
    text = path.read_bytes().decode("utf-8").replace("\r\n", "\n")
    right = find(books.read(path), books.read(path.parent / "solutions" / path.name))
    book = json.loads(text)
    for index, cell in enumerate(book["cells"]):
        own = [tag for tag in cell["metadata"].pop("tags", []) if tag != TAG]
        if index in right:
            own.append(TAG)
        if own:
            cell["metadata"]["tags"] = own
    return text, json.dumps(book, indent=1, ensure_ascii=False) + text[len(text.rstrip()) :]
