"""Names by content: what changes a number changes them, and nothing else does."""

from __future__ import annotations

import dataclasses
import importlib
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vml_bench.contract import ImageSet
from vml_bench.identity import (
    AsBefore,
    Aside,
    canonical,
    digests_of,
    form_of,
    form_of_object,
    image_digest,
    images_name,
    in_words,
    name_of,
    parameters_digest,
    prior_form,
    problem_form,
    run_form,
    settings_of,
)

HERE = __name__


@dataclass(frozen=True)
class Inner:
    """A schedule, say."""

    levels: int = 20


@dataclass(frozen=True)
class Method:
    """A method as anyone would write one."""

    scale: float = 1.0
    steps: int = 5
    kind: str = "plain"
    rate: float | None = None
    betas: tuple[float, float] = (0.9, 0.99)
    weights: str | Path | None = None
    schedule: Inner | Callable[..., object] = field(default_factory=Inner)


def node(of: type | str = Method, **values: object) -> dict[str, object]:
    return {"_target_": f"{HERE}.{of if isinstance(of, str) else of.__name__}", **values}


def with_option(value: object, neutral: object) -> type:
    """`Method` with one option more, which at `neutral` means that it is as if it were not there."""
    extra = ("extra", Annotated[float, AsBefore(neutral)], dataclasses.field(default=value))
    return dataclasses.make_dataclass("Method", [extra], bases=(Method,), frozen=True)


@pytest.mark.parametrize("spelt", [0, 0.0, -0.0, "0", "0.0", "0e0"])
def test_a_number_is_one_however_it_is_spelt(spelt):
    value = float(spelt) if isinstance(spelt, str) else spelt
    assert form_of(node(scale=value)) == form_of(node(scale=0.0))
    assert name_of(form_of(node(scale=value))) == name_of(form_of(node(scale=0)))


@settings(deadline=None, max_examples=100, derandomize=True)
@given(value=st.integers(-(2**40), 2**40))
def test_a_whole_number_for_a_float_is_that_float(value):
    assert form_of(node(scale=value, rate=value)) == form_of(node(scale=float(value), rate=float(value)))
    assert canonical(value, float) == float(value)
    assert type(canonical(value, float)) is float


@settings(deadline=None, max_examples=100, derandomize=True)
@given(first=st.floats(allow_nan=False), second=st.floats(allow_nan=False))
def test_numbers_that_differ_have_names_that_differ(first, second):
    same = name_of(form_of(node(scale=first))) == name_of(form_of(node(scale=second)))
    assert same == (first == second)


def test_what_is_given_at_its_default_is_as_if_it_were_not_given():
    given_all = node(scale=1, steps=5, kind="plain", rate=None, betas=[0.9, 0.99], schedule=node(Inner, levels=20))
    assert form_of(given_all) == form_of(node())
    assert form_of_object(Method()) == form_of(node())


@settings(deadline=None, max_examples=30, derandomize=True)
@given(order=st.permutations(["scale", "steps", "kind", "rate"]))
def test_the_order_of_keys_does_not_count(order):
    values = {"scale": 2.0, "steps": 3, "kind": "other", "rate": 0.5}
    assert name_of(form_of(node(**{key: values[key] for key in order}))) == name_of(form_of(node(**values)))


def test_a_changed_default_changes_the_name(monkeypatch):
    before = form_of(node())
    changed = dataclasses.make_dataclass("Method", [("scale", float, 2.0)], bases=(Method,), frozen=True)
    monkeypatch.setattr(sys.modules[HERE], "Method", changed)
    assert name_of(form_of(node())) != name_of(before)
    assert form_of(node(scale=1.0)) == before


def test_a_changed_default_of_an_inner_part_changes_the_name(monkeypatch):
    before = form_of(node())
    longer = dataclasses.make_dataclass("Inner", [("levels", int, 30)], frozen=True)
    monkeypatch.setattr(sys.modules[HERE], "Inner", longer)
    kind = dataclasses.make_dataclass(
        "Method", [("schedule", object, field(default_factory=longer))], bases=(Method,), frozen=True
    )
    monkeypatch.setattr(sys.modules[HERE], "Method", kind)
    assert form_of(node()) != before


def test_an_option_added_at_the_value_that_means_as_before_keeps_the_name(monkeypatch):
    before = form_of(node())
    monkeypatch.setattr(sys.modules[HERE], "Method", with_option(0.0, 0.0))
    assert form_of(node()) == form_of(node(extra=0)) == before
    assert form_of(node(extra=0.5)) != before
    monkeypatch.setattr(sys.modules[HERE], "Method", with_option(0.5, 0.0))
    assert form_of(node()) != before, "its default matters now"
    assert form_of(node(extra=0.0)) == before


def test_of_a_path_what_lies_there_counts_and_not_where_it_lies(tmp_path):
    for name, content in (("a.pt", b"1"), ("b.pt", b"1"), ("c.pt", b"2")):
        (tmp_path / name).write_bytes(content)
    a, b, c = (form_of(node(weights=str(tmp_path / name))) for name in ("a.pt", "b.pt", "c.pt"))
    assert a == b
    assert len({name_of(a), name_of(c), name_of(form_of(node()))}) == 3
    assert in_words(settings_of(a, form_of(node()))).startswith("weights=file ")


def test_a_file_that_a_text_names_counts_by_its_content_too(tmp_path):
    """An option that nobody declared as a path: a mask given as text, say."""
    mask = tmp_path / "mask.png"
    mask.write_bytes(b"1")
    first = form_of(node(kind=str(mask)))
    moved = mask.rename(tmp_path / "other.png")
    assert form_of(node(kind=str(moved))) == first
    moved.write_bytes(b"2")
    assert form_of(node(kind=str(moved))) != first


