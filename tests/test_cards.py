"""What is said of a method: by its configuration, or by its run where the project has none of that name."""

from __future__ import annotations

import re

from vml_bench.cards import Card, card, cards
from vml_bench.configuration import named_options


def test_configured_looks_are_told_apart_and_variants_keep_the_colour_and_the_sources():
    said = {name: card(name) for name, node in named_options("method").items() if node.get("about")}
    own = [look for look in said.values() if not look.hollow]
    variants = [look for look in said.values() if look.hollow]
    assert len({(look.colour, look.marker) for look in own}) == len(own)
    assert variants
    for look in variants:
        assert (look.colour, look.cite) == (card(look.variant_of).colour, card(look.variant_of).cite)
    assert (card("dps_published").title, card("dps_published").hollow) == ("DPS (program)", True)
    assert all(re.fullmatch("#[0-9a-f]{6}", look.ink) for look in said.values())


def test_a_method_that_the_project_does_not_have_is_what_its_run_says():
    mine = card("mine", {"title": "Mine", "order": 5, "colour": "green", "cite": ["@misc{mine,}"], "unheard": 1})
    assert (mine.title, mine.order, mine.colour, mine.cite) == ("Mine", 5.0, "#009e73", ("@misc{mine,}",))
    assert card("dps", {"title": "Mine"}).title == "DPS"
    assert list(cards([("tv", None), ("mine", {"order": 5}), ("pinv", None)])) == ["mine", "pinv", "tv"]


def test_a_method_of_which_nothing_or_nonsense_is_said_has_its_name_and_the_default_look():
    for about in (None, {}, {"colour": "url(x)"}, {"order": "first"}, {"cite": 3}):
        assert card("dps_mine", about) == Card("dps_mine", title="dps_mine")
