"""The site's pages are the repository's, under the same paths, so that a link between them works here and there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"(?<=\]\()[^)#:\s]+(?=[)#])")
"""The path in a Markdown link to a file; addresses have a colon."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Take README, CONTRIBUTING, docs/*.md, results/*.md and all that they link to, not the folder docs alone."""
    kept = Files([file for file in files if file.src_dir != config.docs_dir])
    seen: set[str] = set()
    wanted = [page for pattern in ("*.md", "docs/*.md", "results/*.md") for page in ROOT.glob(pattern)]
    while wanted:
        path = wanted.pop()
        name = os.path.relpath(path, ROOT)
        if name in seen or name.startswith(os.pardir):
            continue
        seen.add(name)
        if path.is_dir():
            kept.append(File.generated(config, f"{name}/README.md", content=listing(path)))
            wanted += path.glob("**/*.md")
        elif path.is_file():
            kept.append(File(name, str(ROOT), config.site_dir, config.use_directory_urls))
            wanted += targets(path) if path.suffix == ".md" else ()
    return kept


def targets(page: Path) -> Iterator[Path]:
    """What a page links to; of a folder with a README, the README."""
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        path = page.parent / link
        yield path / "README.md" if (path / "README.md").is_file() else path


def listing(folder: Path) -> str:
    """A page for a folder that has none of its own."""
    pages = sorted(page.relative_to(folder).as_posix() for page in folder.glob("**/*.md"))
    return "\n".join([f"# {folder.relative_to(ROOT)}", "", *(f"- [{page}]({page})" for page in pages)])


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Lead a link to a folder to its README: a code host shows the folder."""
    parent = (ROOT / page.file.src_uri).parent
    return LINK.sub(
        lambda link: f"{link[0].rstrip('/')}/README.md" if (parent / link[0]).is_dir() else link[0], markdown
    )
