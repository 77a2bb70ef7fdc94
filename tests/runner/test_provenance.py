"""What a run says about the code that made it."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from vml_bench.runner.provenance import git_revision

WHO = {f"GIT_{role}_{what}": f"{what}@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A repository with one commit of some code and one table of results."""
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    for name, value in WHO.items():
        monkeypatch.setenv(name, value)
    for name in ("code.py", "results/leaderboard.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1\n")
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


def test_rewriting_a_table_of_results_does_not_change_the_revision(checkout):
    revision = git_revision(checkout)
    assert len(revision) == 40
    assert not revision.strip("0123456789abcdef")
    (checkout / "results/leaderboard.csv").write_text("2\n")
    assert git_revision(checkout) == revision


def test_changed_code_is_marked(checkout):
    revision = git_revision(checkout)
    (checkout / "code.py").write_text("2\n")
    assert git_revision(checkout) == f"{revision}-dirty"


def test_outside_a_checkout_nothing_is_known(tmp_path):
    assert git_revision(tmp_path) == "unknown"


def test_without_git_nothing_is_known(checkout, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert git_revision(checkout) == "unknown"
