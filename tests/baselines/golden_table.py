"""How far each method is from its authors' program on every file of `golden/`, as a Markdown table.

python -m tests.baselines.golden_table
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tests.baselines import test_programs_daps as daps
from tests.baselines import test_programs_ddnm as ddnm
from tests.baselines import test_programs_ddrm as ddrm
from tests.baselines import test_programs_diffpir as diffpir
from tests.baselines import test_programs_dps as dps
from tests.baselines import test_programs_pigdm as pigdm
from tests.baselines import test_programs_reddiff as reddiff
from tests.baselines.programs import GOLDEN, Program, operator_of
from vml_bench.text import markdown

HEADINGS = ("file", "σ_y", "program", "formula", "program, plain blur")


@dataclass(frozen=True)
class Distances:
    """Largest difference over a file's whole trajectory and answer.

    Attributes:
        name: the file.
        noise_std: σ_y on [-1, 1].
        program: with the program's options.
        formula: with the formula's.
        plain: with the program's options and, where H is a scrambled blur, the blur that it is named for.
    """

    name: str
    noise_std: float
    program: float
    formula: float
    plain: float | None = None

    @property
    def row(self) -> list[str]:
        """As printed."""
        plain = "" if self.plain is None else f"{self.plain:.2g}"
        return [f"`{self.name}`", f"{self.noise_std:g}", f"{self.program:.2g}", f"{self.formula:.2g}", plain]


def distances(name: str) -> Distances:
    """Of one file."""
    program = Program(name)
    noise_std = next(program.meta[key] for key in ("sigma_y", "sigma_0", "noise_level_model") if key in program.meta)
    of = OF[name.partition("_")[0]]
    return Distances(name, 2 * noise_std if of is _diffpir else noise_std, *of(program))


def _spectral(program: Program) -> Iterator[float]:
    tests = ddrm if program.meta["method"] == "DDRM" else ddnm
    yield max(tests.differences(program, operator_of(program), **tests.AS_PROGRAM))
    yield max(tests.differences(program, operator_of(program)))
    if "deblur" in program.meta["task"]:
        yield max(tests.differences(program, operator_of(program, scrambled=False), **tests.AS_PROGRAM))


def _dps(program: Program) -> Iterator[float]:
    yield dps.difference(program, **dps.as_program(program))
    operator = operator_of(program)
    seen = operator.spectrum_to_measurement(operator.measurement_to_spectrum(program.y))
    yield dps.difference(program, seen)


def _daps(program: Program) -> Iterator[float]:
    method = daps.published(program.meta)
    levels = replace(method.schedule, levels=program.meta["annealing_steps"])
    formula = replace(method, visit_last_level=True, stable_steps=True, schedule=levels)
    for way in (method, formula):
        ours, restored = daps.rows(program, way)
        yield max(float((ours - program.trajectory).abs().max()), float((restored - program.output).abs().max()))


def _diffpir(program: Program) -> Iterator[float]:
    method = diffpir.published(program.meta)
    yield diffpir.furthest(program, method)
    formula = replace(method, noise_floor=0.0, start="noise", clip=False, answer="estimate")
    yield diffpir.furthest(program, formula)


def _reddiff(program: Program) -> Iterator[float]:
    method = reddiff.published(program.meta)
    formula = replace(method, batch_in_mean=None, clip_start=True, apply_last_step=True)
    for way in (method, formula):
        before, restored = reddiff.rows(program, way)
        steps = reddiff.distance(before[1:], program.trajectory[: len(before) - 1])
        yield max(steps, reddiff.distance(restored, program.output))


def _pigdm(program: Program) -> Iterator[float]:
    method = pigdm.published(program.meta)
    yield pigdm.furthest(program, method)
    yield pigdm.furthest(program, replace(method, adaptive_weight=True, use_noise_std=True, start="noise"))


OF = {
    **{"ddrm": _spectral, "ddnm": _spectral, "dps": _dps, "daps": _daps},
    **{"diffpir": _diffpir, "reddiff": _reddiff, "pigdm": _pigdm},
}
FILES = sorted(path.stem for path in GOLDEN.glob("*_*.npz"))


def main() -> None:
    """Print the table."""
    print("\n".join(markdown(HEADINGS, [distances(name).row for name in FILES], left=[0])))


if __name__ == "__main__":
    main()
