"""The page's plot in a browser."""

from __future__ import annotations

from tests.report.conftest import DPS, HOSTILE, PINV


def test_the_plot_comes_when_it_is_near_and_follows_the_filters(read):
    reader = read({"width": 1440, "height": 400})
    assert not [url for url in reader.asked if url.endswith(("plotly.min.js", "deblur_gauss-0.05.js"))]
    chart = reader.panel.locator(".chart")
    chart.scroll_into_view_if_needed()
    chart.locator(".main-svg").first.wait_for()
    shown = "e => e.data.filter((trace) => trace.mode === 'markers').map((trace) => trace.text)"
    assert chart.evaluate(shown) == [[PINV, f"{DPS}<br>1 diverged, left out", "&lt;script&gt;window.hacked=1"]] * 2
    assert HOSTILE in reader.panel.locator(".plot .key").inner_text()
    reader.panel.locator('.plot [data-choice="task"]').select_option("sr4-0.05")
    reader.panel.locator('[data-choice="quality"]').select_option("psnr")
    reader.panel.locator('[data-choice="compute"]').select_option("seconds")
    assert chart.evaluate("e => e.layout.yaxis.title.text") == "PSNR ↑ (dB)"
    error = chart.evaluate("e => e.data.find((trace) => trace.mode === 'markers').error_y")
    assert error["array"][0] > 0
    reader.panel.locator('.chips input[value="dps"]').uncheck()
    assert [len(texts) for texts in chart.evaluate(shown)] == [2]


def test_points_of_equal_compute_and_quality_stand_side_by_side(read, problems):
    reader = read(page=problems)
    chart = reader.panel.locator(".chart")
    chart.scroll_into_view_if_needed()
    chart.locator(".main-svg").first.wait_for()
    reader.panel.locator('.plot [data-choice="quality"]').select_option("ssim")
    (marks,) = [
        trace
        for trace in chart.evaluate("e => e.data.filter((trace) => trace.mode === 'markers')")
        if len(trace["text"]) == 3
    ]
    assert len(set(marks["y"])) == 1
    assert {compute for _, compute in marks["customdata"]} == {20}
    assert len(set(marks["x"])) == 3


def test_each_problem_is_a_choice_of_plot_and_browser_and_own_scores_are_offered(read, problems):
    reader = read(page=problems)
    part = reader.images()
    known = ["sr4 · factor 2, σ_y = 0.05", "sr4 · factor 4, σ_y = 0.05"]
    assert sorted(part.locator('[data-choice="task"] option').all_inner_texts()) == known
    part.locator('[data-choice="task"]').select_option(label=known[1])
    part.locator('[data-choice="right"] option', has_text="eta=0.5").wait_for(state="attached")
    part.locator('[data-choice="score"]').select_option("sharp")
    section = part.locator(".extremes section").filter(has_text="eta=0.5")
    assert section.locator("figcaption").all_inner_texts() == ["worst 10.0", "median 20.0", "best 30.0"]
    assert section.locator("h4 .dot.hollow").count() == 1
    plot = reader.panel.locator(".part.plot")
    assert sorted(plot.locator('[data-choice="task"] option').all_inner_texts()[1:]) == known
    plot.locator('[data-choice="task"]').select_option(label=known[1])
    plot.locator(".main-svg").first.wait_for()
    symbols = plot.locator(".chart").evaluate("e => e.data.find((t) => t.mode === 'markers').marker.symbol")
    assert symbols[:2] == ["circle", "circle-open"]
    plot.locator('[data-choice="quality"]').select_option("sharp")
    assert plot.locator(".chart").evaluate("e => e.layout.yaxis.title.text").startswith("&lt;b&gt;sharp")


def test_a_run_whose_compute_is_not_known_is_named_below_the_plot_and_is_a_point_where_it_is(read, unknown):
    reader = read(page=unknown)
    plot = reader.panel.locator(".part.plot")
    plot.scroll_into_view_if_needed()
    plot.locator(".main-svg").first.wait_for()
    names = "e => e.data.find((trace) => trace.mode === 'markers').text"
    said = "Not shown, what it took not being known: Theirs (external)."
    assert plot.locator(".chart").evaluate(names) == [PINV, "DDRM"]
    assert said in plot.locator(".caption").inner_text()
    plot.locator('[data-choice="compute"]').select_option("seconds")
    assert plot.locator(".chart").evaluate(names) == [PINV, "DDRM", "Theirs (external)"]
    assert said not in plot.locator(".caption").inner_text()
