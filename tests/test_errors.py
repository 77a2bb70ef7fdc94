import pickle

from vml_bench.errors import InputError


def test_an_error_says_problem_and_remedy_also_after_crossing_processes():
    error = pickle.loads(pickle.dumps(InputError("no such file", "make one")))
    assert str(error) == "no such file; make one"
    assert (error.problem, error.remedy) == ("no such file", "make one")
