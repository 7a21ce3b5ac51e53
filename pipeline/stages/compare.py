"""The stage `compare`: the results table, verdict and report from the tracking store, and their export to plain folders."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipeline import config as configs
from pipeline.comparison.breakdown import break_down, hardest_examples
from pipeline.comparison.comparability import describe_missing, in_planned_order
from pipeline.comparison.conclusions.caveats import find_verdict, list_caveats
from pipeline.comparison.conclusions.labels_needed import describe_forecast, describe_labels_needed
from pipeline.comparison.data_audit import read_audit
from pipeline.comparison.exported_tables import list_tables
from pipeline.comparison.learning_curve.curve import LearningCurve, SizeResults, compare_at_sizes
from pipeline.comparison.learning_curve.forecasts import forecast_all
from pipeline.comparison.learning_curve.picture import draw_learning_curve, render_curve
from pipeline.comparison.pareto import draw_pareto, find_points
from pipeline.comparison.plots import draw_all
from pipeline.comparison.predictions import RecordedPredictions, read_predictions
from pipeline.comparison.ranking import choose_ranking, refuse_unfit_predictions, refuse_unmeasured
from pipeline.comparison.report.html import render_page
from pipeline.comparison.report.markdown import as_plain, render_markdown
from pipeline.comparison.report.tables import ReportData, read_provenance
from pipeline.comparison.row_names import label_rows
from pipeline.comparison.selection import Selection, select_runs
from pipeline.comparison.statistics import Statistics
from pipeline.comparison.table import render_table
from pipeline.comparison.training_curves import draw_curves, draw_rates, find_trials, read_curves, read_rates
from pipeline.config.identity import identify
from pipeline.csv_text import guarded, unguard, write_csv
from pipeline.errors import DamageError, RunError, hide_credentials
from pipeline.stages.progress import say
from pipeline.stages.run_record import fetch_model, origin_tags
from pipeline.stages.study.export_folder import check_export_folder, exporting
from pipeline.stages.study.tags import also_called, doubts_in, note_curve, note_outcome, planned_in, reused_by, unfit_in
from pipeline.stages.testing.test import describe_part
from pipeline.tracking import open_tracker
from pipeline.tracking.run_kinds import label_type_of, name_with_seed, row_name, short_name, trains_no_encoder, was_trained_here
from pipeline.tracking.run_options import logged_option
from pipeline.tracking.runs import Run, RunStore, Tracker, closing
from pipeline.tracking.tags import DESCRIPTION, Tag


@dataclass(frozen=True)
class CompareResult:
    """The results table and the run that carries it."""

    run_id: str
    table: pd.DataFrame
    left_out: tuple[str, ...]
    statistics: Statistics


@dataclass(frozen=True)
class Comparison:
    """The rows of a table, and what their predictions show."""

    title: str
    study: Run | None
    whole: Selection
    """All runs that are compared, of whatever number of labelled texts."""
    sizes: tuple[SizeResults, ...]
    """Their tables and tests, for each number of labelled texts that they were trained on; the largest comes last."""
    curve: LearningCurve | None
    """None where there is one size."""
    recorded: RecordedPredictions
    runs: list[Run]
    """All that the store has, or that were named."""
    candidates: list[Run]
    """Those of them that may be compared."""
    config: configs.CompareConfig
    """With the study's ranking metric, where none was given."""

    @property
    def selection(self) -> Selection:
        """The runs on most texts."""
        return self.sizes[-1].selection

    @property
    def table(self) -> pd.DataFrame:
        """Their rows."""
        return self.sizes[-1].table

    @property
    def statistics(self) -> Statistics:
        """Of these."""
        return self.sizes[-1].statistics


