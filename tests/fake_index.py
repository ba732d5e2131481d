"""A package index in a folder: small wheels, each with a name and a version, and the pages that pip reads."""

import base64
import hashlib
import zipfile


def make_wheel(folder, name, version, needs=()):
    """Write a wheel that holds one module with its version."""
    folder.mkdir(parents=True, exist_ok=True)
    safe = name.replace("-", "_")
    info = f"{safe}-{version}.dist-info"
    files = {
        f"{safe}/__init__.py": f"__version__ = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        + "".join(f"Requires-Dist: {need}\n" for need in needs),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},sha256={digest(text)},{len(text.encode())}\n" for path, text in files.items())
    path = folder / f"{safe}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name_inside, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(name_inside, text)
    return path


def digest(text):
    """Give a file's hash as RECORD writes it."""
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def add(index, name, *versions, needs=()):
    """Add a package to an index, which is a folder that a web server can serve."""
    page = index / name
    wheels = [make_wheel(page, name, version, needs) for version in versions]
    (page / "index.html").write_text("".join(f'<a href="{w.name}">{w.name}</a>\n' for w in wheels))
