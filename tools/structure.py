"""Measure d2lseg against its limits: lines of code, docstrings, private uses, imports and hops to the loss.

``python -m tools.structure`` prints the numbers, and exits with 1 where a limit is broken. Everything is read
from the syntax trees; the package itself is never imported.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import sys
import textwrap
import tokenize
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "d2lseg"
USERS = ("tests", "tools", "benchmarks")  # where private uses are looked for, beside the package itself

CORE = "upsampling classes voc emojivoc backbones fcn metrics training prediction plotting".split()
# Imports point from a higher number to a lower one. The four on top do not import each other.
LAYERS = {
    "engine": 0,
    "core": 1,
    "datasets": 2,
    "cli": 3,
    "exercises": 3,
    "widgets": 3,
    "experiments": 3,
    "beyond": 2,
}
EXCEPTION = ("voc", "download", "datasets")  # module, its function, and what that function may import

MOST_CORE = 1800  # lines of code in the core
MOST_MODULE = 250  # lines of code in a module of the core
MOST_DOCS = 0.5  # docstring lines per line of code in the core
MOST_HOPS = 3  # from START to TARGET
MOST_TRAIN = 80  # lines of code in START
MOST_PARAMETERS = 16  # of START
START = f"{PACKAGE}.training.train"
TARGET = "torch.nn.functional.cross_entropy"

FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
LAYOUT = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
    tokenize.ENCODING, tokenize.ENDMARKER,
}  # fmt: skip
# Methods that Python's own types have too: a call of one says nothing about the class.
COMMON = set().union(*(dir(kind) for kind in (dict, list, set, str, bytes, Path, io.TextIOWrapper)))


class Module:
    """A source file: its tree, its lines, and what its imported names stand for."""

    def __init__(self, path: Path, root: Path) -> None:
        parts = path.relative_to(root).with_suffix("").parts
        self.is_package = parts[-1] == "__init__"
        self.name = ".".join(parts[:-1] if self.is_package else parts)
        self.place = path.relative_to(root).as_posix()
        self.source = path.read_text(encoding="utf-8")
        self.tree = ast.parse(self.source)

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """All nodes of the tree."""
        return list(ast.walk(self.tree))

    @cached_property
    def doc_lines(self) -> set[int]:
        """Lines of docstrings, blank ones included; any string that stands alone is one."""
        alone = [n for n in self.nodes if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)]
        strings = [n for n in alone if isinstance(n.value.value, str)]
        return {line for n in strings for line in range(n.lineno, n.end_lineno + 1)}

    @cached_property
    def code_lines(self) -> set[int]:
        """Lines that hold more than a comment or a docstring."""
        tokens = tokenize.generate_tokens(io.StringIO(self.source).readline)
        spans = [(t.start[0], t.end[0]) for t in tokens if t.type not in LAYOUT]
        return {line for first, last in spans for line in range(first, last + 1)} - self.doc_lines

    def code_in(self, node: ast.FunctionDef) -> int:
        """Count the lines of code of a function, its signature included."""
        return len(self.code_lines & set(range(node.lineno, node.end_lineno + 1)))

    @cached_property
    def imports(self) -> list[tuple[ast.stmt, str, str, str]]:
        """Each import of the file: (statement, name here, what the name stands for, what is loaded).

        The last two differ for ``import a.b`` alone, where ``a`` stands for ``a``.
        """
        found = []
        for node in self.nodes:
            if isinstance(node, ast.Import):
                for a in node.names:
                    top = a.name.split(".")[0]
                    found.append((node, a.asname or top, a.name if a.asname else top, a.name))
            elif isinstance(node, ast.ImportFrom):
                full = {a: f"{self._base(node)}.{a.name}" for a in node.names}
                found += [(node, a.asname or a.name, full[a], full[a]) for a in node.names]
        return found

    def _base(self, node: ast.ImportFrom) -> str:
        """Return the full name of the module after ``from``."""
        if not node.level:
            return node.module
        parts = self.name.split(".")
        parts = parts[: len(parts) - node.level + self.is_package]
        return ".".join([*parts, node.module] if node.module else parts)

    @cached_property
    def names(self) -> dict[str, str]:
        """What a name stands for: an import, or a function or class of this file."""
        own = {
            n.name: f"{self.name}.{n.name}"
            for n in self.tree.body
            if isinstance(n, (*FUNCTION, ast.ClassDef))
        }
        return {name: full for _, name, full, _ in self.imports} | own


class Package:
    """All modules, functions and classes of the package, by their full names."""

    def __init__(self, root: Path) -> None:
        paths = sorted((root / PACKAGE).rglob("*.py"))
        self.modules = {m.name: m for m in (Module(path, root) for path in paths)}
        self.functions: dict[str, tuple[Module, ast.FunctionDef]] = {}
        self.classes: dict[str, ast.ClassDef] = {}
        self.methods: dict[str, list[str]] = {}
        for module in self.modules.values():
            self._collect(module, module.tree.body, module.name)

    def _collect(self, module: Module, body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.ClassDef):
                self.classes[f"{prefix}.{node.name}"] = node
                self._collect(module, node.body, f"{prefix}.{node.name}")
            elif isinstance(node, FUNCTION):
                self.functions[f"{prefix}.{node.name}"] = module, node
                if prefix in self.classes:
                    self.methods.setdefault(node.name, []).append(f"{prefix}.{node.name}")

    def module_of(self, full: str) -> str | None:
        """Return the module in which a full name lies, or None outside the package."""
        while full not in self.modules:
            full, dot, _ = full.rpartition(".")
            if not dot:
                return None
        return full

    def resolve(self, full: str) -> str:
        """Follow a name through the modules that import it to where it is defined."""
        for _ in range(9):  # a chain of imports is never that long, unless it goes round
            module = self.module_of(full)
            rest = full[len(module) + 1 :].split(".") if module else [""]
            target = self.modules[module].names.get(rest[0]) if rest[0] else None
            if target is None or target == f"{module}.{rest[0]}":
                break
            full = ".".join([target, *rest[1:]])
        return full


def dotted(node: ast.AST) -> list[str]:
    """Return the parts of ``a.b.c``, or nothing for another expression."""
    if isinstance(node, ast.Name):
        return [node.id]
    before = dotted(node.value) if isinstance(node, ast.Attribute) else []
    return [*before, node.attr] if before else []


def group(name: str) -> str:
    """Return the part of the package that a module belongs to; "" where it is in none."""
    first = name.removeprefix(PACKAGE).strip(".").split(".")[0]
    if first == "__main__":
        return "cli"
    return "core" if first in CORE else first if first in LAYERS else ""


# --- private uses -------------------------------------------------------------------------------------------


def is_private(name: str) -> bool:
    """Tell whether a name is private: one leading underscore, and not Python's own."""
    return name.startswith("_") and not name.startswith("__")