def run(config: configs.CompareConfig, tracker: Tracker | None = None, parent_id: str | None = None) -> CompareResult:
    """Compare a study, chosen runs, or everything on the newest data.

    Raises:
        RunError: There is no such study or run, or none with a test result.
        ConfigError: `export_dir` holds files that this project did not write, or the runs cannot be ranked by `ranking_metric`.
    """
    if config.export_dir:
        check_export_folder(Path(config.export_dir))
    tracker = tracker or open_tracker()
    found = gather(config, tracker)
    config = found.config
    study, selection, table, statistics = found.study, found.selection, found.table, found.statistics
    curve, whole = found.curve, found.whole
    with (
        closing(tracker.start(f"compare-{_name(config, study)}", parent_id)) as logger,
        tempfile.TemporaryDirectory() as scratch,
    ):
        logger.log_params(identify(config))
        logger.set_tags(origin_tags("compare", config, selection.kept[0].tags["data_fingerprint"]))
        logger.log_metrics({"compare/runs": len(whole.kept), "compare/left_out": len(whole.left_out)})
        folder = Path(scratch)
        _write(folder, found, tracker)
        for file in sorted(folder.iterdir()):
            logger.log_file(file)
        if config.export_dir:
            export(Path(config.export_dir), folder, whole, tracker)
    if study and (study.run_id == parent_id or DESCRIPTION not in study.tags):
        verdict = (*(describe_labels_needed(curve) if curve else ()), *find_verdict(table, selection, statistics).sentences)
        open_study = tracker.open_for_update(study.run_id)
        note_outcome(open_study, table, verdict, _point_to_report(logger.run_id, tracker))
        if curve:
            note_curve(open_study, curve)
    if curve:
        say(f"Learning curves: {curve.metric.label} on the test texts, by number of labelled texts")
        for row in render_curve(curve).splitlines():
            say(row)
        for line in (*describe_labels_needed(curve), *(describe_forecast(each, curve) for each in curve.forecasts)):
            say(line)
    say(f"Results: {found.title}")
    for row in render_table(table).splitlines():
        say(row)
    for line in list_caveats(table, selection, statistics):
        say(line)
    if parent_id is None and not config.run_ids and (others := count_evaluated_elsewhere(found.runs, found.candidates)):
        say(f"{others} evaluated run(s) are not among these; --study all takes them in.")
    say(f"Table and pictures: artifacts of run {logger.run_id}" + (f", and {config.export_dir}" if config.export_dir else ""))
    say(f"Report: {tracker.artifact_address(logger.run_id, 'report.html')}")
    return CompareResult(logger.run_id, table, whole.left_out, statistics)


def gather(config: configs.CompareConfig, tracker: RunStore) -> Comparison:
    """What there is to say of a study, chosen runs, or everything on the newest data; nothing is written.

    Raises:
        RunError: There is no such study or run, or none with a test result.
        ConfigError: The runs cannot be ranked by `ranking_metric`.
    """
    named = dict.fromkeys(config.run_ids)  # a run that is named twice is one
    runs = [tracker.get(run_id) for run_id in named] if named else tracker.search()
    candidates, title, study = _candidates(config, runs, tracker)
    selection = select_runs(candidates, bool(config.run_ids), config.allow_unequal_budgets)
    if config.run_ids and (strangers := [str(excluded) for excluded in selection.omitted if excluded.kind == "other test"]):
        newest = selection.kept[-1]
        raise RunError(
            f"--run-ids: not all can stand in one table with {row_name(newest)} (run {newest.run_id}): {'; '.join(strangers)}. "
            "Name runs that were tested on the same examples."
        )
    if study:
        planned = planned_in(study, tracker)
        also = also_called(study, tracker)
        missing = tuple(describe_missing(planned, candidates, also))
        kept = in_planned_order(list(planned), selection.kept)
        unfit = tuple(f"{name}: cannot be run here: {reason}" for name, reason in unfit_in(study, tracker).items())
        reused = frozenset(reused_by(study, tracker)) & {run.run_id for run in selection.kept}
        doubts = doubts_in(study, tracker)
        selection = dataclasses.replace(
            selection, kept=kept, unfit=unfit, reused=reused, also=also, missing=missing, doubts=doubts
        )
    if not selection.kept:
        reasons = f" Left out: {'; '.join(selection.summarise_left_out())}." if selection.left_out else ""
        where = hide_credentials(tracker.tracking_uri)
        raise RunError(f"No run with a test result to compare in {where}.{reasons} Train and evaluate one first.")
    if study:
        of_study = logged_option(study, "ranking_metric", configs.MainConfig)
        config = dataclasses.replace(config, ranking_metric=config.ranking_metric or of_study)
    metric = choose_ranking(label_type_of(selection.kept), config.ranking_metric)
    refuse_unmeasured(metric, selection.kept)
    recorded = read_predictions(selection.kept, tracker)
    refuse_unfit_predictions(metric, recorded, selection.kept)
    sizes = compare_at_sizes(selection, recorded, metric.name)
    curve = LearningCurve(sizes, metric=metric) if len(sizes) > 1 else None
    if curve:
        curve = dataclasses.replace(curve, forecasts=forecast_all(curve, selection.kept, recorded))
    title = f"{title}, {_describe_data(selection)}{f', {sizes[-1].texts:,} labelled texts' if curve else ''}"
    return Comparison(title, study, selection, sizes, curve, recorded, runs, candidates, config)


