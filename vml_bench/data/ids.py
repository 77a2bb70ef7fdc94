"""Which texts can be the id of an image."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from vml_bench.errors import InputError

PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
LONGEST = 200
"""Bytes of an id in UTF-8: file systems allow names of 255, and a partly written file has a longer one."""


def is_id(text: object) -> bool:
    """Whether a text can be an image's id, and so the name of a file on every system, in a table and in a page.

    Letters, digits and combining marks of any script and "_"; after the first character also space ( ) + , - . = @ & '.
    """
    if not isinstance(text, str) or not text:
        return False
    if PLAIN.fullmatch(text):
        return True
    named = all(unicodedata.category(character)[0] in "LMN" or character in "_ ()+,-.=@&'" for character in text)
    return named and text[0] not in " ()+,-.=@&'" and len(text.encode()) <= LONGEST


def check_ids(name: str, ids: Iterable[str]) -> None:
    """Refuse ids that could not each name a file of its own.

    Args:
        name: the data set, for errors.
        ids: the ids.

    Raises:
        InputError: an id that `is_id` refuses, or two that are equal or differ in case or encoding alone.
    """
    remedy = "rename its file, or leave it out with dataset.list"
    seen: dict[str, str] = {}
    for image_id in ids:
        if not is_id(image_id):
            shown = ascii(image_id)
            shown = shown if len(shown) <= 80 else f"{shown[:60]}…"
            raise InputError(f"data set '{name}': {shown} cannot be the id of an image", remedy)
        key = unicodedata.normalize("NFC", image_id).casefold()
        if key in seen:
            raise InputError(
                f"data set '{name}': the ids '{seen[key]}' and '{image_id}' are the same but for case and encoding",
                remedy,
            )
        seen[key] = image_id
