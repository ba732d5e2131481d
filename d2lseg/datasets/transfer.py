"""Download one large file from several mirrors: resumable, and checked before it counts.

`torch.hub` and torchvision restart a broken download and know a single address for each file. This module is
the missing loop around `urllib.request`, which handles proxies, TLS and redirects. Source: RFC 9110, section
14 (range requests).

If-Range is not used. The size and the MD5 of the file are known beforehand, so bytes from two mirrors may be
joined, and what has arrived is not lost when the machines behind one address disagree on a tag.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

CHUNK = 1 << 18  # bytes per read
_TEMPORARY = (408, 425, 429, 500, 502, 503, 504)  # HTTP errors that may pass


@dataclass(frozen=True)
class RemoteFile:
    """A file on the network: its name on disk, http or https addresses, size in bytes, and MD5 in hex."""

    name: str
    urls: tuple[str, ...]
    size: int
    md5: str


@dataclass(frozen=True)
class Patience:
    """How long to try.

    Parameters
    ----------
    timeout : float
        Seconds without a byte before a connection counts as lost.
    rounds : int
        How often to go through the mirrors. One that delivers is asked again at once, as long as it does.
    pause : float
        Seconds between rounds.
    """

    timeout: float = 30
    rounds: int = 3
    pause: float = 5


PATIENCE = Patience()


class _Failure(Exception):
    """Why a mirror did not deliver; `final` if there is no point in asking it again."""

    def __init__(self, reason: str, final: bool = False) -> None:
        super().__init__(reason)
        self.final = final


def fetch(wanted: RemoteFile, folder: str | os.PathLike[str], patience: Patience = PATIENCE) -> Path:
    """Download a file, unless it is already there. Only one process at a time may do so in a folder.

    Parameters
    ----------
    wanted : RemoteFile
        The file.
    folder : path
        Where to put it. Until its size and MD5 are right, it is a hidden file (see `partial`) from which the
        next call resumes. A wrong file under the final name is taken for a part of it.
    patience : Patience
        How long to try.

    Raises
    ------
    ConnectionError
        If every mirror failed; the message says how.
    """
    # not `files.written_whole`, which discards the draft of a failed run: here it is what the next run needs
    path = Path(folder) / wanted.name
    part = partial(path)
    if path.is_file():
        if fault(path, wanted) is None:
            return path
        os.replace(path, part)  # other tools download under the final name, so it may be half the file
    have = part.stat().st_size if part.is_file() else 0
    if have > wanted.size:
        part.unlink()
        have = 0
    with tqdm(total=wanted.size, initial=have, desc=wanted.name, unit="B", unit_scale=True) as bar:
        _Transfer(wanted, part, patience, bar).run()
    os.replace(part, path)
    return path


def partial(path: Path) -> Path:
    """Return the hidden file next to `path` that holds what has arrived so far."""
    return path.with_name(f".{path.name}.part")


def fault(path: str | os.PathLike[str], wanted: RemoteFile) -> str | None:
    """Return how a file differs from the wanted one, in size or MD5, or None if it is the same."""
    size = os.path.getsize(path)
    if size != wanted.size:
        return f"{size:,} bytes, expected {wanted.size:,}"
    digest = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    if digest.hexdigest() != wanted.md5:
        return f"its MD5 is {digest.hexdigest()}, expected {wanted.md5}"
    return None


class _Transfer:
    """Fills a partial file from several mirrors."""

    def __init__(self, wanted: RemoteFile, part: Path, patience: Patience, bar: tqdm) -> None:
        self.wanted, self.part, self.patience, self.bar = wanted, part, patience, bar
        self.without_ranges: set[str] = set()  # mirrors that only send the file from its first byte
        self.doubted: set[str] = set()  # mirrors that have completed a wrong file once

    def have(self) -> int:
        """Return how many bytes have arrived."""
        return self.part.stat().st_size if self.part.is_file() else 0

    def run(self) -> None:
        """Try the mirrors in turn, for several rounds."""
        failures: dict[str, _Failure] = {}
        for turn in range(self.patience.rounds):
            left = [url for url in self.wanted.urls if url not in failures or not failures[url].final]
            if turn and left:
                time.sleep(self.patience.pause)
            for url in left:
                try:
                    return self.take_from(url)
                except _Failure as failure:
                    if url not in failures:
                        self.bar.write(f"{url}: {failure}")
                    failures[url] = failure
        tried = "; ".join(f"{url}: {failure}" for url, failure in failures.items())
        kept = (
            f"; {self.have():,} of {self.wanted.size:,} bytes are kept in {self.part}" if self.have() else ""
        )
        raise ConnectionError(f"{self.wanted.name} could not be downloaded. Tried: {tried}{kept}")

    def take_from(self, url: str) -> None:
        """Ask one mirror for the rest of the file, again and again, as long as it delivers."""
        while True:
            before = self.have()
            try:
                if before < self.wanted.size:
                    self.ask(url)
                wrong = fault(self.part, self.wanted)
                if wrong is None:
                    return
                self.part.unlink()
                # a file joined from several answers can be wrong without this mirror being at fault
                if before == 0 or url in self.doubted:
                    raise _Failure(f"a different file ({wrong})", final=True)
                self.doubted.add(url)
            except _Failure as failure:
                if failure.final or self.have() <= before:
                    raise

    def ask(self, url: str) -> None:
        """Request the missing bytes and append them."""
        have = self.have()
        request = urllib.request.Request(url, headers={"User-Agent": "d2lseg"})
        if have and url not in self.without_ranges:
            request.add_header("Range", f"bytes={have}-")
        try:
            answer = urllib.request.urlopen(request, timeout=self.patience.timeout)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416 and request.has_header("Range"):
                self.without_ranges.add(url)
                return self.ask(url)
            raise _Failure(f"{error.code} {error.reason}", error.code not in _TEMPORARY) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise _Failure(self.reason(error)) from error
        with answer:
            self.append(answer, self.first_byte(answer, have))

    def first_byte(self, answer: http.client.HTTPResponse, have: int) -> int:
        """Return the position in the file of an answer's first byte, after checking the file's size."""
        start, total = 0, answer.length
        if answer.status == 206:
            found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
            if found is None or int(found[1]) > have:
                raise _Failure("it sent other bytes than requested", final=True)
            start, total = int(found[1]), None if found[2] == "*" else int(found[2])
        if total not in (None, self.wanted.size):
            raise _Failure(f"a file of {total:,} bytes, expected {self.wanted.size:,}", final=True)
        return start

    def append(self, answer: http.client.HTTPResponse, place: int) -> None:
        """Append what is new in an answer that starts at byte `place` of the file."""
        with self.part.open("ab") as file:
            have = file.tell()
            while have < self.wanted.size and (chunk := self.read(answer)):
                new = chunk[max(0, have - place) :][: self.wanted.size - have]
                file.write(new)
                place, have = place + len(chunk), have + len(new)
                self.bar.update(have - self.bar.n)
        if have < self.wanted.size:
            raise _Failure("the connection was lost")

    def read(self, answer: http.client.HTTPResponse) -> bytes:
        """Read what has arrived, and keep network errors apart from those of the disk."""
        try:
            return answer.read1(CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise _Failure(self.reason(error)) from error

    def reason(self, error: Exception) -> str:
        """Return why a connection failed."""
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(cause, TimeoutError):
            return f"no answer within {self.patience.timeout:g} s"
        return str(cause) or type(cause).__name__
