"""What a reader does with a page: write its files into an empty folder, and give its commands."""

import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

from vml_bench.cli import main

ROOT = Path(__file__).parents[1]


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def write_files(page: str, folder: Path) -> None:
    """Write the blocks whose first line is a comment with a file's name."""
    for name, content in re.findall(r"```(?:python|yaml)\n# (\S+\.\w+)\n(.*?)```", text_of(page), re.DOTALL):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")


def command_blocks(page: str) -> list[str]:
    return re.findall(r"```bash\n(.*?)```", text_of(page), re.DOTALL)


def in_a_shell(commands: str, folder: Path) -> None:
    """Give commands as they stand, `vml-bench` among them."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "OMP_NUM_THREADS": "1"}
    answer = subprocess.run(
        ["bash", "-ec", commands], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr


def in_this_process(commands: str) -> None:
    """The same in the current folder, without starting torch anew for each."""
    for command in commands.splitlines():
        program, *arguments = shlex.split(command, comments=True)
        if program == "vml-bench":
            main(arguments)
        else:
            runpy.run_path(arguments[0])
