"""The files around the code: citation, changelog, CI, issue templates and hooks agree with the project."""

import re
from pathlib import Path

import pytest
import yaml

import tasks
from d2lseg import __version__

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[0-9]-*.yml"))


def load(*names):
    """Read a YAML file of the repository."""
    return yaml.safe_load(ROOT.joinpath(*names).read_text(encoding="utf-8"))


def items(name):
    """Give the strings of a list in pyproject.toml; Python 3.10 has no reader for TOML."""
    body = re.search(rf"^{name} = \[(.*?)^\]$", PYPROJECT, re.MULTILINE | re.DOTALL)[1]
    return re.findall(r'^    "(.*)",$', body, re.MULTILINE)


def test_the_citation_names_this_version_and_the_licences_authors():
    citation = load("CITATION.cff")
    assert citation["version"] == __version__
    (author,) = citation["authors"]
    assert f"Copyright (c) 2026 {author['name']}\n" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert " AND ".join(citation["license"]) in PYPROJECT


def test_changelog_module_and_citation_name_the_same_release():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    released = [heading for heading in headings if heading != "[Unreleased]"]
    assert headings[headings[0] == "[Unreleased]" :] == released, "what is not released stands on top"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", heading) for heading in released)
    date = load("CITATION.cff")["date-released"]
    assert released[0] == f"[{__version__}] - {date}"


def test_the_citation_has_what_its_format_asks_for_and_nothing_else():
    citation = load("CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    required = {"cff-version", "message", "title", "authors"}
    known = required | {"type", "abstract", "version", "date-released", "license", "keywords", "url", "doi"}
    assert required <= set(citation) <= known | {"repository-code"}
    assert citation["type"] in ("software", "dataset")
    assert all(isinstance(citation[name], str) for name in required - {"authors"} | {"version", "abstract"})


@pytest.mark.parametrize(("page", "limit"), [("README.md", 900), ("CONTRIBUTING.md", 700)])
def test_the_first_pages_stay_short(page, limit):
    assert len((ROOT / page).read_text(encoding="utf-8").split()) <= limit


def test_each_erratum_names_released_versions():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    page = (ROOT / "docs" / "errata.md").read_text(encoding="utf-8")
    for row in re.findall(r"^\| (\d.*) \|$", page, re.MULTILINE):
        version, *_, fixed = row.split(" | ")
        assert f"## [{version}] - " in changelog and (fixed == "not yet" or f"## [{fixed}]" in changelog)


def test_ci_runs_every_lane():
    workflow = load(".github", "workflows", "test.yml")
    events = workflow[True]  # YAML 1.1 reads the key "on" as true
    assert set(events) == {"push", "pull_request", "schedule"}
    jobs = workflow["jobs"]
    matrix = jobs["fast"]["strategy"]["matrix"]
    assert matrix["os"] == ["ubuntu-latest", "macos-latest", "windows-latest"]
    assert matrix["python"] == [".".join(map(str, tasks.OLDEST)), "3.13"]
    for name, command in {
        "fast": 'python -m pytest tests -m "not slow"',
        "oldest": 'python -m pytest tests -m "not slow"',
        "whole": "make test",
    }.items():
        assert jobs[name]["steps"][-1]["run"] == command


def test_the_oldest_packages_in_ci_are_the_lower_bounds():
    lines = (ROOT / ".github" / "oldest.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert pins == [re.sub(">=(.*)", r"==\1.*", requirement) for requirement in items("dependencies")]


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_an_issue_template_asks_for_something(path):
    form = load(path)
    assert form["name"] and form["description"]
    assert any(field.get("validations", {}).get("required") for field in form["body"])
    assert len({field["id"] for field in form["body"]}) == len(form["body"])


def test_there_is_a_template_for_notebook_module_and_question():
    assert [path.stem for path in FORMS] == ["1-notebook", "2-module", "3-question"]
    assert load(".github", "ISSUE_TEMPLATE", "config.yml") == {"blank_issues_enabled": True}


def test_hooks_need_no_network():
    (repo,) = load(".pre-commit-config.yaml")["repos"]
    assert repo["repo"] == "local"
    assert {hook["language"] for hook in repo["hooks"]} == {"system"}
    entries = {hook["entry"] for hook in repo["hooks"]}
    assert {"ruff check --force-exclude", "ruff format --force-exclude"} <= entries
    assert any("pre-commit-hooks" in item for item in items("hooks"))
