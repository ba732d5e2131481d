"""Every public function says in NumPy style what it takes, gives and raises."""

import ast
import inspect
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "d2lseg").rglob("*.py"))
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)


def public_functions(tree):
    """Yield (name, function) for the public functions and methods of public classes of a module."""
    for node in tree.body:
        if isinstance(node, FUNCTION) and not node.name.startswith("_"):
            yield node.name, node
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for inner in node.body:
                if isinstance(inner, FUNCTION) and not inner.name.startswith("_"):
                    yield f"{node.name}.{inner.name}", inner


def own_nodes(function):
    """Yield the nodes of a function without those of functions and classes defined in it."""
    stack = list(function.body)
    while stack:
        node = stack.pop()
        yield node
        if not isinstance(node, (*FUNCTION, ast.ClassDef, ast.Lambda)):
            stack.extend(ast.iter_child_nodes(node))


def sections(docstring):
    """Split a cleaned docstring at its underlined headings: heading -> text."""
    parts = re.split(r"^(\w[\w ]*)\n-+$", docstring, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def entries(section):
    """Give the names at the heads of a section's entries, stars taken off."""
    heads = re.findall(r"^(\S.*)$", section, re.MULTILINE)
    return {name.strip().lstrip("*").strip("`") for head in heads for name in head.split(" :")[0].split(",")}


def parameters(function):
    """List the names of the parameters, without self and cls."""
    arguments = function.args
    given = [
        *arguments.posonlyargs,
        *arguments.args,
        arguments.vararg,
        *arguments.kwonlyargs,
        arguments.kwarg,
    ]
    return [a.arg for a in given if a is not None and a.arg not in ("self", "cls")]


def raised(function):
    """Give the names of the exceptions that a function raises itself; a bare ``raise`` names none."""
    found = [node.exc for node in own_nodes(function) if isinstance(node, ast.Raise) and node.exc is not None]
    calls = [exc.func if isinstance(exc, ast.Call) else exc for exc in found]
    return {ast.unparse(exc).split(".")[-1] for exc in calls}


def decorators(function):
    """Give the names of a function's decorators."""
    return {ast.unparse(d.func if isinstance(d, ast.Call) else d) for d in function.decorator_list}


def faults(source):
    """Say what the docstrings of a module lack."""
    found = []
    for name, function in public_functions(ast.parse(source)):
        text = ast.get_docstring(function)
        if not text:
            found.append(f"{name} has no docstring")
            continue
        # A check of an exercise takes the student's answer; the engine says what it returns.
        if decorators(function) & {"check", "property", "overload"}:
            continue
        found += [f"{name}: {fault}" for fault in section_faults(function, sections(inspect.cleandoc(text)))]
    return found


def section_faults(function, found):
    """Yield what the sections of one docstring lack."""
    missing = [name for name in parameters(function) if name not in entries(found.get("Parameters", ""))]
    if missing:
        yield f"Parameters lacks {missing}"
    nodes = list(own_nodes(function))
    if any(isinstance(node, (ast.Yield, ast.YieldFrom)) for node in nodes):
        if not {"Yields", "Returns"} & set(found):
            yield "no Yields section"
    elif (
        any(isinstance(node, ast.Return) and not empty(node.value) for node in nodes)
        and "Returns" not in found
    ):
        yield "no Returns section"
    # Names in small letters are variables: which exception it is cannot be seen here.
    names = raised(function)
    unsaid = {n for n in names if n[:1].isupper()} - entries(found.get("Raises", ""))
    if unsaid or (names and "Raises" not in found):
        yield f"Raises lacks {sorted(unsaid or names)}"


def empty(value):
    """Whether a return gives nothing."""
    return value is None or (isinstance(value, ast.Constant) and value.value is None)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_public_functions_are_described(path):
    found = faults(path.read_text(encoding="utf-8"))
    assert not found, "\n" + "\n".join(found)


GOOD = '''
def scale(x, *rest, factor=2, **more):
    """Scale.

    Parameters
    ----------
    x, factor
        Numbers.
    *rest, **more : Any
        Passed on.

    Returns
    -------
    float
        The product.

    Raises
    ------
    ValueError
        Where it is negative.
    """
    def inner():
        raise KeyError
    if x < 0:
        raise ValueError("negative")
    try:
        return x * factor
    except TypeError:
        raise


class Thing:
    """A thing."""

    def __init__(self, a):
        self.a = a

    @property
    def size(self):
        """Its size."""
        return 1

    def numbers(self):
        """Count.

        Yields
        ------
        int
        """
        yield 1

    def nothing(self):
        """Do nothing."""
        return None


def _private(x):
    return x


@check("hint")
def answer(x):
    """Check it."""
    return x
'''


def test_a_well_described_sample_has_no_faults():
    assert faults(GOOD) == []


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('        """Its size."""\n', "", "Thing.size has no docstring"),
        ("    x, factor\n", "    factor\n", "scale: Parameters lacks ['x']"),
        ("    *rest, **more", "    **more", "scale: Parameters lacks ['rest']"),
        ("    Parameters\n    ----------\n", "", "Parameters lacks"),
        ("    Returns\n    -------\n", "", "scale: no Returns section"),
        ("        Yields\n        ------\n", "", "Thing.numbers: no Yields section"),
        ("    Raises\n    ------\n", "", "scale: Raises lacks ['ValueError']"),
        ('raise ValueError("negative")', "raise errors.TooSmall()", "scale: Raises lacks ['TooSmall']"),
        ('@check("hint")\n', "", "answer: Parameters lacks ['x']"),
        ("return None", "return 1", "Thing.nothing: no Returns section"),
    ],
)
def test_a_gap_is_found(old, new, words):
    assert old in GOOD
    assert any(words in fault for fault in faults(GOOD.replace(old, new, 1)))
