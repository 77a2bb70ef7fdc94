"""Download one file with pooch, after its reply's headers have shown that it can be the file.

pooch talks HTTP, retries and draws the progress bar. It does not resume, so a broken download starts from nothing; to
resume, download by other means (`curl -L -C - -O URL`) and place the file in the cache folder, where it is verified.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

import pooch
from requests import RequestException, Response

from vml_bench.weights.check import size_problem

RETRIES = 3
TIMEOUT = (10, 60)
"""Seconds to wait for a connection and for the next bytes."""
BLOCK = 1 << 16


class Refused(Exception):
    """This source does not give the file; another may."""


@dataclass
class Screen:
    """Sees every reply before its body is read (a response hook of requests) and refuses what cannot be the file.

    Attributes:
        url: the address asked.
        about: approximate size of the file in bytes.
        size: its exact size, where known.
        announced: the size that the server announced.
        stated: the sha256 that Hugging Face states for large files.
    """

    url: str
    about: int
    size: int | None
    announced: int | None = None
    stated: str | None = None

    def __call__(self, response: Response, **_: object) -> None:
        """Keep what the server says of the file.

        Raises:
            Refused: the reply is not the file.
        """
        headers, status = response.headers, response.status_code
        if re.fullmatch(r"[0-9a-f]{64}", etag := headers.get("X-Linked-Etag", "").strip('"')):
            self.stated = self.stated or etag
        if response.is_redirect or status >= 500 or status in (408, 429):  # requests follows, pooch tries again
            return
        if status != 200:
            raise Refused(f"{self.url} answers with status {status}")
        if headers.get("Content-Type", "").startswith("text/html"):
            raise Refused(f"{self.url} answers with a web page")
        length = headers.get("Content-Length", "")
        endless = "Transfer-Encoding" in headers or headers.get("Content-Encoding", "identity") != "identity"
        if endless or not re.fullmatch(r"[0-9]{1,15}", length):
            raise Refused(f"{self.url} does not say how large the file is")
        self.announced = int(length)
        if problem := size_problem(self.announced, self.about, self.size):
            raise Refused(f"{self.url} offers {problem}")


def download(screen: Screen, file: Path) -> None:
    """Download from `screen.url` to `file`.

    Raises:
        Refused: the source cannot be reached, or does not give the file.
        OSError: the file cannot be written.
    """
    get = pooch.HTTPDownloader(
        progressbar=sys.stderr.isatty(),
        chunk_size=BLOCK,
        timeout=TIMEOUT,
        headers={"Accept-Encoding": "identity"},
        hooks={"response": screen},
    )
    source = pooch.create(
        file.parent, base_url="", registry={file.name: None}, urls={file.name: screen.url}, retry_if_failed=RETRIES
    )
    try:
        source.fetch(file.name, downloader=get)
    except (RequestException, ValueError) as error:
        raise Refused(f"{screen.url} cannot be fetched ({reason(error)})") from error
    if (size := file.stat().st_size) != screen.announced:  # urllib3 1.26 does not check
        raise Refused(f"{screen.url} ended after {size} of {screen.announced} bytes")


def reason(error: Exception) -> str:
    """What went wrong, without the layers that reported it."""
    inner = getattr(error.args[0], "reason", error) if error.args else error
    return re.sub(r"^HTTPS?Connection(Pool)?\(.*?\): ", "", str(inner)) or type(error).__name__
