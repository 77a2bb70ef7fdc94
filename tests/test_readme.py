"""What the README shows works as it stands."""

from tests.pages import command_blocks, in_a_shell, write_files


def test_the_method_it_adds_runs(tmp_path):
    write_files("README.md", tmp_path)
    (command,) = command_blocks("README.md")
    in_a_shell(command, tmp_path)
    assert len(list(tmp_path.glob("results/runs/photos64/sr4/projection/*/images.parquet"))) == 1
