"""One file over HTTP: resumed where it broke off, refused where it cannot be right.

`requests` does the talking (proxies, certificates, redirects are its settings); what it lacks, and pooch and torch.hub
lack too, is going on from half a file. huggingface_hub does that, but for its own hub and cache alone.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path

import requests
from tqdm import tqdm

from vml_bench.errors import InputError

ATTEMPTS = 4
"""Connections in a row that may bring nothing new before a source is given up."""
PAUSE = 1.0
"""Seconds before the second attempt; doubled before each further one."""
TIMEOUT = (10, 60)
"""Seconds to wait for a connection and for the next bytes."""
BLOCK = 1 << 16
SPARE = 64 << 20
"""Bytes of disk that a download leaves free."""


class Refused(InputError):
    """This source does not give the file; another may."""


class Dropped(Exception):
    """The connection broke off or the server was busy; the same source is worth another attempt."""


@dataclass(frozen=True)
class Wanted:
    """What is known of the file beforehand.

    Attributes:
        about: size in bytes, roughly.
        size: size in bytes, exactly, or None.
        hashed: whether its sha256 is known, so that pieces of different files could not be taken for one.
    """

    about: int
    size: int | None = None
    hashed: bool = False


@dataclass(frozen=True)
class Reply:
    """What the server says of the file.

    Attributes:
        start: first byte that it sends.
        total: size of the whole file in bytes, or None.
        validator: strong ETag or date, by which the server knows whether the file is still the same.
        sha256: hash that Hugging Face states for its large files.
    """

    start: int
    total: int | None
    validator: str | None
    sha256: str | None


def download(url: str, part: Path, wanted: Wanted) -> str | None:
    """Fetch a file into `part`, going on from what lies there; returns the sha256 that the host states, if it does.

    Args:
        url: http or https.
        part: the unfinished file; a note of where it came from is kept beside it.
        wanted: what is known of the file.

    Raises:
        Refused: this source does not have the file, or has another.
        InputError: the disk is full.
    """
    idle, have = 0, size_of(part)
    while True:
        try:
            return attempt(url, part, wanted)
        except (Dropped, requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            idle, have = (0 if size_of(part) > have else idle + 1), size_of(part)
            if idle >= ATTEMPTS or isinstance(error, requests.exceptions.SSLError):
                kept = f"; {have / 1e6:.1f} MB of it are kept" if have else ""
                raise Refused(f"{url} cannot be had ({reason(error)}){kept}", "") from error
            time.sleep(PAUSE * 2**idle / 2)
        except requests.RequestException as error:
            raise Refused(f"{url} cannot be had ({reason(error)})", "") from error
        except OSError as error:
            raise InputError(
                f"{part} cannot be written ({error})", "free disk space, or set VML_BENCH_CACHE to another disk"
            ) from error


def reason(error: Exception) -> str:
    """What went wrong, without the layers through which it was reported."""
    inner = getattr(error.args[0], "reason", error) if error.args else error
    return re.sub(r"^HTTPS?Connection(Pool)?\(.*?\): ", "", str(inner)) or type(error).__name__


def attempt(url: str, part: Path, wanted: Wanted) -> str | None:
    """One connection: ask for what is missing, check the answer, write what comes.

    Raises:
        Dropped: it ended early.
        Refused: the server does not have the file, or has another.
        InputError: too little disk space.
    """
    headers = {"Accept-Encoding": "identity"} | range_headers(url, part, wanted)
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        reply = read_reply(response, part)
        check_size(url, reply, wanted)
        if response.status_code == 416:  # there is no rest: all of it is here
            return reply.sha256
        if response.headers.get("Content-Type", "").startswith("text/html"):
            raise Refused(f"{url} answers with a web page", "")
        reply = replace(reply, total=reply.total or wanted.size)
        check_space(part, (reply.total or wanted.about) - reply.start)
        note(part).write_text(json.dumps({"url": url, "validator": reply.validator}))
        write(response, part, reply, url)
    return reply.sha256


def range_headers(url: str, part: Path, wanted: Wanted) -> dict[str, str]:
    """Headers that ask for the rest of `part`; none where it has to be begun anew.

    Where no hash would reveal a file put together from two, the server is asked for the rest only if the file is
    still the one that the part came from.
    """
    have = size_of(part)
    if not have:
        return {}
    asked = {"Range": f"bytes={have}-"}
    if wanted.hashed:
        return asked
    try:
        noted = json.loads(note(part).read_text())
    except (OSError, ValueError):
        return {}
    if noted.get("url") != url or not noted.get("validator"):
        return {}
    return asked | {"If-Range": noted["validator"]}


def read_reply(response: requests.Response, part: Path) -> Reply:
    """Understand status and headers.

    Raises:
        Dropped: the server is busy, or the rest cannot be had and the file has to be begun anew.
        Refused: the server does not give the file.
    """
    headers, status = response.headers, response.status_code
    if status >= 500 or status in (408, 429):
        raise Dropped(f"status {status}")
    if status not in (200, 206, 416):
        raise Refused(f"{response.url} answers with status {status} {response.reason}", "")
    etag = headers.get("ETag", "")
    validator = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified")
    stated = [step.headers.get("X-Linked-Etag", "").strip('"') for step in (*response.history, response)]
    sha256 = next((digest for digest in stated if re.fullmatch(r"[0-9a-f]{64}", digest)), None)
    if status == 200:
        length = headers.get("Content-Length", "")
        return Reply(0, int(length) if length.isdecimal() else None, validator, sha256)
    have = size_of(part)
    span = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", headers.get("Content-Range", ""))
    total = int(span[2]) if span and span[2] != "*" else None
    if status == 416 and total == have:
        return Reply(have, total, validator, sha256)
    if status == 416 or span is None or span[1] is None or int(span[1]) != have:
        part.unlink(missing_ok=True)
        raise Dropped("the rest could not be had; begun anew")
    return Reply(have, total, validator, sha256)


def check_size(url: str, reply: Reply, wanted: Wanted) -> None:
    """Refuse a file that cannot be the one by its size, before any of it is written.

    Raises:
        Refused: it has another size, or nothing would show whether it is whole.
    """
    if reply.total is None and wanted.size is None and not wanted.hashed:
        raise Refused(f"{url} does not say how large the file is, and no hash is known to check it by", "")
    if reply.total is not None:
        off = abs(reply.total - (wanted.size or wanted.about))
        if off > (0 if wanted.size else wanted.about / 10):
            expected = f"{wanted.size}" if wanted.size else f"about {wanted.about}"
            raise Refused(f"{url} offers {reply.total} bytes, not {expected}", "")


def check_space(part: Path, missing: int) -> None:
    """Refuse a download for which the disk has no room.

    Raises:
        InputError: too little is free.
    """
    free = shutil.disk_usage(part.parent).free
    if missing + SPARE > free:
        raise InputError(
            f"{part.parent} has {free / 1e9:.2f} GB free, {(missing + SPARE) / 1e9:.2f} GB are needed",
            "free disk space, or set VML_BENCH_CACHE to another disk",
        )


def write(response: requests.Response, part: Path, reply: Reply, url: str) -> None:
    """Write the body behind what is there, with a progress bar.

    Raises:
        Dropped: it ended before the size that the server gave.
        Refused: it is longer than that.
    """
    bar = tqdm(total=reply.total, initial=reply.start, unit="B", unit_scale=True, desc=part.stem, disable=None)
    with bar, open(part, "ab" if reply.start else "wb") as stream:
        for block in response.iter_content(BLOCK):
            stream.write(block)
            bar.update(len(block))
            if reply.total is not None and stream.tell() > reply.total:
                raise Refused(f"{url} sends more than the {reply.total} bytes that it announced", "")
        stream.flush()
        os.fsync(stream.fileno())
    if reply.total is not None and size_of(part) < reply.total:
        raise Dropped(f"it ended after {size_of(part)} of {reply.total} bytes")


def note(part: Path) -> Path:
    """The file that says where a part came from."""
    return part.with_name(f"{part.name}.json")


def size_of(file: Path) -> int:
    """Size in bytes, 0 where there is no file."""
    return file.stat().st_size if file.is_file() else 0
