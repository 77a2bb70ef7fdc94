import pytest

from vml_bench.errors import InputError
from vml_bench.runner.validation import validate

CELL = ("task=sr4", "method=pinv")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("task.noise_std=-1", "task.noise_std=-1 is not a noise level"),
        ("task.noise_std=1e-9", "it is 0 in effect: set task.noise_std=0"),
        ("task.noise_std=.nan", "is not a noise level"),
        ("task.noise_std=loud", "is not a noise level"),
        ("runner.batch_size=0", "runner.batch_size=0 does not fit; it must be more than 0"),
        ("runner.batch_size=2.5", "runner.batch_size=2.5"),
        ("runner.limit=0", "runner.limit=0"),
        ("seed=x", "seed='x' does not fit; it must be a whole number"),
        ("method.name=../up", "cannot name a folder"),
    ],
)
def test_a_bad_value_is_named_with_its_remedy(cell_config, override, message):
    with pytest.raises(InputError) as caught:
        validate(cell_config(*CELL, override))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.remedy


def test_good_values_pass(cell_config):
    validate(cell_config(*CELL))
    validate(cell_config(*CELL, "task.noise_std=0", "runner.limit=3", "runner.batch_size=1"))
