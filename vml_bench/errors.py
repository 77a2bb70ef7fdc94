"""The one error that is the user's to mend."""

from __future__ import annotations

from collections.abc import Sequence


class InputError(ValueError):
    """Something the user gave cannot be used: says what, and how to mend it.

    The command line prints it as one line and exits with code 2. Names from files may be in it, so characters that
    cannot be printed, which could steer a terminal, are shown as "?".

    Args:
        problem: what is wrong, naming the input.
        remedy: what to do about it.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        said = f"{problem}; {remedy}" if remedy else problem
        super().__init__("".join(character if character.isprintable() else "?" for character in said))
        self.problem = problem
        self.remedy = remedy

    def __reduce__(self) -> tuple[type[InputError], tuple[str, str]]:
        return type(self), (self.problem, self.remedy)


def raise_all(failures: Sequence[InputError]) -> None:
    """Raise one error that names each of `failures` once; none where there are none."""
    if failures:
        raise InputError("; ".join(dict.fromkeys(map(str, failures))), "")
