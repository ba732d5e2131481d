"""Drive the widgets of a notebook in Chromium, under Notebook 6 and ipywidgets 7, as a reader would.

``python drive_widgets.py CHROMIUM NOTEBOOK CONTROLS PYTHON SECONDS``, in an environment that has playwright.
PYTHON, of another environment, serves the notebook, and an answer may take SECONDS. It prints, as JSON, what
the browser shows and what the kernel holds after each use of a control.
"""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

IMAGE = """async () => {
    const image = document.querySelector('.widget-image');
    if (!image || !image.complete) return '';
    const bytes = new Uint8Array(await (await fetch(image.src)).arrayBuffer());
    return Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join('');
}"""
READY = """() => {
    const notebook = window.Jupyter && Jupyter.notebook;
    return notebook && notebook.kernel && notebook.kernel.is_connected() && notebook.kernel.widget_manager;
}"""
FIRST, LATER = 300, 60  # seconds to wait: for the kernel's imports, and for the page


def serve(folder, python):
    """Start a server for a folder, on a free port, and give the process and its address."""
    options = [
        "--no-browser",
        "--allow-root",
        "--ip=127.0.0.1",
        "--NotebookApp.token=",
        f"--notebook-dir={folder}",
    ]
    command = [python, "-m", "notebook", *options]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    said = []
    for line in server.stderr:
        said.append(line)
        if "http://127.0.0.1:" in line:
            return server, "http://127.0.0.1:" + line.split("http://127.0.0.1:")[1].split("/")[0].split()[0]
    raise RuntimeError("".join(said))


def shown(page, before, seconds):
    """Wait until the image differs from an earlier one, and give its SHA-256."""
    for _ in range(round(seconds * 10)):
        now = page.evaluate(IMAGE)
        if now and hashlib.sha256(bytes.fromhex(now)).hexdigest() != before:
            return hashlib.sha256(bytes.fromhex(now)).hexdigest()
        page.wait_for_timeout(100)
    raise RuntimeError(f"the image is still {before or 'missing'} after {seconds} s")


def held(page):
    """Run the notebook's last cell, which prints the SHA-256 of the kernel's image."""
    page.evaluate("() => { const n = Jupyter.notebook; n.get_cell(n.ncells() - 1).clear_output(); }")
    page.evaluate("() => { const n = Jupyter.notebook; n.get_cell(n.ncells() - 1).execute(); }")
    output = page.locator(".code_cell").last.locator(".output_stdout pre")
    output.wait_for(timeout=LATER * 1000)
    return output.inner_text().strip()


def use(page, control):
    """Move a slider by one, choose in a list, or press a button, by its label."""
    kind, label, *choice = control
    if kind == "button":
        page.locator("button.widget-button", has_text=label).click()
        return
    row = page.locator(".widget-inline-hbox", has=page.locator(".widget-label", has_text=label)).first
    if kind == "slider":
        row.locator(".ui-slider-handle").press("ArrowUp")
    else:
        row.locator("select").select_option(label=choice[0])


def drive(page, address, controls, seconds):
    """Run all cells, use each control, and give what browser and kernel have after each."""
    page.goto(address)
    page.wait_for_function(READY, timeout=FIRST * 1000)
    page.wait_for_timeout(10_000)  # the manager first looks for earlier widgets, and clears outputs
    page.evaluate("() => Jupyter.notebook.execute_all_cells()")
    seen, image = [], ""
    for control in [None, *controls]:
        if control:
            use(page, control)
        image = shown(page, image, seconds if image else FIRST)
        caption = page.locator(".widget-html").first.inner_text()
        seen.append({"control": control, "browser": image, "kernel": held(page), "caption": caption})
    return seen


def main(chromium, notebook, controls, python, seconds):
    """Serve, drive and print."""
    path = Path(notebook)
    server, address = serve(path.parent, python)
    try:
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page()
            page.set_default_timeout(LATER * 1000)
            seen = drive(page, f"{address}/notebooks/{path.name}", json.loads(controls), float(seconds))
            print(json.dumps(seen))
            browser.close()
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
