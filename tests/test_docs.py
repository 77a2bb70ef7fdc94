"""Links of the pages lead somewhere, what the pages name is there, and they make a site."""

import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

from vml_bench.cli import parser

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("results/*.md")]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target, _, anchor in re.findall(r"\]\(((?!http)[^)#]*)(#?)([^)]*)\)", page.read_text(encoding="utf-8")):
        found = page.parent / target if target else page
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), f"{target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_modules_and_functions_that_a_page_names_exist(page):
    for name in re.findall(r"`(?:python -m )?((?:vml_bench|baselines|benchmarks)(?:\.\w+)+)", page.read_text("utf-8")):
        pkgutil.resolve_name(name)
    for file in re.findall(r"`((?:vml_bench|baselines|tests|conf)/[\w/.]+)`", page.read_text("utf-8")):
        assert (ROOT / file).exists(), file


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_that_a_page_names_exist(page):
    commands = re.findall(r"^ +([a-z]+)", parser().format_help(), re.MULTILINE)
    named = re.findall(r"(?:^ +|`|^)vml-bench ([a-z]\w*)", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert {name for name in named if name not in commands} == set()


def test_the_site_builds_without_a_warning(tmp_path):
    """`make docs`, whose links and anchors are checked."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    home, other = ((tmp_path / name).read_text(encoding="utf-8") for name in ("index.html", "docs/extend.html"))
    assert 'href="docs/extend.html"' in home
    assert "plug_and_play" in other


def test_files_and_functions_of_the_diagram_exist():
    """The right column names a file or a folder of the package; what is called at its left is in it."""
    (diagram,) = re.findall(r"```text\n(.*?)```", (ROOT / "docs/architecture.md").read_text("utf-8"), re.DOTALL)
    for line in diagram.splitlines():
        if found := re.search(r"  ([a-z_]+(?:/[a-z_]*)*(?:\.py)?)$", line):
            file = ROOT / "vml_bench" / found.group(1)
            assert file.exists(), line
            for name in re.findall(r"(\w+)\(", line) if file.is_file() else ():
                assert re.search(rf"(def|class) {name}\b", file.read_text("utf-8")), line
