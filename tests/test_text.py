"""Text: names are inert, numbers as printed, tables aligned, files whole."""

from __future__ import annotations

import math

import pytest

from vml_bench.text import aligned, bounds, escape_markdown, escape_terminal, markdown, number, write_files


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
