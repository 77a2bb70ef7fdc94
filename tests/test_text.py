"""Text: names are inert, numbers as printed, tables aligned, files whole."""

from __future__ import annotations

import io
import math

import pytest

from vml_bench.text import (
    aligned,
    bounds,
    escape_markdown,
    escape_terminal,
    folded,
    markdown,
    never_fail,
    number,
    write_files,
)


def test_a_table_is_aligned_and_steers_no_terminal():
    rows = [["method", "n"], ["dps\x1b[31m", "1,000"], ["ddrm", ""]]
    assert aligned(rows) == ["method    n", "dps?[31m  1,000", "ddrm"]
    assert aligned(rows, left=[0], rule=True) == ["method        n", "─" * 15, "dps?[31m  1,000", "ddrm"]


def test_numbers_stand_as_they_were_given():
    assert aligned([["1.50", "1e3"], ["2", "nan"]]) == ["1.50  1e3", "2     nan"]
    assert "| 1.50 |" in " ".join("".join(markdown(["psnr"], [["1.50"], ["2"]])).split())


def test_a_markdown_table_sets_numbers_flush_right():
    head, rule, *rows = markdown(["method", "PSNR ↑"], [["dps", "**27.30**"], ["ddrm", "–"]], left=[0])
    assert [cell.strip() for cell in head.split("|")[1:-1]] == ["method", "PSNR ↑"]
    assert [cell.endswith(":") for cell in rule.split("|")[1:-1]] == [False, True]
    assert [" ".join(row.split()) for row in rows] == ["| dps | **27.30** |", "| ddrm | – |"]


def test_names_are_inert():
    assert escape_markdown("a\n# b_c|<d>") == r"a \# b\_c\|&lt;d&gt;"
    assert escape_terminal("a\nb\x1b") == "a?b?"


@pytest.mark.parametrize(
    ("value", "digits", "significant", "text"),
    [
        (27.296, 2, 0, "27.30"),
        (0.012345, 4, 3, "0.0123"),
        (123.45, 4, 3, "123"),
        (2e6, 4, 3, "2.0e6"),
        (math.inf, 2, 0, "∞"),
        (-math.inf, 2, 0, "−∞"),
        (math.nan, 2, 0, "–"),
    ],
)
def test_a_number_is_printed_with_its_digits(value, digits, significant, text):
    assert number(value, digits, significant) == text


def test_bounds_are_printed_where_both_are_known():
    assert bounds(1, 2, 1) == "[1.0, 2.0]"
    assert bounds(math.nan, 2, 1) == ""


def test_files_are_written_into_a_new_folder(tmp_path):
    paths = write_files(tmp_path / "new", {"a.csv": "x\n", "b.md": "σ\n"})
    assert [path.read_text(encoding="utf-8") for path in paths] == ["x\n", "σ\n"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["a.csv", "b.md"]


def test_columns_that_do_not_fit_the_terminal_go_below_with_their_key(monkeypatch):
    rows = [["method", "PSNR", "LPIPS"], ["ddrm", "2" * 18, "3" * 20], ["dps", "4", "5"]]
    assert len(aligned(rows)) == 3
    monkeypatch.setenv("COLUMNS", "40")
    assert aligned(rows, left=[0]) == [
        "method                PSNR",
        "ddrm    222222222222222222",
        "dps                      4",
        "",
        "method                 LPIPS",
        "ddrm    33333333333333333333",
        "dps                        5",
    ]


def test_keys_that_leave_no_room_are_folded(monkeypatch):
    rows = [["method", "PSNR"], ["ddrm · eta=0.85, schedule.levels=100", "2" * 18], ["dps", "4"]]
    assert len(aligned(rows)) == 3
    monkeypatch.setenv("COLUMNS", "40")
    assert aligned(rows, left=[0]) == [
        "method                             PSNR",
        "ddrm · eta=0.85,     222222222222222222",
        "schedule.levels=100",
        "dps                                   4",
    ]
    monkeypatch.setenv("COLUMNS", "60")
    assert aligned(rows, left=[0])[1] == f"ddrm · eta=0.85, schedule.levels=100  {'2' * 18}"


def test_a_column_that_is_too_wide_alone_is_folded_between_words(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    assert aligned([["a", "one two three four five six seven eight /a/path"], ["b", "x"]], indent=2) == [
        "  a  one two three four five six seven",
        "     eight /a/path",
        "  b  x",
    ]


def test_a_long_line_is_folded_where_the_terminal_says_how_wide_it_is(monkeypatch):
    line = "note: one two three four five six seven eight nine ten"
    monkeypatch.delenv("COLUMNS", raising=False)
    assert folded(line) == line
    monkeypatch.setenv("COLUMNS", "40")
    assert folded(line) == "note: one two three four five six seven\n  eight nine ten"


@pytest.mark.parametrize(
    ("encoding", "printed"),
    [("ascii", "sigma_y = 0 x -1 - Pi ? ... 2 >="), ("cp1252", "sigma_y = 0 × -1 · Pi ? … ² >=")],
)
def test_signs_that_an_encoding_has_not_are_spelt(encoding, printed):
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    never_fail(stream)
    print("σ_y = 0 × −1 · Π 像 … ² ≥", end="", file=stream, flush=True)
    assert raw.getvalue().decode(encoding) == printed