def private_owner(package: Package, full: str) -> str | None:
    """Return the module whose private name a full name goes through, if any."""
    reached, *parts = full.split(".")
    for part in parts:
        if is_private(part):
            return package.module_of(reached)
        reached = package.resolve(f"{reached}.{part}")
    return None


def mentions(user: Module) -> Iterator[tuple[int, str]]:
    """Yield (line, full name) of whatever a file says about imported modules and names."""
    for node, _, _, full in user.imports:
        yield node.lineno, full
    for node in user.nodes:
        if isinstance(node, ast.Attribute):
            yield node.lineno, full_name(user, node)
        # setattr(voc, "_name", ...), also where module and name lie in a tuple of cases
        inside = getattr(node, "args", None) or getattr(node, "elts", None)
        for one, two in pairwise(inside if isinstance(inside, list) else []):
            if isinstance(two, ast.Constant) and isinstance(two.value, str) and full_name(user, one):
                yield node.lineno, f"{full_name(user, one)}.{two.value}"
        if isinstance(node, ast.Constant) and re.fullmatch(rf"{PACKAGE}(\.\w+)+", str(node.value)):
            yield node.lineno, node.value


def full_name(user: Module, node: ast.AST) -> str:
    """Spell out ``a.b.c`` where ``a`` is imported; a private ``a`` was counted where it is imported."""
    parts = dotted(node)
    start = user.names.get(parts[0], "") if parts else ""
    return "" if any(map(is_private, start.split("."))) else ".".join([start, *parts[1:]])


