"""What a run is: whether it was trained here, which row of the table it belongs to, and what that row is called."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

from pipeline.errors import ConfigError, RunError, shorten
from pipeline.evaluation.metric import LabelType, ranking
from pipeline.evaluation.metrics.label_sets import SUBSET_ACCURACY
from pipeline.json_text import parse_json
from pipeline.modeling.encoder import FAMILY_HEAD
from pipeline.strategies.base import create_strategy, strategy_arguments
from pipeline.strategies.baseline import is_baseline
from pipeline.tracking.run_options import say_option
from pipeline.tracking.runs import Run
from pipeline.tracking.tags import Tag

EXTERNAL = "external"
"""What stands as strategy of a model that was not trained here."""
UNTUNED = "untuned"
_TAGS_OF_OURS = frozenset({"strategy", "data_fingerprint", "config_hash", str(Tag.SETTINGS_HASH)})


def was_trained_here(run: Run) -> bool:
    """Whether training made the run, as one of its own or a search's trial; a model from elsewhere is only evaluated."""
    return run.stage in ("train", "trial")


def carries_our_tags(run: Run) -> bool:
    """As all runs of ours do that have finished; another project may write `stage` and our metrics, too."""
    return run.tags.keys() >= _TAGS_OF_OURS


def maker_of(run: Run) -> str:
    """The stage that made a run that has finished, or `another project`."""
    is_stage_of_results = was_trained_here(run) or is_external(run)
    return "another project" if not run.stage or (is_stage_of_results and not carries_our_tags(run)) else run.stage


def is_trial(run: Run) -> bool:
    """Whether a search made the run, also if a study has taken it for the training of its seed since."""
    return Tag.TRIAL in run.tags


def is_external(run: Run) -> bool:
    """Whether the run holds the test of a model from elsewhere."""
    return run.stage == "evaluate" and run.tags.get("strategy") == EXTERNAL


def is_reproduction(run: Run) -> bool:
    """Whether `reproduce` made the run, to be held against another one and nothing else."""
    return Tag.REPRODUCES in run.tags


def has_test_result(run: Run) -> bool:
    """Whether `evaluate` has written its scores, of classes or of scores, onto the run."""
    return f"test/{ranking('class').name}" in run.metrics or predicts_scores(run)


def predicts_scores(run: Run) -> bool:
    """Whether what was tested on the run are scores, not classes."""
    return f"test/{ranking('score').name}" in run.metrics


def predicts_sets(run: Run) -> bool:
    """Whether what was tested on the run are sets of labels."""
    return f"test/{SUBSET_ACCURACY.name}" in run.metrics


def label_type_of(runs: Iterable[Run]) -> LabelType:
    """What labels the runs, which were tested on the same examples, were asked for."""
    runs = list(runs)
    return "multi" if any(map(predicts_sets, runs)) else "score" if any(map(predicts_scores, runs)) else "class"


def trains_no_encoder(run: Run) -> bool:
    """Whether a baseline made the run."""
    return was_trained_here(run) and is_baseline(run.tags.get("strategy", ""))


def count_processes(run: Run) -> int:
    """How many processes trained together."""
    return _number(run, Tag.NUM_PROCESSES)


def count_at_once(run: Run) -> int:
    """How many runs were trained at once, this one among them."""
    return _number(run, Tag.WORKERS)


def _number(run: Run, tag: Tag) -> int:
    """What a tag says; 1 without it."""
    text = run.tags.get(tag, "1")
    try:
        return int(text)
    except ValueError as error:
        raise _strange(run, tag, "a number") from error


def _strange(run: Run, tag: Tag, expected: str) -> RunError:
    """A tag that we did not write so: whoever can write to the store can write any."""
    return RunError(
        f"Run {run.run_id}: its tag {tag} says {shorten(run.tags[tag])!r} where {expected} is expected. Mend the tag "
        f"(`MlflowClient().set_tag`), or delete the run (`mlflow runs delete --run-id {run.run_id}`)."
    )


def budget_of(run: Run) -> str:
    """What the search behind a run was allowed to spend; `untuned` without one, empty where there is nothing to search."""
    if not _is_tunable(run.tags.get("strategy", "")):
        return ""
    trials = run.tags.get(Tag.TUNED_TRIALS)
    return run.tags.get(Tag.TUNING_BUDGET) or (f"{trials} trials" if trials else UNTUNED)


