"""What the page says of how its runs were made."""

from __future__ import annotations

from tests.report.conftest import Page, carried
from tests.run_folders import write_run
from vml_bench.report import write_report
from vml_bench.store.runs import open_run


def test_provenance_says_command_date_problem_prior_and_settings(tmp_path):
    command = {"overrides": ["task=sr4", "method=ddrm", "method.sampler.eta=0.5"], "config_dir": None}
    told = {"command": command, "date": "2026-01-02T03:04:05+00:00", "settings": {"eta": 0.5}}
    folder = write_run(tmp_path, "ddrm", record=told)
    write_run(tmp_path, "pinv", record={"prior": None})
    report = write_report(tmp_path)[0].parent
    said = carried(report / folder.relative_to(tmp_path) / "provenance.js")[2]
    assert said["command"].startswith("vml-bench run task=sr4 method=ddrm method.sampler.eta=0.5 ")
    facts = dict(said["facts"])
    assert facts["date"] == "2026-01-02T03:04:05+00:00"
    assert facts["problem"].startswith(open_run(folder).problem.name)
    assert "operator.factor=4" in facts["problem"]
    assert (facts["prior"], facts["settings"]) == ("shipped@0f1e2d3c", "eta=0.5")
    (other,) = (report / "runs" / "toy" / "sr4" / "pinv").rglob("provenance.js")
    other = carried(other)[2]
    assert other["command"] is None
    assert dict(other["facts"])["prior"].startswith("none")


def test_the_page_says_when_by_which_code_and_on_what_its_runs_were_made(tmp_path):
    environment = {"git": "0123456789abcdef", "device": "AMD EPYC"}
    for place, date in enumerate(("2026-01-02T03:04:05+00:00", "2026-01-05T00:00:00+00:00")):
        write_run(tmp_path, run=str(place) * 10, record={"date": date, "environment": environment})
    text = " ".join(Page(write_report(tmp_path)[0]).text.split())
    assert "made 2026-01-02 to 2026-01-05 revision 0123456789 device AMD EPYC (unknown) prior shipped@0f1e2d3c" in text