def _candidates(config: configs.CompareConfig, runs: list[Run], tracker: RunStore) -> tuple[list[Run], str, Run | None]:
    """What may be compared, how that is called, and the study that it is of.

    Args:
        runs: Those that were asked for, else all.
    """
    if config.run_ids:
        return runs, "chosen runs", None
    if config.study == "all":
        return runs, "all runs", None
    if config.study:
        study = tracker.get(config.study)
        if study.stage != "main":
            raise RunError(f"--study {config.study}: is a run of the stage {study.stage or 'of another project'}, not main.")
    else:
        study = next((run for run in runs if run.stage == "main" and _below(runs, run, tracker)), None)  # type: ignore[assignment]
        if study is None:
            return runs, "all runs", None
    return _below(runs, study, tracker), study.name, study


def _below(runs: Sequence[Run], study: Run, store: RunStore) -> list[Run]:
    """The trainings of a study, those that it took from earlier ones among them, called as this study calls them."""
    reused = reused_by(study, store)
    trained = [run for run in runs if was_trained_here(run)]
    own = [run for run in trained if run.parent_id == study.run_id]
    return own + [_called(run, reused[run.run_id]) for run in trained if run.run_id in reused]


def _called(run: Run, title: str) -> Run:
    entry = title if title != run.tags["strategy"] else ""
    return dataclasses.replace(run, tags={**run.tags, Tag.ENTRY: entry})


def _describe_data(selection: Selection) -> str:
    """The data set and the models of the compared runs, and of how many test rows the scores are if not of all."""
    first = selection.kept[0]
    named = [short_name(run.params.get("model", "?")) for run in selection.kept if not trains_no_encoder(run)]
    models = ", ".join(dict.fromkeys(named))
    part = describe_part(first)
    with_models = f" with {models}" if models else ""
    return f"{first.params.get('dataset', '?')}{with_models}{f', tested on {part}' if part else ''}"


def _name(config: configs.CompareConfig, study: Run | None) -> str:
    """What the comparison is of: the study's name, chosen runs, or all."""
    return "runs" if config.run_ids else study.name if study else "all"


