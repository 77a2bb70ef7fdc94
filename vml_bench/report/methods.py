"""A card for each method: what it is called, who published it, what family it is of, how it was set."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from vml_bench.analysis.bibliography import ENTRY, read_references
from vml_bench.cards import Card
from vml_bench.configuration import mapping
from vml_bench.identity import flat, in_words
from vml_bench.store.runs import Run

FIELD = re.compile(r"^\s*(title|year)\s*=\s*\{(.*)\},?\s*$", re.MULTILINE)


def method_cards(cards: Mapping[str, Card], runs: Iterable[Run]) -> list[dict[str, Any]]:
    """Cards of the methods of a data set, in their order.

    Args:
        cards: of its methods, by name.
        runs: its runs.

    Returns:
        For each its "name", as configured; "title", "family" and "authors"; "variant_of", the title of the method that
        it is a configuration of, or nothing; "papers", title and year of what it cites; and "settings", those that most
        of its runs have, as pairs of words.
    """
    references, forms = read_references(), {name: [] for name in cards}
    for run in runs:
        forms[run.method].append(tuple(_settings(run).items()))
    return [
        {
            **{"name": name, "title": card.title, "family": card.family, "authors": card.authors},
            "variant_of": card.variant_of
            and (cards[card.variant_of].title if card.variant_of in cards else card.variant_of),
            "papers": list(filter(None, (_paper(references.get(key, key)) for key in card.cite))),
            "settings": max(forms[name], key=forms[name].count, default=()),
        }
        for name, card in cards.items()
    ]


def in_a_line(card: Mapping[str, Any]) -> str:
    """A card as one line."""
    return " · ".join(filter(None, (card["title"], card["family"], card["authors"], f"method={card['name']}")))


def _settings(run: Run) -> dict[str, str]:
    form = flat({"": mapping(run.form, "method")})
    return {key.lstrip(".") or "class": in_words({"": value})[1:] for key, value in form.items()}


def _paper(entry: str) -> str:
    """ "Title (year)" of a BibTeX entry; nothing where it is none."""
    said = dict(FIELD.findall(entry)) if ENTRY.match(entry) else {}
    title = re.sub(r"[{}]", "", said.get("title", ""))
    return f"{title} ({said['year']})" if title and "year" in said else title
