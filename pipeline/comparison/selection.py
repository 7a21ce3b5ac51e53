"""Which runs are compared, why the others are not, and which rows may be ranked (equal budget and training data)."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pipeline.errors import enumerate_some
from pipeline.tracking.run_kinds import (
    EXTERNAL,
    budget_of,
    carries_our_tags,
    configuration,
    describe_arguments,
    has_test_result,
    is_external,
    is_reproduction,
    maker_of,
    row_name,
    short_name,
    was_trained_here,
)
from pipeline.tracking.run_options import limit_of, logged_text, option_of, say_option
from pipeline.tracking.runs import Run
from pipeline.tracking.tags import Tag

_NAMED = 6  # of more rows only the number is said


def describe_tuning(run: Run) -> str:
    """The budget, and the seconds of training that the search spent of it or with it."""
    seconds = run.tags.get(Tag.BUDGET_TRAIN_SECONDS)
    return f"{budget_of(run)} ({float(seconds):,.0f} s)" if seconds else budget_of(run)


def list_budgets(runs: Iterable[Run]) -> list[str]:
    """The budgets that runs of ours were tuned with, each once. Of models from elsewhere nobody knows."""
    return list(dict.fromkeys(filter(None, (budget_of(run) for run in _ours(runs)))))


def is_fair(runs: Iterable[Run]) -> bool:
    """Whether the runs were tuned with the same budget and trained on the same examples."""
    runs = list(runs)
    return len(list_budgets(runs)) < 2 and len({_sample(run) for run in _ours(runs)}) < 2


def list_inequalities(rows: Mapping[str, Iterable[Run]]) -> list[str]:
    """In what rows, given by name, were not treated alike: a phrase each that follows "they were"."""
    budgets = list_budgets(run for runs in rows.values() for run in runs)
    phrases = [f"tuned with different budgets ({'; '.join(budgets)})"] if len(budgets) > 1 else []
    samples: dict[tuple[str, ...], dict[str, None]] = {}
    for name, runs in rows.items():
        for run in _ours(runs):
            samples.setdefault(_sample(run), {})[name] = None
    if len(samples) > 1:
        seeds = {seed for _, *more in samples for seed in more}
        listed = (f"{_say_sample(sample, len(seeds) > 1)} for {_say_rows(list(names))}" for sample, names in samples.items())
        phrases.append(f"trained on different data ({'; '.join(listed)})")
    return phrases


def _ours(runs: Iterable[Run]) -> Iterator[Run]:
    return filter(was_trained_here, runs)


def limit_of_train(run: Run) -> int | None:
    """To how many examples what there was to train on was bounded; None where there were no more.

    How many of these a size takes is another matter.
    """
    return limit_of(run, "max_train_samples", run.metrics.get("data/rows_train", math.inf))


def limit_of_test(run: Run) -> int | None:
    """To how many examples a run's test was bounded; None where there were no more."""
    return limit_of(run, "max_eval_samples", run.metrics.get("test/rows", math.inf))


def _sample(run: Run) -> tuple[str, ...]:
    """What decides which of the training examples, the same for all compared runs, a run was trained on."""
    limit = limit_of_train(run)
    return ("",) if limit is None else (str(limit), say_option(run, "split_seed"))


def _say_sample(sample: tuple[str, ...], with_seed: bool) -> str:
    limit, *seed = sample
    drawn = f" drawn with split seed {seed[0]}" if seed and with_seed else ""
    return f"at most {limit} examples{drawn}" if limit else "all examples"


def _say_rows(names: Sequence[str]) -> str:
    """Without commas between: some names have their own."""
    return " and ".join(names) if len(names) <= _NAMED else f"{len(names)} rows"


_LONGEST_NAME = 200
"""Bytes of a file's name, so that an ending and what a file system may add still fit."""
_NAMED_ONE_BY_ONE = 3  # more runs that are left out for one reason are counted


@dataclass(frozen=True)
class ExcludedRun:
    """A run that is not compared, and why."""

    run: Run
    reason: str
    detail: str = ""
    kind: Literal["", "other stage", "other test"] = ""
    """Whether it is a run of another stage, or was tested on other examples than the newest."""

    @property
    def name(self) -> str:
        """What the run is called; one that failed early may have no strategy yet."""
        return row_name(self.run)

    def __str__(self) -> str:
        """A line about this run alone."""
        if self.kind == "other stage":
            return f"run {self.run.run_id}: {self.reason}"
        return f"{self.name} (run {self.run.run_id}): {self.reason}{self.detail}"


