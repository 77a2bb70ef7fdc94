"""Names, colours and shapes of methods on the page."""

from __future__ import annotations

import json
import re

import pytest

from tests.run_folders import write_run
from vml_bench.cards import COLOURS, MARKERS, card
from vml_bench.report import write_report
from vml_bench.report.marks import GROUNDS, SHAPES, contrast, legible
from vml_bench.report.write import STATIC


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_colours_are_told_apart_in_both_themes(theme):
    style = (STATIC / "page.css").read_text()
    pairs = re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", style)
    colours = {name: values[theme] for name, *values in pairs}
    for ground in ("paper", "raised"):
        for text in ("ink", "muted", "accent", "bad", "good", "near"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
        assert contrast(colours["rule"], colours[ground]) >= 3
    assert contrast(colours["accent"], colours["tint"]) >= 4.5
    assert contrast(colours["bad"], colours["bad-tint"]) >= 4.5
    hover = re.search(r"tr:hover > \* { background: light-dark\((#\w{6}), (#\w{6})\)", style)[theme + 1]
    for colour in COLOURS.values():
        for ground in (colours["paper"], colours["raised"], hover):
            assert contrast(legible(colour, *GROUNDS[theme]), ground) >= 3, (colour, ground)


@pytest.mark.parametrize(("ground", "least"), GROUNDS, ids=["light", "dark"])
def test_a_methods_colour_is_as_in_figures_and_changed_only_as_far_as_it_takes_to_be_seen(ground, least):
    shown = {colour: legible(colour, ground, least) for colour in (*COLOURS.values(), "#000000", "#ffffff", ground)}
    assert all(contrast(mark, ground) >= least for mark in shown.values())
    assert all(mark == colour or contrast(mark, ground) < least + 0.6 for colour, mark in shown.items())
    assert len(set(shown.values()) - {shown[ground]}) >= len(COLOURS)


def test_every_marker_of_a_card_has_a_shape():
    assert set(SHAPES) == set(MARKERS)


def test_a_variant_is_hollow_in_the_colour_of_its_method(tmp_path):
    write_run(tmp_path, "ddrm")
    write_run(tmp_path, "ddrm", "5" * 10, record={"settings": {"eta": 0.5}})
    rows = re.findall(r'<tr data-method="ddrm".*?</tr>', write_report(tmp_path)[0].read_text(), re.DOTALL)
    dots = [re.search(r'class="(dot[^"]*)" .*? style="([^"]*)"', row).groups() for row in rows]
    assert [kind for kind, _ in dots] == ["dot", "dot hollow"]
    assert dots[0][1] == dots[1][1]
    assert dots[0][1].startswith("--dot: light-dark(#0072b2, ")


def test_names_and_colours_are_those_of_the_figures(results):
    index = write_report(results)[0]
    text = index.read_text()
    for method in ("pinv", "dps"):
        known = card(method)
        row = re.search(rf'<tr data-method="{method}".*?</th>', text, re.DOTALL)[0]
        assert f"--fill: {known.colour}" in row
        assert f'data-title="{known.title}"' in row
    data = json.loads(re.search(r'id="index">(.*?)</script>', text, re.DOTALL)[1])
    assert data["methods"]["dps"]["title"] == card("dps").title
