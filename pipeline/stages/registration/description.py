"""What stands on a version of a registered model: how it was chosen, data, scores, costs, licences; as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pipeline.comparison.head_to_head import score_alone
from pipeline.comparison.predictions import read_record
from pipeline.comparison.report.markdown import as_plain
from pipeline.evaluation.metric import list_metrics
from pipeline.evaluation.statistics.intervals import Interval
from pipeline.stages.registration.choice import Choice, parameters_of
from pipeline.stages.registration.licences import licence_of_base, licence_of_data
from pipeline.stages.testing.test import describe_part
from pipeline.tracking.run_kinds import describe_arguments, label_type_of, name_with_seed, short_name, trains_no_encoder
from pipeline.tracking.runs import Run, RunStore

_UNKNOWN = "licence not known"


def describe(choice: Choice, store: RunStore) -> str:
    """All but the decision, which is taken later.

    Raises:
        RunError: The run has no predictions that can be read.
    """
    run = choice.run
    lines = [
        f"{_name(run)}: the model of run {run.run_id}. {choice.how}",
        f"Data: {_data(run, read_record(run, 'manifest.json', store))}.",
        f"Base: {_base(run)}.",
        f"Test: {_scores(choice, score_alone(run, store))}.",
        f"Costs: {'; '.join(_costs(run))}.",
    ]
    return "\n\n".join(map(as_plain, lines))


def say_role_of_test(choice: Choice, before: int, name: str) -> str:
    """What the test set has decided, so that nobody takes the score for that of texts which had no say."""
    times = {0: "has not decided", 1: "has decided once"}.get(before, f"has decided {before} times")
    chose = f"chose this model among {choice.by_test} rows, and " if choice.by_test else ""
    too_good = (
        " So its score there is likely too good: test on other data what you rely on." if choice.by_test or before else ""
    )
    return f"Its test set {chose}{times} before which version of {name} is champion.{too_good}"


def _name(run: Run) -> str:
    arguments = describe_arguments(run, changed_only=True)
    return f"{name_with_seed(run)}{f', {arguments}' if arguments else ''}"


def _data(run: Run, manifest: Mapping[str, object]) -> str:
    rows = manifest.get("rows")
    sizes = ", ".join(f"{count:,} {part}" for part, count in rows.items()) if isinstance(rows, dict) else ""
    known = licence_of_data(run, manifest)
    dataset = short_name(run.params.get("dataset") or run.params.get("train_file") or "?")
    fingerprint = run.tags.get("data_fingerprint", "")[:12]
    licence = f"licence {known}" if known else _UNKNOWN
    return f"{dataset} ({f'{sizes} rows; ' if sizes else ''}fingerprint {fingerprint}); {licence}"


def _base(run: Run) -> str:
    if trains_no_encoder(run):
        return "none"
    known = licence_of_base(run)
    return f"{short_name(run.params.get('model', '?'))}; {f'licence {known}' if known else _UNKNOWN}"


def _scores(choice: Choice, intervals: Mapping[str, Interval]) -> str:
    run, said = choice.run, []
    for metric in list_metrics(label_type_of([run])):
        value = run.metrics.get(f"test/{metric.name}")
        if value is None or not (metric.is_prominent or metric.name == choice.metric.name):
            continue
        interval = intervals.get(metric.name)
        within = f" (95 % interval {interval.low:.3f} to {interval.high:.3f})" if interval else ""
        said.append(f"{metric.label} {metric.form.format(value)}{within}")
    texts = describe_part(run) or f"{int(run.metrics.get('test/examples', 0)):,} texts"
    return f"{', '.join(said)}, on {texts}"


def _costs(run: Run) -> Iterator[str]:
    total, trained = parameters_of(run)
    if trains_no_encoder(run):
        yield "trains no encoder"
    else:
        yield f"trains {trained:,.0f} of {total:,.0f} parameters"
    for name, form in (
        ("cost/train_seconds", "{:,.1f} s of training"),
        ("cost/peak_rss_mb", "{:,.0f} MB of memory"),
        ("cost/peak_cuda_mb", "{:,.0f} MB of GPU memory"),
        ("cost/artifact_mb", "{:,.2f} MB to keep beside the base"),
    ):
        if name in run.metrics:
            yield form.format(run.metrics[name])
