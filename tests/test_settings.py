"""Settings: what a limit beside a field refuses, in Python and in a configuration."""

from __future__ import annotations

import inspect
import math
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, field, fields, replace
from typing import Annotated, Literal

import pytest
from omegaconf import OmegaConf
from pydantic import Field, PositiveFloat, PositiveInt

from vml_bench.errors import InputError
from vml_bench.identity import AsBefore, form_of
from vml_bench.runner.validation import check_node
from vml_bench.schedule import EDMSchedule, Schedule
from vml_bench.settings import checked, settings


@settings
class Method:
    eta: Annotated[float, Field(ge=0, le=1)] = 0.85
    steps: PositiveInt = 5
    move: Literal["flow", "renoise"] = "flow"
    momentum: Annotated[float, Field(ge=0, lt=1), AsBefore(0.0)] = 0.0
    sigma_max: PositiveFloat | None = None
    betas: tuple[float, float] = (0.9, 0.99)
    adaptive: bool = False
    schedule: Schedule = field(default_factory=EDMSchedule)

    def __post_init__(self) -> None:
        if self.betas[0] > self.betas[1]:
            raise InputError("betas fall", "swap them")


@settings
class Variant(Method):
    weight: PositiveFloat = 1.0


REFUSED = [
    ("eta", 2, "at most 1"),
    ("eta", -0.1, "at least 0"),
    ("eta", "1", "a number"),
    ("eta", True, "a number"),
    ("eta", math.nan, "a finite number"),
    ("eta", math.inf, "a finite number"),
    ("steps", 0, "more than 0"),
    ("steps", 5.0, "a whole number"),
    ("steps", True, "a whole number"),
    ("move", "jump", "'flow' or 'renoise'"),
    ("momentum", 1, "less than 1"),
    ("sigma_max", 0, "more than 0 or null"),
    ("sigma_max", "a", "a number or null"),
    ("betas", [0.9], "a longer list"),
    ("betas", [0.9, "a"], "a list, each item a number"),
    ("betas", 0.9, "a list"),
    ("adaptive", 1, "true or false"),
    ("schedule", 3, "a node with a _target_"),
]


@pytest.mark.parametrize(("name", "value", "wanted"), REFUSED)
@pytest.mark.parametrize("kind", [Method, Variant])
def test_a_value_that_does_not_fit_is_refused_with_what_would(kind, name, value, wanted):
    with pytest.raises(InputError) as caught:
        kind(**{name: value})
    assert str(caught.value).startswith(f"{name}=")
    assert str(caught.value).endswith(f" does not fit {kind.__name__}; it must be {wanted}")


@pytest.mark.parametrize(("name", "value", "wanted"), REFUSED)
def test_in_a_configuration_the_message_has_the_full_key(name, value, wanted):
    node = {"_target_": f"{__name__}.Method", name: value}
    with pytest.raises(InputError) as caught:
        check_node(node, "method.sampler")
    assert str(caught.value) == f"method.sampler.{name}={value!r} does not fit; it must be {wanted}"


def test_a_limit_of_a_schedule_within_a_method_has_the_full_key_too():
    schedule = {"_target_": "vml_bench.schedule.EDMSchedule", "rho": 0}
    with pytest.raises(InputError, match=r"^method\.sampler\.schedule\.rho=0 does not fit; it must be at least 0\.1$"):
        check_node({"_target_": f"{__name__}.Method", "schedule": schedule}, "method.sampler")


def test_values_that_fit():
    made = Variant(1, move="renoise", betas=OmegaConf.create([0.5, 1]), sigma_max=3)
    assert (made.eta, made.move, made.betas, made.sigma_max) == (1.0, "renoise", (0.5, 1.0), 3.0)
    check_node({"_target_": f"{__name__}.Method", "eta": 1, "betas": [0.5, 1], "sigma_max": None}, "method.sampler")


def test_what_a_class_checks_itself_is_raised_as_it_is():
    with pytest.raises(InputError, match=r"^betas fall; swap them$"):
        Method(betas=(0.9, 0.1))


def test_unknown_and_missing_settings_are_named():
    @settings
    class Needy:
        size: PositiveInt

    with pytest.raises(InputError, match=r"^sice is unknown to Needy; choose among size$"):
        Needy(1, sice=2)
    with pytest.raises(InputError, match=r"^Needy needs size; give it a value$"):
        Needy()


def test_settings_are_frozen_dataclasses():
    made = Variant(eta=0.5)
    with pytest.raises(FrozenInstanceError):
        made.eta = 0.6
    assert replace(made, eta=0.5) == made == pickle.loads(pickle.dumps(made))
    assert hash(made) == hash(Variant(eta=0.5))
    assert [each.name for each in fields(made)][-1] == "weight"
    with pytest.raises(InputError, match="at most 1"):
        replace(made, eta=2)


def test_identity_reads_defaults_and_marks():
    assert list(inspect.signature(Method).parameters)[:3] == ["eta", "steps", "move"]
    (form,) = form_of({"_target_": f"{__name__}.Method", "eta": 1}).values()
    assert form["eta"] == 1.0
    assert "momentum" not in form
    assert form["schedule"]["EDMSchedule"]["levels"] == 20


class Odd:
    def __init__(self, shape: inspect.Signature, act: Callable[[], int] | None = None) -> None: ...


def test_annotations_of_other_things_than_plain_data_are_left_to_the_build():
    check_node({"_target_": f"{__name__}.Odd", "shape": "text", "act": None}, "task.operator")
    check_node({"_target_": f"{__name__}.Odd", "act": {"_target_": "builtins.dict"}}, "task.operator")


class Folder:
    @checked
    def __init__(self, root: str, first: PositiveInt | None = 100, shape: tuple[int, int] = (1, 1)) -> None:
        if root == "none":
            raise InputError("there is no such folder", "make it")
        self.root, self.first, self.shape = root, first, shape


@pytest.mark.parametrize(
    ("given", "named", "says"),
    [
        (("a", 0), {}, "first=0 does not fit Folder; it must be more than 0 or null"),
        (("a",), {"first": True}, "first=True does not fit Folder; it must be a whole number or null"),
        ((3,), {}, "root=3 does not fit Folder; it must be a text"),
        ((), {}, "Folder needs root; give it a value"),
        (("a",), {"frist": 1}, "frist is unknown to Folder; choose among root, first, shape"),
        (("none",), {}, "there is no such folder; make it"),
    ],
)
def test_arguments_of_a_class_that_is_no_dataclass_are_checked_alike(given, named, says):
    with pytest.raises(InputError) as caught:
        Folder(*given, **named)
    assert str(caught.value) == says
    made = Folder("a", None, shape=OmegaConf.create([2, 3]))
    assert (made.root, made.first, made.shape) == ("a", None, (2, 3))


def test_in_a_configuration_they_have_the_full_key():
    with pytest.raises(InputError, match=r"^dataset\.images\.first=0 does not fit; it must be more than 0 or null$"):
        check_node({"_target_": f"{__name__}.Folder", "root": "a", "first": 0}, "dataset.images")
