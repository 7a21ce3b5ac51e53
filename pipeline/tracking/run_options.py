"""What a run was made with, read off its parameters by meaning and not by how it was typed.

`mlflow run -P` logs what was typed, defaults too, and a stage logs what it makes of that, without the defaults of options that
came later. So `true` and `True` are one value, and so are a default that was typed and an option that is not there.
"""

from __future__ import annotations

import ast
import contextlib
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from pipeline.config import StageConfig, TrainConfig
from pipeline.config.fields import FieldDescription, describe_fields
from pipeline.config.identity import SEEDS
from pipeline.errors import RunError, shorten
from pipeline.tracking.runs import Run

if TYPE_CHECKING:
    from pipeline.data.long_texts import LongTextReading


def option_of(run: Run, name: str) -> Any:
    """The value of an option of training; its default where the run has none."""
    return logged_option(run, name) if logged_text(run, name) is not None else _describe(TrainConfig)[name].default


def logged_option(run: Run, name: str, stage: type[StageConfig] = TrainConfig) -> Any:
    """The value of an option as its stage reads it; None where the run has none.

    What the stage would refuse, of another version or by somebody else, is given as the text that it is.
    """
    text = logged_text(run, name)
    return None if text is None else _read(stage, name, text)


def logged_text(run: Run, name: str) -> str | None:
    """What stands on the run: the value that was used, where `mlflow run` had logged another one. An empty text gives none."""
    return run.params.get(f"{name}_resolved") or run.params.get(name) or None


def say_option(run: Run, name: str) -> str:
    """An option of training as it is logged, however it was typed; empty where the run has none."""
    value = logged_option(run, name)
    return "" if value is None else str(list(value) if isinstance(value, tuple) else value)


def count_of(run: Run, name: str) -> int | None:
    """A number of examples that an option asks for; None where it asks for none.

    Raises:
        RunError: Somebody else wrote there what is no number.
    """
    value = logged_option(run, name)
    if value is None or isinstance(value, int):
        return value
    raise RunError(
        f"Run {run.run_id}: its parameter {name} says {shorten(str(value))!r} where a whole number is expected. No parameter "
        f"can be changed, so delete the run (`mlflow runs delete --run-id {run.run_id}`), or compare others by --run-ids."
    )


def limit_of(run: Run, name: str, there: float) -> int | None:
    """To how many of the examples that are there an option bounds them; None where it leaves them all."""
    limit = count_of(run, name)
    return None if limit is None or limit >= there else limit


def reading_of(run: Run) -> LongTextReading:
    """What was read of texts that are too long."""
    from pipeline.data.long_texts import LongTextReading

    said = {name: say_option(run, name) for name in ("long_texts", "window_overlap")}
    return LongTextReading.recorded({name: text for name, text in said.items() if text})


def seeds_of(run: Run) -> tuple[Any, ...]:
    """Those that the run has of all seeds; equal for runs of the same draws."""
    return tuple(logged_option(run, name) for name in SEEDS)


@cache
def _describe(stage: type[StageConfig]) -> dict[str, FieldDescription]:
    return describe_fields(stage)


@cache
def _reader(stage: type[StageConfig], name: str) -> TypeAdapter[Any]:
    return TypeAdapter(stage.__pydantic_fields__[name].rebuild_annotation())  # type: ignore[attr-defined]


def _read(stage: type[StageConfig], name: str, text: str) -> Any:
    """As `config.fields.build` reads a single option; what is none, such as `compute_dtype`, is a text."""
    field = _describe(stage).get(name)  # type: ignore[arg-type]  # mypy takes the class for one of its instances
    if field is None:
        return text
    if field.optional and text in ("none", "None"):
        return None
    given: object = text
    if text.startswith("["):  # several values, which are logged as a list
        with contextlib.suppress(ValueError, SyntaxError, MemoryError, RecursionError):
            given = ast.literal_eval(text)
    try:
        return _reader(stage, name).validate_python(given)  # type: ignore[arg-type]
    except (ValidationError, RecursionError):
        return text