def is_own_test(user: str, module: str) -> bool:
    """Tell whether a file is the test of a module, or of the package that the module lies in."""
    parts = [part.strip("_") for part in module.split(".")[1:]]
    names = {"_".join(parts[i:j]) for i in range(len(parts)) for j in range(i + 1, len(parts) + 1)}
    return user.startswith("tests.test_") and user.removeprefix("tests.test_") in names


def private_uses(package: Package, root: Path) -> tuple[list[str], int]:
    """List private names used outside their modules, and count those in a module's own test, which may."""
    paths = [path for folder in USERS for path in sorted((root / folder).rglob("*.py"))]
    users = chain(package.modules.values(), (Module(path, root) for path in paths))  # a tree at a time
    found, own = {}, set()
    for user in users:
        for line, full in mentions(user):
            owner = private_owner(package, full)
            if owner is None or f"{user.name}.".startswith(f"{owner}."):
                continue
            if is_own_test(user.name, package.module_of(full)):
                own.add((user.place, line))
            else:
                found[user.place, line] = full
    return [f"{place}:{line} {full}" for (place, line), full in sorted(found.items())], len(own)


# --- imports ------------------------------------------------------------------------------------------------


def wrong_imports(package: Package) -> list[str]:
    """List the imports against the direction, in functions too."""
    found = {}
    for module in package.modules.values():
        allowed = excepted(module)
        for node, _, _, full in module.imports:
            target = package.module_of(full)
            is_excepted = node in allowed and group(target or "") == EXCEPTION[2]
            if target and not is_excepted and not may_import(module.name, target):
                found[f"{module.place}:{node.lineno} imports {target}"] = None
    return list(found)


def excepted(module: Module) -> set[ast.AST]:
    """Collect the nodes of the one function that may import from above."""
    name, function, _ = EXCEPTION
    inside = module.tree.body if module.name == f"{PACKAGE}.{name}" else []
    return {n for f in inside if isinstance(f, FUNCTION) and f.name == function for n in ast.walk(f)}


def may_import(user: str, target: str) -> bool:
    """Tell whether a module may import another."""
    if user == PACKAGE:
        return False  # it holds the version only
    ours, theirs = group(user), group(target)
    if not ours or not theirs:
        return True  # the version, or a module in no group, which is reported by itself
    return ours == theirs or LAYERS[ours] > LAYERS[theirs]


# --- hops ---------------------------------------------------------------------------------------------------


