"""How the website's pages are gathered and fitted, without Sphinx; ``test_site.py`` builds them."""

import json
import re
from pathlib import Path

import pytest
import yaml

from tools import website
from tools.structure import CORE

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "site"


@pytest.mark.parametrize(
    ("text", "caption"),
    [
        ("Figure: a kernel,\nenlarged.", "A kernel, enlarged."),
        ("Figure: ", ""),
        ("The figure: a kernel.", None),
        ("Five 3 x 3 tables.", None),
    ],
)
def test_a_caption_is_known_by_its_first_word(text, caption):
    assert website.caption_of(text) == caption


def test_an_image_is_described_by_its_caption():
    assert website.alternative_texts("A kernel.", "1. Stamps", 1) == ["A kernel."]
    assert website.alternative_texts("Maps.", "1. Stamps", 2) == [
        "Image 1 of 2. Maps.",
        "Image 2 of 2. Maps.",
    ]


@pytest.mark.parametrize("caption", [None, ""])
def test_without_a_caption_the_section_tells_where_an_image_is(caption):
    (text,) = website.alternative_texts(caption, "1. Stamps", 1)
    assert text == "Output of a cell in the section “1. Stamps”"


@pytest.mark.parametrize(
    ("page", "before", "after"),
    [
        ("index", "[a](notebooks/solutions)", "[a](notebooks/solutions/index.md)"),
        ("index", "[a](notebooks/solutions/), [b](docs)", "[a](notebooks/solutions/index.md), [b](index.md)"),
        ("notebooks/01_x", "[a](solutions)", "[a](solutions/index.md)"),
        ("notebooks/solutions/01_x", "[a](..)", "[a](../../index.md)"),
        ("docs/y", "[a](../notebooks/solutions)", "[a](../notebooks/solutions/index.md)"),
        ("docs/y", "[a](results.md), [b](../data/README.md)", "[a](results.md), [b](../data/README.md)"),
        ("docs/y", "[a](https://example.org/docs), x[i](docs)", "[a](https://example.org/docs), x[i](docs)"),
    ],
)
def test_a_link_to_a_folder_leads_to_its_page(page, before, after):
    assert website.folder_links(before, page) == after


def test_linked_files_are_those_of_the_repository(tmp_path):
    root, outside = tmp_path / "course", tmp_path / "outside.txt"
    (root / "docs").mkdir(parents=True)
    for path in (outside, root / "LICENSE", root / "docs" / "a.png", root / "docs" / "b.md"):
        path.touch()
    text = "![a](a.png) [b](b.md#part) [c](../LICENSE) [d](gone.md) [e](../../outside.txt) [f](https://x.org/a.png)"
    for written in (text, json.dumps([f"{text}\n"])):
        found = [path.name for path in website.linked_files(written, root / "docs", root)]
        assert found == ["a.png", "b.md", "LICENSE"]


@pytest.fixture(scope="module")
def gathered(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site") / "sources"
    website.gather(ROOT, folder)
    return folder


def test_all_notebooks_and_pages_are_gathered_as_they_are(gathered):
    notebooks = list((ROOT / "notebooks").rglob("[0-9]*.ipynb"))
    for path in [*notebooks, *(ROOT / "docs").glob("*.*"), ROOT / "LICENSE", ROOT / "data" / "README.md"]:
        assert (gathered / path.relative_to(ROOT)).read_bytes() == path.read_bytes()
    assert len(notebooks) > 20


def test_what_was_gathered_before_is_gone(tmp_path):
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "old.md").touch()
    website.gather(ROOT, tmp_path / "sources")
    assert not (tmp_path / "sources" / "old.md").exists()


def named(folder, page):
    """List the pages that a page's tables of contents name."""
    text = (folder / f"{page}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```{toctree}(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line and line[0] != ":"]
    return {path for line in lines for path in (folder / page).parent.glob(f"{line}.*")}


def test_the_front_page_is_the_readme_and_leads_to_every_page(gathered):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert (gathered / "index.md").read_text(encoding="utf-8").startswith(readme)
    pages = {path for path in gathered.rglob("*.*") if path.suffix in {".md", ".ipynb"}}
    found = set().union(
        *(named(gathered, page) for page in ("index", "notebooks/solutions/index", "api/index"))
    )
    assert pages - found == {gathered / "index.md"}


def test_each_module_of_the_core_has_a_page(gathered):
    assert {path.stem for path in (gathered / "api").glob("*.md")} == {*CORE, "index"}
    assert "automodule:: d2lseg.voc\n" in (gathered / "api" / "voc.md").read_text("utf-8")


def test_mathjax_is_whole_and_has_its_licence():
    folder = SITE / "static" / "mathjax"
    code = (folder / "tex-chtml.js").read_text(encoding="utf-8")
    fonts = {path.name for path in (folder / "output/chtml/fonts/woff-v2").glob("*.woff")}
    named = {f"MathJax_{name}.woff" for name in re.findall(r"%%URL%%/MathJax_([\w-]+)\.woff", code)}
    assert named and named <= fonts
    assert "Apache License" in (folder / "LICENSE").read_text(encoding="utf-8")
    version = re.search(r'VERSION="([\d.]+)"', code)[1]
    assert f"version {version}." in (folder / "README.md").read_text(encoding="utf-8")


def test_the_workflow_publishes_what_make_site_builds():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "site.yml").read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    build, publish = workflow["jobs"]["build"]["steps"], workflow["jobs"]["publish"]
    assert build[-2]["run"] == "make site" and "\nsite:\n" in (ROOT / "Makefile").read_text(encoding="utf-8")
    assert build[-1]["uses"].startswith("actions/upload-pages-artifact@")
    assert build[-1]["with"] == {"path": "build/html"}
    assert publish["needs"] == "build" and publish["permissions"] == {"pages": "write", "id-token": "write"}
    assert publish["steps"][-1]["uses"].startswith("actions/deploy-pages@")
