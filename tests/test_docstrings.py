"""Public functions, classes and methods have docstrings, and the sections that are there fit the signature.

No section is demanded. How long the core's docstrings may be is in `tests/test_structure.py`.
"""

import ast
import builtins
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
SOURCES = sorted((ROOT / "d2lseg").rglob("*.py"))
SECTIONS = set("Parameters Attributes Returns Yields Raises Warns Notes Examples References".split())


def described(body, prefix=""):
    """Yield (name, node) of functions and classes, and of what classes hold."""
    for node in body:
        if isinstance(node, (*FUNCTION, ast.ClassDef)):
            yield f"{prefix}{node.name}", node
        if isinstance(node, ast.ClassDef):
            yield from described(node.body, f"{prefix}{node.name}.")


def sections(docstring):
    """Split a docstring at its underlined headings: heading -> names at the heads of its entries."""
    parts = re.split(r"^(\S.*)\n-+$", docstring, flags=re.MULTILINE)
    heads = [re.findall(r"^(\S.*)$", text, re.MULTILINE) for text in parts[2::2]]
    names = [[n.strip(" *`") for head in found for n in head.split(":")[0].split(",")] for found in heads]
    return dict(zip(parts[1::2], names, strict=True))


def parameters(node):
    """Name what a function, or a class when it is made, takes; None where the class inherits that."""
    if isinstance(node, ast.ClassDef):
        inits = [n for n in node.body if isinstance(n, FUNCTION) and n.name == "__init__"]
        fields = {n.target.id for n in node.body if isinstance(n, ast.AnnAssign)}
        inherits = [base for base in node.bases if ast.unparse(base) != "NamedTuple"]
        return parameters(inits[0]) if inits else None if inherits else fields
    return {n.arg for n in ast.walk(node.args) if isinstance(n, ast.arg)}


def section_faults(node, found, identifiers):
    """Yield where the sections of one docstring contradict the code."""
    yield from (f"{name} is not a section" for name in found.keys() - SECTIONS)
    given, known = set(found.get("Parameters", [])), parameters(node)
    yield from (f"Parameters names {name}" for name in given - (given if known is None else known))
    errors = set(found.get("Raises", [])) - identifiers - set(dir(builtins))
    yield from (f"Raises names {name}" for name in errors)
    yields = any(isinstance(n, (ast.Yield, ast.YieldFrom)) for n in ast.walk(node))
    if "Yields" in found and not yields:
        yield "Yields, and it does not"
    returns = getattr(node, "returns", None)
    if "Returns" in found and returns is not None and ast.unparse(returns) == "None":
        yield "Returns, and its annotation is None"


def faults(source):
    """List what is wrong with the docstrings of a module."""
    tree, wrong = ast.parse(source), []
    identifiers = set(re.findall(r"\w+", re.sub(r'"""(.|\n)*?"""', "", source)))
    for name, node in described(tree.body):
        text = ast.get_docstring(node)
        if not text and not any(part.startswith("_") for part in name.split(".")):
            wrong.append(f"{name} has no docstring")
        wrong += [f"{name}: {fault}" for fault in section_faults(node, sections(text or ""), identifiers)]
    return wrong


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: f"{p.parent.name}.{p.stem}")
def test_docstrings_are_there_and_fit_the_code(path):
    found = faults(path.read_text(encoding="utf-8"))
    assert not found, "\n" + "\n".join(found)


def doc(section, entry, summary="Do it."):
    return (
        f'"""{summary}\n\n    {section}\n    {"-" * len(section)}\n    {entry}\n        What it is.\n    """'
    )


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("def short(x) -> None:\n    '''Say enough in one line.'''", None),
        ("def _private(x): pass\nclass _Private:\n    def inside(self): pass", None),
        ("def public(x): pass", "public has no docstring"),
        ("class Public:\n    '''One.'''\n    def inside(self): pass", "Public.inside has no docstring"),
        ("class Public: x = 1", "Public has no docstring"),
        (f"def f(x):\n    {doc('Kinds', 'x')}", "f: Kinds is not a section"),
        (f"def f(x, *rest, y=1, **more):\n    {doc('Parameters', 'x, y, *rest, **more : int')}", None),
        (f"def f(x):\n    {doc('Parameters', 'x, y')}", "f: Parameters names y"),
        (f"def _f(x):\n    {doc('Parameters', '**x_: int')}", "_f: Parameters names x_"),
        (f"class A:\n    {doc('Parameters', 'x')}\n    x: int", None),
        (f"class A(Base):\n    {doc('Parameters', 'x')}\n    y: int", None),
        (f"class A(NamedTuple):\n    {doc('Parameters', 'x')}\n    y: int", "A: Parameters names x"),
        (f"class A:\n    {doc('Parameters', 'x')}\n    def __init__(self, x): pass", None),
        (f"class A:\n    {doc('Parameters', 'x')}\n    def __init__(self, y): pass", "A: Parameters names x"),
        (f"def f() -> int:\n    {doc('Returns', 'int')}", None),
        (f"def f() -> None:\n    {doc('Returns', 'int')}", "f: Returns, and its annotation is None"),
        (f"def f():\n    {doc('Yields', 'int')}\n    yield 1", None),
        (f"def f():\n    {doc('Yields', 'int')}\n    return 1", "f: Yields, and it does not"),
        (f"import Stop\ndef f():\n    {doc('Raises', 'ValueError, Stop')}", None),
        (f"def f():\n    {doc('Raises', 'ValueError, Stop')}", "f: Raises names Stop"),
    ],
)
def test_a_contradiction_is_found_and_nothing_else(code, fault):
    assert faults(code) == ([fault] if fault else [])