class Calls:
    """The calls of one function, as far as names tell: through imports, ``self``, and unique methods."""

    def __init__(self, package: Package, name: str) -> None:
        self.package, self.owner = package, name.rpartition(".")[0]
        self.module, self.node = package.functions[name]

    def all(self) -> Iterator[str]:
        """Yield the full names of what is called, or handed to a call to be called there."""
        for call in ast.walk(self.node):
            if isinstance(call, ast.Call):
                yield from self.of(call.func)
                for argument in [*call.args, *(keyword.value for keyword in call.keywords)]:
                    if (full := self.named(argument)) in self.package.functions:
                        yield full

    def named(self, node: ast.AST) -> str:
        """Return the full name of what an imported or module-level name stands for."""
        parts = dotted(node)
        if not parts or parts[0] not in self.module.names:
            return ""
        return self.package.resolve(".".join([self.module.names[parts[0]], *parts[1:]]))

    def of(self, func: ast.expr) -> list[str]:
        """Return what a call's function may be."""
        full, parts = self.named(func), dotted(func)
        if full in self.package.classes:
            return [f"{full}.__init__"]
        if full in self.package.functions or (full and not self.package.module_of(full)):
            return [full]
        if parts[:1] == ["self"] and self.owner in self.package.classes and len(parts) == 2:
            if found := self.method(self.owner, parts[1]):
                return [found]
        if parts and (values := self.values(parts)):
            return values
        if isinstance(func, ast.Attribute) and func.attr not in COMMON:
            known = self.package.methods.get(func.attr, [])
            return known if len(known) == 1 else []
        return []

    def method(self, owner: str, name: str) -> str | None:
        """Find a method in a class of the package or its bases."""
        if f"{owner}.{name}" in self.package.functions:
            return f"{owner}.{name}"
        bases = [self.named(base) for base in self.package.classes[owner].bases]
        found = [self.method(base, name) for base in bases if base in self.package.classes]
        return next(filter(None, found), None)

    def values(self, parts: list[str]) -> list[str]:
        """Return the functions of the package that a variable, attribute or parameter may stand for."""
        scope = self.package.classes.get(self.owner, self.node) if parts[0] == "self" else self.node
        given, keywords = self.node.args.args, self.node.args.kwonlyargs
        defaults = list(zip(reversed(given), reversed(self.node.args.defaults), strict=False))
        defaults += zip(keywords, self.node.args.kw_defaults, strict=True)
        found = [value for argument, value in defaults if value and [argument.arg] == parts]
        for node in ast.walk(scope):
            if isinstance(node, ast.Assign) and parts in map(dotted, node.targets):
                found.append(node.value)
        names = [self.named(node) for value in found for node in ast.walk(value)]
        calls = [f"{name}.{call}" for name in names for call in ("__call__", "forward")]
        return [name for name in names + calls if name in self.package.functions]


def path_to_loss(package: Package) -> list[str]:
    """Find the shortest way through the calls from START to TARGET; empty where there is none."""
    before, queue = {START: ""}, deque([START])
    while queue:
        name = queue.popleft()
        if name == TARGET:
            way = [name]
            while before[way[0]]:
                way.insert(0, before[way[0]])
            return way
        for called in Calls(package, name).all() if name in package.functions else ():
            if called not in before:
                before[called] = name
                queue.append(called)
    return []


# --- report -------------------------------------------------------------------------------------------------


@dataclass
class Size:
    """Lines of a module or a group of modules."""

    code: int = 0
    docs: int = 0

    def __add__(self, other: Size) -> Size:
        return Size(self.code + other.code, self.docs + other.docs)

    def row(self, name: str, rest: str = "") -> str:
        """Format a row of the table."""
        return f"{name:<18}{self.code:>6}{self.docs:>6}{self.docs / max(1, self.code):>7.2f}  {rest}".rstrip()


@dataclass
class Report:
    """All that is measured."""

    sizes: dict[str, Size]
    functions: dict[str, int]
    parameters: int
    private: list[str]
    private_in_own_tests: int
    imports: list[str]
    path: list[str]

    def total(self, part: str) -> Size:
        """Add up the modules of a group; "" is those in none."""
        return sum((size for name, size in self.sizes.items() if group(name) == part), Size())

    @property
    def homeless(self) -> list[str]:
        """The modules in no group."""
        return [name for name in self.sizes if name != PACKAGE and not group(name)]


def measure(root: Path = ROOT) -> Report:
    """Measure the package in a folder."""
    package = Package(root)
    sizes = {m.name: Size(len(m.code_lines), len(m.doc_lines)) for m in package.modules.values()}
    functions = {name: module.code_in(node) for name, (module, node) in package.functions.items()}
    parameters = 0
    if START in package.functions:
        given = package.functions[START][1].args
        parameters = len([*given.posonlyargs, *given.args, *given.kwonlyargs])
        parameters += (given.vararg is not None) + (given.kwarg is not None)
    private, own = private_uses(package, root)
    path = path_to_loss(package)
    return Report(sizes, functions, parameters, private, own, wrong_imports(package), path)


