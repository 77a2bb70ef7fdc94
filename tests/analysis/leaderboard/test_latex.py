"""What is meant for a paper compiles where TeX is at hand, and is well formed where it is not."""

from __future__ import annotations

import re
import shutil
import subprocess

import numpy as np
import pytest

from tests.run_folders import write_reference, write_run
from vml_bench.analysis.bibliography import REFERENCES
from vml_bench.analysis.leaderboard import build
from vml_bench.analysis.leaderboard.latex import to_tex

BEGIN_END = re.compile(r"\\(begin|end)\{(\w+)\}")
needs_tex = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")


@pytest.fixture(params=[False, True], ids=["means", "intervals"])
def table(tmp_path, request):
    """A leaderboard with hostile names, a tie, a diverged image and set distances."""
    name = "<odd>_a|b&50%^~$x"
    for method in ("pinv", "ddrm"):
        write_run(tmp_path, method, task=name, features=np.eye(3))
    write_run(tmp_path, "dps", task=name, diverged=["b"])
    write_run(tmp_path, "vml_map", psnr=(30.0, 31.0, 35.0))
    write_reference(tmp_path, ["a", "b", "c"], np.eye(3)[::-1])
    return to_tex(build(tmp_path, "toy")[0], request.param)


def compiled(folder, document):
    (folder / "paper.tex").write_text(document, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=120)


def test_environments_close_and_every_row_has_its_columns(table):
    open_ = []
    for word, name in BEGIN_END.findall(table):
        if word == "begin":
            open_.append(name)
        else:
            assert open_.pop() == name
    assert open_ == []
    blocks = re.findall(r"\\begin\{tabular\}\{([lrc]+)\}(.*?)\\end\{tabular\}", table, re.DOTALL)
    assert len(blocks) == 4  # quality and compute of two tasks
    for columns, body in blocks:
        rows = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert len(rows) in (2, 3, 4, 7)
        for row in rows:
            assert len(re.split(r"(?<!\\)&", row)) == len(columns)
        assert [body.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]
    text = "\n".join(line for line in table.splitlines() if not line.startswith("%"))
    assert text.isascii()
    assert not re.search(r"(?<!\\)[#%]", text)


@needs_tex
def test_the_tables_compile(table, tmp_path):
    document = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n" + table + "\\end{document}\n"
    answer = compiled(tmp_path, document)
    assert answer.returncode == 0, answer.stdout[-2000:]
    assert "Output written" in answer.stdout


@needs_tex
@pytest.mark.skipif(shutil.which("bibtex") is None, reason="bibtex is not installed")
def test_every_entry_is_set_by_bibtex_without_a_warning(tmp_path):
    shutil.copy(REFERENCES, tmp_path / "references.bib")
    document = (
        "\\documentclass{article}\\begin{document}\\nocite{*}\\bibliographystyle{plain}\\bibliography{references}"
    )
    document += "\\end{document}\n"
    assert compiled(tmp_path, document).returncode == 0
    said = subprocess.run(["bibtex", "paper"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert said.returncode == 0, said.stdout
    assert "Warning" not in said.stdout
    assert compiled(tmp_path, document).returncode == 0
