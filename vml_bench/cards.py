"""What is said of a method wherever it is shown: name, family, authors, citation, place, colour.

A method's own YAML says it, under `about`; whoever wrote the method wrote that. Nothing is read off its name.

    about:
      title: DDRM                     # as papers write it
      family: spectral                # methods of a family share a colour
      authors: Kawar, Elad, Ermon, Song (NeurIPS 2022)
      cite: [kawar2022ddrm]           # keys of vml_bench/analysis/references.bib, or BibTeX entries
      order: 40                       # place in tables and legends
      colour: blue                    # one of COLOURS, or "#rrggbb"
      marker: o                       # one of MARKERS
      variant_of: null                # a method of which this is another configuration: drawn hollow, cited alike
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any

from vml_bench.configuration import named_options

COLOURS = {
    "grey": "#6b6b6b",
    "blue": "#0072b2",
    "orange": "#e69f00",
    "green": "#009e73",
    "purple": "#cc79a7",
    "vermilion": "#d55e00",
    "sky": "#56b4e9",
}
"""Those of Okabe and Ito (2008), which the colour-blind tell apart; markers and titles say the rest."""
MARKERS = ("o", "s", "^", "v", "D", "p", "*", "P", "X")
"""Matplotlib's names of those that can be drawn filled and as an outline."""
LAST = 1000.0
"""The place of a method that gives none."""


@dataclass(frozen=True)
class Card:
    """What is said of a method.

    Attributes:
        name: as in its configuration.
        title: as papers write it.
        family: a word; methods of a family share a colour.
        authors: who published it, and where.
        cite: keys of references.bib, or BibTeX entries.
        order: its place in tables and legends, ascending.
        colour: "#rrggbb".
        marker: one of `MARKERS`.
        variant_of: the method of which it is another configuration.
    """

    name: str
    title: str = ""
    family: str = ""
    authors: str = ""
    cite: tuple[str, ...] = ()
    order: float = LAST
    colour: str = COLOURS["sky"]
    marker: str = "v"
    variant_of: str | None = None

    @property
    def hollow(self) -> bool:
        """Whether it is drawn as an outline: another configuration of a method."""
        return self.variant_of is not None

    @property
    def ink(self) -> str:
        """The colour darkened, to be read as text on white."""
        return "#" + "".join(f"{int(int(self.colour[i : i + 2], 16) * 0.72):02x}" for i in (1, 3, 5))

    def of_row(self, label: str, settings: str) -> Card:
        """The card of one row, titled as the row is called: a variant where the method has settings of its own.

        Args:
            label: the row's, from `vml_bench.store.labels.labels`.
            settings: all its settings in words, the method's before those of the way of computing.
        """
        own = self.name if settings and not settings.startswith("compute.") else None
        return replace(self, title=self.title + label.removeprefix(self.name), variant_of=self.variant_of or own)

    @property
    def place(self) -> tuple[float, str]:
        """Sort key."""
        return self.order, self.name


def card(name: str, about: Mapping[str, Any] | None = None) -> Card:
    """The card of a method.

    Args:
        name: the method's name.
        about: what its own run recorded; counts where the project's configuration has no method of that name.
    """
    said = _configured().get(name) or about or {}
    known = {field.name for field in fields(Card)} - {"name"}
    values = {key: value for key, value in said.items() if key in known and value is not None}
    try:
        values["title"] = str(values.get("title", name))
        cite = values.get("cite", ())
        values["cite"] = (cite,) if isinstance(cite, str) else tuple(map(str, cite))
        values["order"] = float(values.get("order", LAST))
        values["colour"] = _colour(str(values.get("colour", "sky")))
        if values.get("marker", "o") not in MARKERS:
            raise ValueError(values["marker"])
        return Card(name, **values)
    except (TypeError, ValueError):  # a record that was handed around may say anything
        return Card(name, title=name)


def cards(said: Iterable[tuple[str, Mapping[str, Any] | None]]) -> dict[str, Card]:
    """The cards of several methods, in their order, by name."""
    found = {name: card(name, about) for name, about in said}
    return dict(sorted(found.items(), key=lambda item: item[1].place))


def _colour(text: str) -> str:
    if text in COLOURS:
        return COLOURS[text]
    if not re.fullmatch("#[0-9a-fA-F]{6}", text):
        raise ValueError(text)
    return text


@lru_cache(maxsize=1)
def _configured() -> dict[str, dict[str, Any]]:
    """What the project's own methods say of themselves."""
    return {name: node.get("about") or {} for name, node in named_options("method").items()}