def _write(folder: Path, found: Comparison, tracker: Tracker) -> None:
    """Every file of the comparison."""
    table, selection, statistics, curve = found.table, found.selection, found.statistics, found.curve
    recorded = found.recorded.of_runs({run.run_id for run in selection.kept}) if curve else found.recorded
    summary = pd.concat([size.table.assign(train_size=size.label) for size in found.sizes]) if curve else table
    guarded(summary).to_csv(folder / "model_summary.csv", index=False)
    if selection.left_out:
        (folder / "left_out.txt").write_text("\n".join(selection.left_out) + "\n", encoding="utf-8")
    pictures = draw_all(table)
    rows = dict(zip(label_rows(table), (ids.split() for ids in table["run_ids"]), strict=True))
    hardest = hardest_examples(recorded, rows, statistics.unlearned)
    if curves := read_curves(table, selection.kept, tracker):
        pictures["training_curves"] = draw_curves(curves, statistics.apart)
    if rates := read_rates(table, selection.kept, find_trials(selection.kept, tracker)):
        pictures["rate_sensitivity"] = draw_rates(rates)
    if points := find_points(table, selection.kept, statistics, selection.ranked):
        pictures["pareto"] = draw_pareto(points, statistics)
    if curve:
        pictures["learning_curve"] = draw_learning_curve(curve)
    for name, figure in pictures.items():
        figure.savefig(folder / f"{name}.png", dpi=120)
    provenance, audit = read_provenance(found.whole.kept, tracker), read_audit(selection, tracker)
    breakdown = break_down(recorded, rows)
    content = ReportData(
        found.title, table, selection, statistics, curves, points, recorded, hardest, provenance, breakdown, audit, curve
    )
    (folder / "results.md").write_text(render_markdown(content, list(pictures)), encoding="utf-8")
    for name, listed in list_tables(content):
        (folder / name).write_text(write_csv(listed), encoding="utf-8", newline="")
    (folder / "report.html").write_text(render_page(content), encoding="utf-8")


def export(target: Path, written: Path, selection: Selection, tracker: Tracker) -> None:
    """Write the SST-2 study's layout: `results/` with predictions, table and pictures, `models/` with a folder per model.

    What is gone from the tracking store, or damaged, is said, and the rest is written.

    Args:
        written: Folder of the comparison's own files.

    Raises:
        ConfigError: `target` holds files that this project did not write where it would.
        SystemFailureError: `target` cannot be written.
    """
    with exporting(target) as (scratch, keep):
        for file in written.iterdir():
            shutil.copy(file, scratch / "results")
        for name, run in selection.file_names().items():
            predictions = f"results/{name}_test_outputs.csv"
            if not _export_predictions(run, scratch / predictions, tracker):
                keep.add(predictions)  # an earlier export may hold the only copy
            if was_trained_here(run):
                _export_model(run, scratch / "models" / name, tracker)


def _export_predictions(run: Run, target: Path, tracker: Tracker) -> bool:
    """Write what a run predicted; False where it is not there any more."""
    with tempfile.TemporaryDirectory() as scratch:
        try:
            file = tracker.download(run.run_id, "predictions.csv", Path(scratch))
        except (RunError, DamageError) as error:
            say(f"Not exported: predictions of {name_with_seed(run)}: {error}")
            return False
        # As text: a class called 01 is not 1, and one called NA is not missing.
        predictions = pd.read_csv(file, dtype=str, keep_default_na=False)
    columns = [name for name in ("sentence", "sentence_pair", "gold", "pred") if name in predictions]
    target.write_text(write_csv(predictions[columns].map(unguard)), encoding="utf-8", newline="")
    return True


def _export_model(run: Run, target: Path, tracker: Tracker) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        try:
            shutil.copytree(fetch_model(tracker, run, Path(scratch)), target)
        except (RunError, DamageError) as error:
            say(f"Not exported: model of {name_with_seed(run)}: {error}")


def _point_to_report(run_id: str, tracker: Tracker) -> str:
    """Where a comparison's report is, as Markdown: a link that holds wherever the store is served, and the file."""
    page = tracker.web_address(run_id, "artifacts/report.html").partition("#")[2]
    where = hide_credentials(tracker.artifact_address(run_id, "report.html"))
    link = f"[report.html](#{page})" if page else "report.html"
    return f"Report: {link}, an artifact of the run {run_id} below this one ({as_plain(where)}). Its table is in `results.md`."


def count_evaluated_elsewhere(runs: Sequence[Run], candidates: Sequence[Run]) -> int:
    """How many of all runs are on the candidates' data and not among them, and would be compared by `--study all`."""
    mine = {run.run_id for run in candidates}
    data = {run.tags.get("data_fingerprint") for run in candidates}
    others = [run for run in select_runs(runs).kept if run.run_id not in mine]
    return sum(run.tags["data_fingerprint"] in data for run in others)