@dataclass(frozen=True)
class Selection:
    """Runs that are compared, and those that are not."""

    kept: tuple[Run, ...]
    omitted: tuple[ExcludedRun, ...]
    failed: tuple[Run, ...] = ()
    """Trainings on the same data that failed and were not made again: seeds that a row lacks."""
    ranked: bool = True
    """Whether the rows may be put in order of their scores."""
    reused: frozenset[str] = frozenset()
    """Ids of kept runs that a study took from earlier ones."""
    also: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Id of a run -> other entries of the study of which it is the training, too."""
    missing: tuple[str, ...] = ()
    """What the study has planned and not begun, a phrase a row."""
    doubts: tuple[str, ...] = ()
    """What makes the study's comparison unfair, a sentence or two each."""
    unfit: tuple[str, ...] = ()
    """A line about each strategy that could not be run at all."""

    @property
    def left_out(self) -> tuple[str, ...]:
        """A line about each run, or strategy, that is not compared."""
        return (*map(str, self.omitted), *self.unfit)

    def summarise_left_out(self) -> Iterator[str]:
        """Those lines, but one with a count for a reason that holds for many runs."""
        for reason in dict.fromkeys(excluded.reason for excluded in self.omitted):
            same = [excluded for excluded in self.omitted if excluded.reason == reason]
            if len(same) <= _NAMED_ONE_BY_ONE:
                yield from map(str, same)
            else:
                counted = Counter(excluded.name for excluded in same)
                names = [f"{count} {name}" if count > 1 else name for name, count in counted.items()]
                yield f"{len(same)} runs ({enumerate_some(names, 10)}): {reason}"
        yield from self.unfit

    def file_names(self) -> dict[str, Run]:
        """A name that can serve as file name for each run: its row's, with what tells it from others of that name.

        That are the model, the number of labelled texts, arguments, the seed, and at last the run's id.
        """
        named: dict[str, Run] = {}
        taken: set[str] = set()
        for run in self.kept:
            others = [other for other in self.kept if row_name(other) == row_name(run)]
            name = row_name(run)
            for describe in (_describe_model, _describe_size, describe_arguments, _describe_seed):
                if len({describe(other) for other in others}) > 1:
                    name = f"{name}_{describe(run)}"
            name = re.sub(r"[^\w.-]+", "_", name).strip("_.") or run.run_id[:8]  # never `..`, which is another folder
            short = name if len(name.encode()) <= _LONGEST_NAME else name[: _LONGEST_NAME // 4]  # a character has up to 4 bytes
            # Names that some file systems hold for one: of other case, or the same letters composed otherwise.
            clashes = short != name or unicodedata.normalize("NFKC", name).casefold() in taken
            name = f"{short}_{run.run_id[:8]}" if clashes else name
            taken.add(unicodedata.normalize("NFKC", name).casefold())
            named[name] = run
        return named


def select_runs(candidates: Iterable[Run], named: bool = False, allow_unequal_budgets: bool = False) -> Selection:
    """Keep what finished, has a test result, and was tested on the same examples as the newest such run.

    Of runs that repeat the same configuration the newest is kept. What `reproduce` made again never stands for the original.

    Args:
        named: Whether somebody asked for just these runs; those of other stages are then named as left out, too, and what
            `reproduce` made counts like any other run.
        allow_unequal_budgets: Rank them even where they were tuned with different budgets or trained on different data.
    """
    candidates = list(candidates)
    kept: list[Run] = []
    omitted: list[ExcludedRun] = []
    seen: set[tuple[str, ...]] = set()
    if named:
        omitted += [
            ExcludedRun(run, f"made by {maker_of(run)}, not by train", kind="other stage")
            for run in candidates
            if not _is_result(run)
        ]
    failed: list[Run] = []
    comparable = [run for run in candidates if _is_result(run) and (named or not is_reproduction(run))]
    omitted += [
        ExcludedRun(run, "made by reproduce; --run-ids takes it in")
        for run in candidates
        if _is_result(run) and has_test_result(run) and is_reproduction(run) and not named
    ]
    for run in sorted(comparable, key=lambda run: -run.start_time):
        if run.status != "FINISHED":
            detail = f": {run.tags['status_detail']}" if run.tags.get("status_detail") else ""
            omitted.append(ExcludedRun(run, f"status {run.status}", detail))
            failed += [run] if run.status == "FAILED" else []
        elif not has_test_result(run):
            omitted.append(ExcludedRun(run, "no test result; run evaluate"))
        elif kept and test_set_of(run) != test_set_of(kept[0]):
            reason = f"tested on other data than the newest run ({_describe_other_test(run, kept[0])})"
            omitted.append(ExcludedRun(run, reason, kind="other test"))
        elif configuration(run) in seen:
            omitted.append(ExcludedRun(run, "a newer run repeats the same configuration"))
        else:
            seen.add(configuration(run))
            kept.append(run)
    ranked = allow_unequal_budgets or is_fair(kept)
    by_time = sorted(kept, key=lambda run: run.start_time)
    return Selection(tuple(by_time), tuple(omitted), _unrepeated(failed, kept), ranked)


def _unrepeated(failed: Iterable[Run], kept: Sequence[Run]) -> tuple[Run, ...]:
    """Of each configuration that failed on the data of `kept` the newest run, unless another try of it was kept."""
    done = {configuration(run) for run in kept}
    fingerprints = {run.tags["data_fingerprint"] for run in kept}
    newest: dict[tuple[str, ...], Run] = {}
    for run in failed:
        # One that failed before it could say what it is stands among those left out, and nowhere else.
        said = carries_our_tags(run) and run.tags["data_fingerprint"] in fingerprints
        if said and configuration(run) not in done:
            newest.setdefault(configuration(run), run)
    return tuple(newest.values())


def _describe_model(run: Run) -> str:
    """Of one from elsewhere the arguments say it."""
    return "" if run.tags["strategy"] == EXTERNAL else short_name(run.params.get("model", ""))


def _describe_size(run: Run) -> str:
    return f"{run.params.get('train_size') or 'all'}texts"


def _describe_seed(run: Run) -> str:
    return f"seed{run.params.get('seed', '')}"


def _is_result(run: Run) -> bool:
    """Trained here, a trial that was evaluated, or a model from elsewhere."""
    if run.status == "FINISHED" and not carries_our_tags(run):
        return False
    if run.stage == "trial":
        return has_test_result(run)
    return run.stage == "train" or is_external(run)


def _describe_other_test(run: Run, newest: Run) -> str:
    """The data set, or else which options of its reading and cutting differ, or else its fingerprint."""
    differing = list_differing(run, newest, _TEST_OPTIONS)
    named = differing[:1] if differing and differing[0].startswith("dataset ") else differing
    there, here = (side.tags["data_fingerprint"][:12] for side in (run, newest))
    return "; ".join(named) or f"data fingerprint {there}, not {here}"


def list_differing(run: Run, other: Run, names: Sequence[str]) -> list[str]:
    """Of some options those in which two runs differ, with what both have, in their order."""
    said = {name: (_say_option(run, name), _say_option(other, name)) for name in names}
    return [f"{name} {mine}, not {theirs}" for name, (mine, theirs) in said.items() if not _agree(run, other, name)]


def _agree(run: Run, other: Run, name: str) -> bool:
    if name == _LIMIT:
        return limit_of_test(run) == limit_of_test(other)
    return bool(option_of(run, name) == option_of(other, name))


def _say_option(run: Run, name: str) -> str:
    is_none = name == _LIMIT and limit_of_test(run) is None
    return "none" if is_none else logged_text(run, name) or "none"


_LIMIT = "max_eval_samples"
_TEST_OPTIONS = (
    *("dataset", "dataset_config_name", "dataset_revision", "train_file", "validation_file", "test_file", "label_type"),
    *("text_column", "text_pair_column", "label_column", "label_separator", "label_columns"),
    *("split", "group_column", "split_ratios", "split_seed", _LIMIT),
)


def test_set_of(run: Run) -> tuple[str, str | None, str | None]:
    """Equal for runs that were tested on the same examples; the first is empty where another project made the run."""
    limit, fingerprint = limit_of_test(run), run.tags.get("data_fingerprint", "")
    return (fingerprint, None, None) if limit is None else (fingerprint, str(limit), say_option(run, "split_seed") or None)
