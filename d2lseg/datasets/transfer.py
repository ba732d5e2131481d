"""One large file from several mirrors: it goes on where it broke off, and is checked before it counts.

torch.hub and torchvision begin a broken download anew, and know one address for a file. What they lack is a
loop around `urllib.request`, which brings proxies, TLS and redirects. Source: RFC 9110, section 14 (range
requests).

If-Range is not used: what the file holds is known beforehand, by size and MD5. So bytes of two mirrors may
be joined, and a tag that differs among the machines behind one address need not cost what has arrived.
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
from typing import Any

from tqdm.auto import tqdm

CHUNK = 1 << 18  # bytes read at a time
_PASSING = (408, 425, 429, 500, 502, 503, 504)  # HTTP's answers that may be others a little later


@dataclass(frozen=True)
class RemoteFile:
    """A file on the network, and how to know that it arrived.

    Parameters
    ----------
    name : str
        What it is called on the disk.
    urls : tuple of str
        Its addresses, http or https, the first to be tried first.
    size : int
        Bytes.
    md5 : str
        Hexadecimal.
    """

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
        Seconds without a byte until a connection is given up.
    rounds : int
        How often all mirrors are tried. One that brings bytes is asked again at once, as often as it does.
    pause : float
        Seconds between the rounds.
    """

    timeout: float = 30
    rounds: int = 3
    pause: float = 5


PATIENCE = Patience()


class _Failure(Exception):
    """Why a mirror did not give the file; ``for_good`` where asking it again is of no use."""

    def __init__(self, reason: str, for_good: bool = False) -> None:
        super().__init__(reason)
        self.for_good = for_good


def fetch(wanted: RemoteFile, folder: str | os.PathLike, patience: Patience = PATIENCE) -> Path:
    """Download a file, unless it is there already.

    One process at a time may do this in a folder.

    Parameters
    ----------
    wanted : RemoteFile
        What, and from where.
    folder : path
        Where to. What has arrived waits there in a hidden file, from which the next call goes on; it gets
        its name when its size and its MD5 are right. A file of this name that is wrong is taken as a part.
    patience : Patience
        How long to try.

    Returns
    -------
    Path
        The file, checked.

    Raises
    ------
    ConnectionError
        If no mirror gave the file; it says how each one failed.
    """
    path = Path(folder) / wanted.name
    part = partial(path)
    if path.is_file():
        if fault(path, wanted) is None:
            return path
        os.replace(path, part)  # others' downloads write under the final name, so it may be half of it
    have = part.stat().st_size if part.is_file() else 0
    if have > wanted.size:
        part.unlink()
        have = 0
    with tqdm(total=wanted.size, initial=have, desc=wanted.name, unit="B", unit_scale=True) as bar:
        _Transfer(wanted, part, patience, bar).run()
    os.replace(part, path)
    return path


def partial(path: Path) -> Path:
    """Name the file where a download waits to be complete.

    Parameters
    ----------
    path : Path
        The complete file.

    Returns
    -------
    Path
        A hidden file beside it.
    """
    return path.with_name(f".{path.name}.part")


def fault(path: str | os.PathLike, wanted: RemoteFile) -> str | None:
    """Say what is wrong with a file.

    Parameters
    ----------
    path : path
        The file.
    wanted : RemoteFile
        What it should be.

    Returns
    -------
    str or None
        The difference in size or MD5; None where it is the file.
    """
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

    def __init__(self, wanted: RemoteFile, part: Path, patience: Patience, bar: Any) -> None:
        self.wanted, self.part, self.patience, self.bar = wanted, part, patience, bar
        self.without_ranges: set[str] = set()  # mirrors that know no parts of the file
        self.doubted: set[str] = set()  # mirrors whose bytes made a wrong file once

    def have(self) -> int:
        """Count the bytes that have arrived."""
        return self.part.stat().st_size if self.part.is_file() else 0

    def run(self) -> None:
        """Ask the mirrors in turn, in several rounds."""
        failures: dict[str, _Failure] = {}
        for turn in range(self.patience.rounds):
            left = [url for url in self.wanted.urls if url not in failures or not failures[url].for_good]
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
        kept = f"; {self.have():,} of {self.wanted.size:,} bytes are kept in {self.part}" * (self.have() > 0)
        raise ConnectionError(f"{self.wanted.name} could not be downloaded. Tried: {tried}{kept}")

    def take_from(self, url: str) -> None:
        """Ask one mirror again and again, as long as it brings bytes."""
        while True:
            before = self.have()
            try:
                if before < self.wanted.size:
                    self.ask(url)
                wrong = fault(self.part, self.wanted)
                if wrong is None:
                    return
                self.part.unlink()
                # what was joined from several answers may be wrong without this mirror being so
                if before == 0 or url in self.doubted:
                    raise _Failure(f"it gives another file ({wrong})", for_good=True)
                self.doubted.add(url)
            except _Failure as failure:
                if failure.for_good or self.have() <= before:
                    raise

    def ask(self, url: str) -> None:
        """Ask for what is missing, and append it."""
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
            raise _Failure(f"{error.code} {error.reason}", error.code not in _PASSING) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise _Failure(self.reason(error)) from error
        with answer:
            self.append(answer, self.first_byte(answer, have))

    def first_byte(self, answer: Any, have: int) -> int:
        """Tell which byte of the file an answer begins with; refuse an answer of another size."""
        start, total = 0, answer.length
        if answer.status == 206:
            found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
            if found is None or int(found[1]) > have:
                raise _Failure("it answers with other bytes than it was asked for", for_good=True)
            start, total = int(found[1]), None if found[2] == "*" else int(found[2])
        if total not in (None, self.wanted.size):
            raise _Failure(f"its file has {total:,} bytes, expected {self.wanted.size:,}", for_good=True)
        return start

    def append(self, answer: Any, place: int) -> None:
        """Append what is new of an answer; one without the range asked for begins with what we have."""
        with self.part.open("ab") as file:
            have = file.tell()
            while have < self.wanted.size and (chunk := self.read(answer)):
                new = chunk[max(0, have - place) :][: self.wanted.size - have]
                file.write(new)
                place, have = place + len(chunk), have + len(new)
                self.bar.update(have - self.bar.n)
        if have < self.wanted.size:
            raise _Failure("it broke off")

    def read(self, answer: Any) -> bytes:
        """Read what is there: an error of the network must not be taken for one of the disk."""
        try:
            return answer.read1(CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise _Failure(self.reason(error)) from error

    def reason(self, error: Exception) -> str:
        """Say why a connection failed."""
        error = getattr(error, "reason", error)
        if isinstance(error, TimeoutError):
            return f"no answer within {self.patience.timeout:g} s"
        return f"{error}" or type(error).__name__
