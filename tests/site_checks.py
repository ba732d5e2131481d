"""What holds for each page of the website: ``static_faults`` reads its file, ``page_faults`` the browser.

Each gives a list of sentences, which is empty for a good page.
"""

import os
import shutil
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
# What makes a browser fetch something; a link (href of "a") fetches nothing until it is followed.
FETCHED = {("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("link", "href")}
SERIOUS = ("serious", "critical")
AXE = {"resultTypes": ["violations"], "preload": False}  # "preload" would read every style sheet again
CONTRAST = "color-contrast"
# What axe-core reads: pairs of a part of the page (None: all) and options. On a notebook's page, half of its
# time goes into the contrast of code.
WHOLE = [(None, AXE)]
ALL_BUT_THE_COLOURS_OF_CODE = [
    (None, {**AXE, "rules": {CONTRAST: {"enabled": False}}}),
    ({"exclude": [["pre"]]}, {**AXE, "runOnly": {"type": "rule", "values": [CONTRAST]}}),
]
# What depends on the width: the keyboard must reach whatever scrolls.
SCROLLING = [(None, {**AXE, "runOnly": {"type": "rule", "values": ["scrollable-region-focusable"]}})]


def browser_path():
    """Return the path of an installed browser; without one, skip, or fail where CI is set."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        reason = "no Chromium or Chrome is on this machine (Debian and Ubuntu: apt install chromium)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


# --- the file -----------------------------------------------------------------------------------------------


@dataclass
class Contents(HTMLParser):
    """The anchors, links, fetched addresses and images of a page."""

    anchors: set = field(default_factory=set)
    links: list = field(default_factory=list)
    fetched: list = field(default_factory=list)
    images: list = field(default_factory=list)

    def __post_init__(self):
        """Start the parser."""
        super().__init__()

    def handle_starttag(self, tag, attrs):
        """Note what an element holds."""
        values = dict(attrs)
        self.anchors |= {values[name] for name in ("id", "name") if values.get(name)}
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        if tag == "img":
            self.images.append((values.get("src", ""), values.get("alt")))
        self.fetched += [
            values[name] for name in ("src", "href") if (tag, name) in FETCHED and name in values
        ]


def contents(path):
    """Parse a page."""
    parser = Contents()
    parser.feed(Path(path).read_text(encoding="utf-8"))
    return parser


def is_file_name(text):
    """Whether an alternative text is one that Sphinx makes of a path."""
    return " " not in text.strip() and ("/" in text or text.endswith((".png", ".jpg", ".jpeg", ".svg")))


def link_faults(path, link, folder, pages):
    """Name a link within the site that leads nowhere."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return []
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path.resolve()
    if target.is_dir():
        target /= "index.html"
    if not target.is_file() or not target.is_relative_to(folder.resolve()):
        return [f"broken link {link}"]
    if parts.fragment and target.suffix == ".html":
        if target not in pages:
            pages[target] = contents(target)
        if unquote(parts.fragment) not in pages[target].anchors:
            return [f"broken link {link}: no such part"]
    return []


def static_faults(path, folder, pages):
    """List broken links, images without a proper alternative text, and addresses of other hosts.

    ``pages`` keeps parsed pages between calls.
    """
    page = pages[path.resolve()] = contents(path)
    faults = [fault for link in page.links for fault in link_faults(path, link, folder, pages)]
    faults += [f"{a} would be fetched" for a in page.fetched if urlsplit(a).netloc]
    faults += [f"image {src}: its alternative text is {alt!r}" for src, alt in page.images if bad_alt(alt)]
    return [f"{path.relative_to(folder).as_posix()}: {fault}" for fault in faults]


def bad_alt(alt):
    """Whether an alternative text is missing, empty, or a file name."""
    return not alt or not alt.strip() or is_file_name(alt)


# --- the browser's page -------------------------------------------------------------------------------------

TYPESET = """async () => {
  if (window.MathJax && MathJax.startup) await MathJax.startup.promise;
  const faults = [];
  for (const node of document.querySelectorAll('.math')) {
    const done = node.querySelector('mjx-container');
    if (!done || node.querySelector('mjx-merror, [data-mjx-error]'))
      faults.push('formula not typeset: ' + node.textContent.slice(0, 80));
  }
  const texts = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode;
    if (/\\$\\$|\\\\[(\\[]/.test(text.data) && !text.parentElement.closest('pre, code, script, style'))
      faults.push('raw TeX: ' + text.data.slice(0, 80));
  }
  return faults;
}"""

SIDEWAYS = """() => {
  const width = document.documentElement.scrollWidth;
  return width > innerWidth + 1 ? [`it scrolls sideways: ${width} pixels in ${innerWidth}`] : [];
}"""

# Number what the Tab key ought to reach in a part of the page, and note what it does reach.
EXPECT = """part => {
  const wanted = 'a[href], button, input, select, textarea, summary, [tabindex]';
  const seen = node => node.checkVisibility({visibilityProperty: true}) && node.getClientRects().length;
  window.stops = [...document.querySelectorAll(wanted)].filter(
    node => node.tabIndex >= 0 && !node.disabled && !node.closest('[inert]') && seen(node));
  window.wanted = window.stops.filter(node => node.closest(part));
  window.reached = new Set();
  window.unmarked = new Set();
  document.addEventListener('focusin', ({target}) => {
    window.reached.add(target);
    const style = getComputedStyle(target);
    if (style.outlineStyle === 'none' && style.boxShadow === 'none') window.unmarked.add(target);
  });
  document.activeElement.blur();
  return window.wanted.length;
}"""
SIDE_STOPS = 40  # the side bar's, with the part that the page belongs to unfolded
UNREACHED = """most => {
  const name = node => node.outerHTML.slice(0, 120);
  const missed = window.wanted.filter(node => !window.reached.has(node));
  const side = window.stops.filter(node => node.closest('.bd-sidebar-primary'));
  const here = document.querySelector('.bd-links li.current > a.current');
  return [
    ...(side.length > most ? [`${side.length} stops of the Tab key in the side bar`] : []),
    ...(here && !side.includes(here) ? ['the side bar hides this page'] : []),
    ...missed.map(node => 'Tab does not reach ' + name(node)),
    ...[...window.unmarked].map(node => 'no sign of the focus on ' + name(node))];
}"""


class Watch:
    """Notes what a page asks for and what fails on it."""

    def __init__(self, page, base):
        self.base, self.faults = base, []
        page.on("request", self.request)
        page.on("response", self.response)
        page.on("pageerror", lambda error: self.faults.append(f"script error: {error}"))

    def request(self, request):
        """Note an address that is not the site's."""
        if not request.url.startswith((self.base, "data:", "blob:")):
            self.faults.append(f"request to {request.url}")

    def response(self, response):
        """Note what is missing."""
        if response.status >= 400:
            self.faults.append(f"status {response.status} of {response.url}")

    def take(self):
        """Return the faults since the last call."""
        found, self.faults[:] = list(self.faults), []
        return found


def axe_faults(page, axe, runs=WHOLE):
    """Name the serious faults that axe-core finds."""
    found = [fault for part, options in runs for fault in axe.run(page, part, options).response["violations"]]
    return [
        f"{fault['id']} ({fault['impact']}): {node['html'][:150]}"
        for fault in found
        if fault["impact"] in SERIOUS
        for node in fault["nodes"]
    ]


def keyboard_faults(page, part="body"):
    """Press Tab through a page, and name what it does not reach or where the focus cannot be seen.

    Of the ``main`` part alone, which the skip link leads to, no stop before it is needed.
    """
    stops = page.evaluate(EXPECT, part)
    if part == "main":
        page.locator("#pst-skip-link a").press("Enter")
    for _ in range(stops + 5):
        page.keyboard.press("Tab")
    return page.evaluate(UNREACHED, SIDE_STOPS)


def page_faults(page):
    """List what is wrong with the page that the browser shows, without axe-core and the keyboard."""
    return [*page.evaluate(TYPESET), *page.evaluate(SIDEWAYS)]