def configuration(run: Run) -> tuple[str, ...]:
    """Equal for runs that repeat one another, seed included.

    With dropout another number of processes is another draw. Whether the outputs of frozen layers were kept is in no key: that
    changes times, and scores by rounding alone.
    """
    return run.tags["config_hash"], run.tags.get(Tag.BASE_SHA256, ""), str(count_processes(run))


def row_key(run: Run) -> tuple[str, ...]:
    """Equal for runs that differ in their seeds only: same settings, base, precision and processes, tuned alike."""
    return (
        run.tags[Tag.SETTINGS_HASH],
        run.tags.get(Tag.BASE_SHA256, ""),
        run.params.get("compute_dtype", ""),
        str(count_processes(run)),
        run.tags.get(Tag.TUNED_TRIALS, ""),
        budget_of(run),
    )


def group_by_row(runs: Iterable[Run]) -> dict[tuple[str, ...], list[Run]]:
    """`row_key` -> the runs of that row, both in the order in which they come."""
    rows: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        rows.setdefault(row_key(run), []).append(run)
    return rows


def row_name(run: Run) -> str:
    """What a row is called: the recipe's entry where it has a name of its own, else the strategy.

    A run that failed before it could say either has its own name.
    """
    return run.tags.get(Tag.ENTRY) or run.tags.get("strategy") or run.name


def short_name(model: str) -> str:
    """What a model is called in a row's name: of a folder the last part of its path; whatever it is called otherwise."""
    path = Path(model)
    return path.name if path.is_absolute() or model.startswith((".", "~")) else model


def name_with_model(name: str, model: str) -> str:
    """What a row is called beside rows of other models; one without a model as ever."""
    return f"{name}, {short_name(model)}" if model else name


def name_with_size(name: str, size: int | str | None) -> str:
    """What a row is called beside rows that were trained on other numbers of texts; None is all of them."""
    return f"{name} on {size or 'all'} texts"


def name_with_seed(run: Run) -> str:
    """What one of a row's runs is called; a model from elsewhere has no seed."""
    return f"{row_name(run)} (seed {run.params['seed']})" if "seed" in run.params else row_name(run)


def describe_arguments(run: Run, changed_only: bool = False) -> str:
    """The strategy's arguments as they would be typed, and the head where it is not the family's own.

    Args:
        changed_only: Leave those out that are as the strategy has them by default.
    """
    if run.tags["strategy"] == EXTERNAL:
        return f"model={run.params.get('model', '')}"
    arguments = _arguments(run)
    if changed_only:
        usual = _default_arguments(run.tags["strategy"])
        arguments = {name: value for name, value in arguments.items() if name not in usual or usual[name] != value}
    head = run.params.get("head", FAMILY_HEAD)
    arguments = ({"head": head} if head != FAMILY_HEAD else {}) | arguments
    return ",".join(f"{name}={_typed_value(value)}" for name, value in arguments.items() if value not in ([], None))


def _arguments(run: Run) -> dict[str, object]:
    try:
        arguments = parse_json(run.tags.get(Tag.STRATEGY_ARGS, "{}"))
    except ValueError as error:
        raise _strange(run, Tag.STRATEGY_ARGS, "JSON") from error
    if not isinstance(arguments, dict):
        raise _strange(run, Tag.STRATEGY_ARGS, "a JSON object")
    return arguments


def learning_rate(run: Run) -> str:
    """As it is logged; nothing where no optimizer is stepped, because the strategy solves for its weights."""
    try:
        solved = create_strategy(run.tags["strategy"], {}).is_solved
    except ConfigError:
        solved = False
    return "" if solved else say_option(run, "learning_rate")


@cache
def _is_tunable(strategy: str) -> bool:
    try:
        return create_strategy(strategy, {}).is_tunable
    except ConfigError:  # of a model from elsewhere, or one of another version
        return True


def _default_arguments(strategy: str) -> dict[str, object]:
    try:
        return strategy_arguments(create_strategy(strategy, {}))
    except ConfigError:  # of another version of the project, or a plug-in that is gone
        return {}


def _typed_value(value: object) -> str:
    return "[" + ",".join(map(str, value)) + "]" if isinstance(value, list) else str(value)
