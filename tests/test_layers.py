"""Beside the contracts in pyproject.toml: no circle, not through an __init__.py either; one owner of names on disk."""

import re
from graphlib import TopologicalSorter
from pathlib import Path

import grimp

import vml_bench


def test_no_modules_import_each_other_in_a_circle():
    graph = grimp.build_graph("vml_bench", "baselines", cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert imports["vml_bench.cli.upkeep"] & {"vml_bench.doctor"}, "imports inside functions are seen too"
    TopologicalSorter(imports).prepare()  # raises CycleError, which names the circle


NAMES_ON_DISK = re.compile(r"images\.parquet|oracle\.parquet|features\.npz|posterior\.npz|run\.json|\brecon\b")


def test_one_module_spells_the_names_of_what_lies_in_a_results_folder() -> None:
    package = Path(vml_bench.__file__).parent
    files = [*package.rglob("*.py"), *package.rglob("*.j2"), *package.rglob("*.js")]
    spelt = {file.relative_to(package).as_posix() for file in files if NAMES_ON_DISK.search(file.read_text("utf-8"))}
    assert spelt == {"store/layout.py"}
