"""A method's mark on the page: the shape and colour of its card, in a light and a dark theme."""

from __future__ import annotations

from vml_bench.cards import Card

SHAPES = {
    "o": ("circle", "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0z"),
    "s": ("square", "M-4-4h8v8h-8z"),
    "^": ("triangle-up", "M0-4.8L4.8 3.8H-4.8z"),
    "v": ("triangle-down", "M0 4.8L4.8-3.8H-4.8z"),
    "D": ("diamond", "M0-5.2L5.2 0L0 5.2L-5.2 0z"),
    "p": ("pentagon", "M0-5L4.8-1.5L2.9 4.1H-2.9L-4.8-1.5z"),
    "*": ("star", "M0-5.4L1.4-1.9L5.1-1.7L2.2.7L3.2 4.4L0 2.3L-3.2 4.4L-2.2.7L-5.1-1.7L-1.4-1.9z"),
    "P": ("cross", "M-1.7-5h3.4v3.3h3.3v3.4h-3.3v3.3h-3.4v-3.3h-3.3v-3.4h3.3z"),
    "X": ("x", "M-4.7-2.3L-2.3-4.7L0-2.4L2.3-4.7L4.7-2.3L2.4 0L4.7 2.3L2.3 4.7L0 2.4L-2.3 4.7L-4.7 2.3L-2.4 0z"),
}
"""For each of `vml_bench.cards.MARKERS`, Plotly's name and an SVG path within 6 units of the origin."""
GROUNDS = (("#f3f3ee", 3.0), ("#1c1f24", 4.5))
"""The ground on which marks stand out least, in the light and the dark theme, and the contrast that they must have: at
least 3, which WCAG 2.2 asks of graphics."""


def mark(card: Card) -> dict[str, str | bool]:
    """The mark of a card.

    Returns:
        "fill", the card's colour, as in figures; "colour", the same as far from the ground as outlines and text must
        be, in CSS for both themes; "symbol", its shape as Plotly calls it; "path", the same as an SVG path; and
        whether it is "hollow", drawn as an outline.
    """
    light, dark = (legible(card.colour, *ground) for ground in GROUNDS)
    symbol, path = SHAPES[card.marker]
    colour = f"light-dark({light}, {dark})"
    return {"fill": card.colour, "colour": colour, "symbol": symbol, "path": path, "hollow": card.hollow}


def legible(colour: str, ground: str, least: float) -> str:
    """The colour, darkened or lightened just enough to contrast with a ground; both "#rrggbb"."""
    aim = 0 if luminance(ground) > 0.5 else 255
    channels = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    for step in range(33):
        mixed = "#" + "".join(f"{round(c + (aim - c) * step / 32):02x}" for c in channels)
        if contrast(mixed, ground) >= least:
            break
    return mixed


def contrast(a: str, b: str) -> float:
    """The contrast ratio of two colours (WCAG 2.2), 1 to 21."""
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    """The relative luminance of "#rrggbb" (WCAG 2.2), 0 to 1."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
