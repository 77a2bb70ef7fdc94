import pytest

from vml_bench.runner.tracking import tracked


class Failing:
    name = "failing"
    remedy = "Mend it."

    def __init__(self, at):
        self.at = at
        self.called = []

    def _call(self, name):
        self.called.append(name)
        if name == self.at:
            raise RuntimeError("no\nnetwork")

    def start(self, folder):
        self._call("start")

    def images_done(self, rows):
        self._call("images_done")

    def finish(self, failed):
        self._call("finish")
        self.failed = failed


@pytest.mark.parametrize("at", ["start", "images_done", "finish"])
def test_a_tracker_that_fails_says_so_once_and_the_run_goes_on(tmp_path, capsys, at):
    tracker, done = Failing(at), []
    with tracked(tracker, tmp_path) as handle:
        for batch in range(3):
            done.append(batch)
            handle.images_done([{}])
    assert done == [0, 1, 2]
    said = capsys.readouterr().err.strip().splitlines()
    assert said == ["warning: tracker=failing stopped (RuntimeError: no network); the run goes on. Mend it."]
    assert tracker.called[-1] == at
    assert tracker.called.count("images_done") == {"start": 0, "images_done": 1, "finish": 3}[at]


def test_a_run_that_is_stopped_is_finished_as_failed(tmp_path):
    tracker = Failing("never")
    with pytest.raises(KeyboardInterrupt), tracked(tracker, tmp_path):
        raise KeyboardInterrupt
    assert tracker.failed