def broken(report: Report) -> list[str]:
    """List the limits that are broken."""
    core, start, hops = report.total("core"), short(START), len(report.path) - 1
    lines = {name: size.code for name, size in report.sizes.items() if group(name) == "core"}
    limits = [
        ("the core: lines of code", core.code, MOST_CORE),
        *((f"{short(name)}: lines of code", code, MOST_MODULE) for name, code in lines.items()),
        ("the core: docstring lines", core.docs, int(core.code * MOST_DOCS)),
        ("modules in no group", len(report.homeless), 0),
        (f"{start}: lines of code", report.functions.get(START, 0), MOST_TRAIN),
        (f"{start}: parameters", report.parameters, MOST_PARAMETERS),
        (f"hops from {start} to {short(TARGET)}", hops, MOST_HOPS),
        ("private uses across modules", len(report.private), 0),
        ("imports against the direction", len(report.imports), 0),
    ]
    faults = [f"{what}: {found}, at most {most}" for what, found, most in limits if found > most]
    return faults if report.path else [*faults, f"no path found from {start} to {short(TARGET)}"]


def short(text: str) -> str:
    """Leave out what all names have in common."""
    return text.replace(f"{PACKAGE}.", "").replace("torch.nn.functional.", "F.")


def table(report: Report) -> Iterator[str]:
    """Yield the rows: the core by module, each other group with its modules as code+docs."""
    yield f"{'':<18}{'code':>6}{'docs':>6}{'share':>7}"
    yield from (size.row(short(name)) for name, size in report.sizes.items() if group(name) == "core")
    yield report.total("core").row("core, all")
    for part in [part for part in LAYERS if part != "core"]:
        yield from group_rows(report, part, [name for name in report.sizes if group(name) == part])
    yield from group_rows(report, "", report.homeless)
    yield sum(report.sizes.values(), Size()).row("all")


def group_rows(report: Report, part: str, names: list[str]) -> Iterator[str]:
    """Yield the row of a group, with its modules behind it."""
    if names:
        sizes = [report.sizes[name] for name in names]
        short_names = [short(name).removeprefix(f"{part}.") for name in names]
        each = [f"{name}~{s.code}+{s.docs}" for name, s in zip(short_names, sizes, strict=True) if s.code]
        first, *others = textwrap.wrap(", ".join(each), 69) if len(each) > 1 else [""]
        yield sum(sizes, Size()).row(part or "in no group", first).replace("~", " ")
        yield from (" " * 39 + line.replace("~", " ") for line in others)


def text(report: Report) -> str:
    """Write the report."""
    largest = max(report.functions, key=report.functions.__getitem__)
    long, hops = sum(size > 25 for size in report.functions.values()), len(report.path) - 1
    faults = broken(report)
    lines = [
        *table(report),
        "",
        f"largest function: {short(largest)}, {report.functions[largest]} lines of code; "
        f"above 25: {long} of {len(report.functions)}",
        f"{short(START)}: {report.functions.get(START, 0)} lines of code, {report.parameters} parameters",
        f"hops from {short(START)} to {short(TARGET)}: {hops if report.path else 'no path found'}",
        *textwrap.wrap(short(" -> ".join(report.path)), 108, initial_indent="  ", subsequent_indent="  "),
        f"private uses across modules: {len(report.private)} "
        f"(and {report.private_in_own_tests} in the modules' own tests, which are allowed)",
        *(f"  {line}" for line in report.private),
        f"imports against the direction: {len(report.imports)}",
        *(f"  {line}" for line in report.imports),
        f"limits broken: {len(faults)}",
        *(f"  {fault}" for fault in faults),
    ]
    return "\n".join(lines)


def main() -> int:
    """Print the report of a checkout."""
    parser = argparse.ArgumentParser(prog="python -m tools.structure", description=__doc__.split("\n")[0])
    parser.add_argument("root", nargs="?", type=Path, default=ROOT, help="a checkout; default this one")
    report = measure(parser.parse_args().root)
    print(text(report))
    return int(bool(broken(report)))


if __name__ == "__main__":
    sys.exit(main())