def test_a_folder_counts_by_what_is_in_it(tmp_path):
    for name in ("x", "y"):
        (tmp_path / name / "in").mkdir(parents=True)
        (tmp_path / name / "in" / "a").write_text("1")
    first, second = (form_of(node(weights=str(tmp_path / name))) for name in ("x", "y"))
    assert first == second
    (tmp_path / "y" / "in" / "a").write_text("2")
    assert form_of(node(weights=str(tmp_path / "y"))) != first


def test_what_is_kept_besides_does_not_count(monkeypatch):
    kind = dataclasses.make_dataclass("Method", [("keep", Annotated[bool, Aside], False)], frozen=True)
    monkeypatch.setattr(sys.modules[HERE], "Method", kind)
    assert form_of(node(keep=True)) == form_of(node(keep=False))


def test_a_module_that_is_moved_keeps_every_name(tmp_path, monkeypatch):
    code = textwrap.dedent("""
        from dataclasses import dataclass
        @dataclass(frozen=True)
        class Mine:
            '''A method.'''
            eta: float = 0.5
    """)
    for name in ("first_place", "second_place"):
        (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    forms = [form_of({"_target_": f"{name}.Mine", "eta": 1}) for name in ("first_place", "second_place")]
    assert forms[0] == forms[1]
    moved = importlib.import_module("second_place").Mine
    assert form_of_object(moved(1.0)) == forms[0]


def test_settings_are_what_differs_from_the_configuration():
    configured = form_of(node(scale=2.0))
    assert settings_of(form_of(node(scale=2)), configured) == {}
    changed = settings_of(form_of(node(scale=0.5, schedule=node(Inner, levels=4))), configured)
    assert in_words(changed) == "scale=0.5, schedule.levels=4"


class Set(ImageSet):
    """Two images, in memory."""

    name = "two"
    image_shape = (1, 2, 2)

    def __init__(self, values: dict[str, float], repeats: bool = False) -> None:
        self.ids = tuple(values)
        self._values, self._repeats = values, repeats

    def load(self, image_id):
        return torch.full(self.image_shape, self._values[image_id])

    def scene(self, image_id):
        return "one" if self._repeats else image_id


def named(images: Set) -> str:
    return images_name(images, digests_of(images))


def test_a_set_of_images_is_its_ids_pixels_and_scenes_in_any_order():
    first = named(Set({"a": 0.1, "b": 0.2}))
    assert named(Set({"b": 0.2, "a": 0.1})) == first
    others = [Set({"a": 0.1}), Set({"a": 0.1, "c": 0.2}), Set({"a": 0.2, "b": 0.1}), Set({"a": 0.1, "b": 0.2}, True)]
    assert len({first, *map(named, others)}) == 5


def test_shape_and_dtype_belong_to_an_image():
    image = torch.zeros(1, 2, 2)
    assert len({image_digest(x) for x in (image, image.double(), image.reshape(1, 1, 4))}) == 3


def test_the_last_bits_of_a_drawn_image_do_not_count_and_any_level_of_a_stored_one_does():
    image = torch.linspace(-1, 1, 48, dtype=torch.float64).reshape(3, 4, 4)
    assert image_digest(image + 1e-13) == image_digest(image)
    levels = {image_digest(torch.full((1, 1, 1), level / 32767.5 - 1)) for level in range(0, 65536, 257)}
    assert len(levels) == 256
    assert image_digest(torch.full((1, 1, 1), 1 / 32767.5)) != image_digest(torch.zeros(1, 1, 1))


def test_a_problem_is_images_operator_noise_and_seed():
    operator = {"_target_": "vml_bench.operators.BlockAverage", "_partial_": True, "factor": 4}
    asked = problem_form("0" * 10, operator, 0, 0)
    assert name_of(problem_form("0" * 10, operator, 0.0, 0)) == name_of(asked)
    others = [
        problem_form("1" * 10, operator, 0, 0),
        problem_form("0" * 10, operator | {"factor": 2}, 0, 0),
        problem_form("0" * 10, operator, 0.05, 0),
        problem_form("0" * 10, operator, 0, 1),
        problem_form("0" * 10, operator, 0, 0, {"Oracle": {}}),
    ]
    assert len({name_of(form) for form in (asked, *others)}) == 6


class Network(torch.nn.Module):
    """A learned prior that names no file."""

    def __init__(self, value: float = 0.0) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.full((3,), value))


def test_a_prior_without_a_file_is_told_by_its_parameters():
    forms = [prior_form(node("Network"), Network(value)) for value in (0.0, 1.0)]
    assert forms[0] != forms[1]
    assert all(len(form["parameters"]) == 64 for form in forms)
    assert parameters_digest(Network()) == parameters_digest(Network())


def test_a_prior_in_closed_form_is_told_by_its_node():
    mixture = {"_target_": "vml_bench.priors.closed_form.random_mixture", "image_shape": [1, 1, 2], "components": 2}
    forms = [prior_form(mixture | {"seed": seed}, object()) for seed in (0, 1)]
    assert forms[0] != forms[1]
    assert all(form == {"random_mixture": form["random_mixture"]} for form in forms)


def test_a_run_of_a_method_that_asks_no_prior_depends_on_none():
    problem = problem_form("0" * 10, {"_target_": "vml_bench.operators.Denoise"}, 0.1, 0)
    plain, half = ({}, {"dtype": "bfloat16"})
    assert run_form(problem, form_of(node()), None, plain) == run_form(problem, form_of(node()), None, half)
    learned = [
        run_form(problem, form_of(node()), prior, how) for prior in ({"a": {}}, {"b": {}}) for how in (plain, half)
    ]
    assert len({name_of(form) for form in learned}) == 4
