"""How a method looks in every figure: its name as papers write it, a colour by family, a marker within the family.

The colours are those of Okabe and Ito (2008), which the colour-blind tell apart; markers and labels say the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

from vml_bench.leaderboard.columns import family

GREY, BLUE, ORANGE, GREEN, PURPLE, VERMILION, SKY = (
    "#6b6b6b",
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#cc79a7",
    "#d55e00",
    "#56b4e9",
)


@dataclass(frozen=True)
class MethodStyle:
    """One method's look.

    Attributes:
        title: its name as papers write it.
        colour: of its family, "#rrggbb".
        marker: matplotlib's.
        hollow: drawn as an outline: a further configuration of a method.
    """

    title: str
    colour: str
    marker: str
    hollow: bool = False

    @property
    def ink(self) -> str:
        """The colour darkened, to be read as text on white."""
        return "#" + "".join(f"{int(int(self.colour[i : i + 2], 16) * 0.72):02x}" for i in (1, 3, 5))


STYLES = {
    "pinv": MethodStyle("pseudo-inverse", GREY, "o"),  # no prior
    "wiener": MethodStyle("Wiener", GREY, "s"),
    "tv": MethodStyle("TV", GREY, "^"),
    "ddrm": MethodStyle("DDRM", BLUE, "o"),  # sampling in the spectrum or the null space, no Jacobian
    "ddnm": MethodStyle("DDNM", BLUE, "s"),
    "dps": MethodStyle("DPS", ORANGE, "o"),  # guidance through the Jacobian
    "pigdm": MethodStyle("ΠGDM", ORANGE, "s"),
    "tmpd": MethodStyle("TMPD", ORANGE, "^"),
    "diffpir": MethodStyle("DiffPIR", GREEN, "o"),  # splitting
    "daps": MethodStyle("DAPS", GREEN, "s"),
    "reddiff": MethodStyle("RED-diff", GREEN, "^"),
    "lmaps": MethodStyle("LMAPS", PURPLE, "o"),  # other MAP
    "proximap": MethodStyle("ProxiMAP", PURPLE, "s"),
    "vml_map": MethodStyle("VML-MAP", VERMILION, "o"),
    "vml_map_pre": MethodStyle("VML-MAP pre", VERMILION, "s"),
    "vml_fixed_point": MethodStyle("fixed point", VERMILION, "D"),
}


def base_method(method: str) -> str:
    """The method of which a configuration is a variant (`leaderboard.columns.family`), or its own name.

    >>> base_method("dps_1000"), base_method("vml_map_pre"), base_method("mine")
    ('dps', 'vml_map_pre', 'mine')
    """
    return family(method) or method


def style(method: str) -> MethodStyle:
    """The look of a method configuration, always the same; an unknown method is sky blue under its own name."""
    base = base_method(method)
    if base not in STYLES:
        return MethodStyle(method, SKY, "v")
    if base == method:
        return STYLES[base]
    known = STYLES[base]
    suffix = method[len(base) + 1 :].replace("_", " ")
    return MethodStyle(f"{known.title} {suffix}", known.colour, known.marker, hollow=True)
