"""The stages as cases use them: the command, what must be there before it, and what it comes to."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from pipeline.hashing import CHECKSUMS, digest, hash_file

from . import process
from .moments import watch
from .workspace import Workspace, typed

EMPTY, TRAINED, INTERRUPTED = "empty", "trained", "interrupted"
"""Templates: a store without runs; one with two runs that were trained and tested, and one that was only trained; and of each
stage that begins with an empty store, one in which it was killed halfway, beside another of its kind."""

Outcome = Mapping[str, Any]


@dataclass(frozen=True)
class Stage:
    """One stage."""

    name: str
    options: Callable[[Workspace], Mapping[str, str]]
    outcome: Callable[[Any], Outcome]
    """What of it must not depend on faults, given the tracker: never a time or an id."""
    template: str = EMPTY

    def arguments(self, workspace: Workspace, **more: str) -> list[str]:
        """The command's words."""
        return typed(self.name, {**self.options(workspace), **more})

    def read_outcome(self, workspace: Workspace, environment: Mapping[str, str] = MappingProxyType({})) -> Outcome:
        """Read in a process of its own, so that no store is open here."""

        def read() -> Outcome:
            from pipeline.tracking import open_tracker

            return self.outcome(open_tracker())

        outcome: Outcome = process.call(read, workspace.folder, {**workspace.environment, **environment})
        return outcome


def _measured(tracker: Any, run: Any) -> dict[str, Any]:
    """A run's scores by step, its model and its texts."""
    names = [name for name in run.metrics if name.startswith(("train/", "val/", "test/", "trials/", "model/"))]
    found: dict[str, Any] = {name: tracker.history(run.run_id, name) for name in sorted(names)}
    with tempfile.TemporaryDirectory() as scratch:
        if tracker.has_artifact(run.run_id, "model"):
            found["weights"] = hash_file(tracker.download_model(run.run_id, Path(scratch)) / "delta.safetensors")
        if tracker.has_artifact(run.run_id, "predictions.csv"):
            found["predictions"] = hash_file(tracker.download(run.run_id, "predictions.csv", Path(scratch)))
    return found


def _trainings(tracker: Any, searches: frozenset[str] | None = None) -> dict[str, Any]:
    """Strategy and seed -> what finished trainings, or trials of these searches, came to; of those that are equal, one."""
    runs: dict[str, Any] = {}
    for run in tracker.search({"stage": "train" if searches is None else "trial"}):
        if run.status == "FINISHED" and (searches is None or run.parent_id in searches):
            key = f"{run.tags['strategy']} {run.params['seed']} {run.tags.get('fairtune.trial', '')}"
            if (measured := _measured(tracker, run)) not in (known := runs.setdefault(key, [])):
                known.append(measured)
    return runs


def _prepared(tracker: Any) -> Outcome:
    runs = [run for run in tracker.search({"stage": "prepare_data"}) if run.status == "FINISHED"]
    files = sorted(Path(".cache/prepared").glob("*/*"))
    files = [file for file in files if file.name != CHECKSUMS]  # sums of test texts are not read before they are
    return {
        "fingerprint": {run.tags["data_fingerprint"] for run in runs},
        "files": {str(file): hash_file(file) for file in files},
    }


def _tuned(tracker: Any) -> Outcome:
    runs = [run for run in tracker.search({"stage": "tune"}) if run.status == "FINISHED"]
    best = [_measured(tracker, tracker.get(run.tags["fairtune.best_run_id"])) for run in runs]
    trials = _trainings(tracker, frozenset(run.run_id for run in runs))  # one that begins anew leaves trials behind
    return {"searches": len(runs), "best": best, "trials": trials}


def _tables(tracker: Any) -> list[Any]:
    """The table of each comparison, without times."""
    found = []
    for run in tracker.search({"stage": "compare"}):
        if run.status == "FINISHED":
            with tempfile.TemporaryDirectory() as scratch:
                text = tracker.download(run.run_id, "model_summary.csv", Path(scratch)).read_text()
            header, *rows = [line.split(",") for line in text.splitlines()]
            keep = [
                place for place, name in enumerate(header) if name in ("strategy", "accuracy", "f1_macro", "seeds", "group")
            ]
            found.append([[row[place] for place in keep] for row in (header, *rows)])
    return found


def _of_study(tracker: Any) -> Outcome:
    studies = [run for run in tracker.search({"stage": "main"}) if run.status == "FINISHED"]
    finished = [run for run in tracker.search({"stage": "train"}) if run.status == "FINISHED"]
    tables = _tables(tracker)[:1]
    return {"studies": len(studies), "made": len(finished), "trainings": _trainings(tracker), "tables": tables}


def _reproduced(tracker: Any) -> Outcome:
    """The newest run: one that was interrupted before its test was logged may stand below it."""
    newest = next(run for run in tracker.search({"stage": "train"}) if run.status == "FINISHED")
    return {"run": _measured(tracker, newest)}


def _write_recipe(workspace: Workspace) -> str:
    """A study of two strategies; returns the recipe's name."""
    recipe = {
        "options": {"seeds": 1, "epochs": 1, "batch_size": 16, "precision": "fp32", "eval_steps": 3, "logging_steps": 1},
        "strategies": {"head_only": {"learning_rate": 1e-2}, "partial": {"learning_rate": 3e-3, "strategy_args": {"top_k": 1}}},
    }
    (workspace.folder / "study.yaml").write_text(yaml.safe_dump(recipe))
    return "study.yaml"


def _data(workspace: Workspace) -> dict[str, str]:
    return {name: workspace.options[name] for name in ("model", "dataset")}


def _tune_options(workspace: Workspace) -> dict[str, str]:
    options = {
        **workspace.options,
        "strategy": "head_only",
        "trials": "2",
        "sampler": "random",
        "executor": "local",
        "epochs": "1",
    }
    del options["learning_rate"]
    return options


def _train_options(workspace: Workspace) -> dict[str, str]:
    return {**workspace.options, "strategy": "partial", "strategy_args": "top_k=1"}


def run_id_of(workspace: Workspace, label: str) -> str:
    """The id of one of the template's runs: `tested`, `other` or `untested`."""
    run_id: str = json.loads((workspace.folder / "runs.json").read_text())[label]
    return run_id


STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage("prepare_data", lambda at: {"dataset": str(at.root / "reviews.csv")}, _prepared),
        Stage("tune", _tune_options, _tuned),
        Stage("train", _train_options, lambda tracker: {"trainings": _trainings(tracker)}),
        Stage("evaluate", lambda at: {"run_id": run_id_of(at, "untested")}, lambda t: {"trainings": _trainings(t)}, TRAINED),
        Stage(
            "compare",
            lambda at: {"run_ids": f"{run_id_of(at, 'tested')},{run_id_of(at, 'other')}"},
            lambda tracker: {"tables": _tables(tracker)[:1]},
            TRAINED,
        ),
        Stage("main", lambda at: {**_data(at), "recipe": _write_recipe(at)}, _of_study),
        Stage("reproduce", lambda at: {"run_id": run_id_of(at, "tested")}, _reproduced, TRAINED),
    )
}


def make_templates(workspace: Workspace) -> None:
    """Write both templates."""
    workspace.make()

    def open_store() -> None:
        from mlflow.tracking import MlflowClient

        from pipeline.tracking import open_tracker

        open_tracker()
        MlflowClient().create_experiment("fairtune", artifact_location=workspace.artifacts.as_uri())

    process.call(open_store, workspace.folder, workspace.environment)
    workspace.keep(EMPTY)
    runs = {}
    shorter = {**workspace.options, "epochs": "1"}
    for label, more in (
        ("tested", {"strategy": "partial", "strategy_args": "top_k=1"}),
        ("other", {"strategy": "head_only"}),
        ("untested", {"strategy": "full", "seed": "43"}),
    ):
        said = _must(workspace, typed("train", {**shorter, **more}))
        runs[label] = said.partition("Run ")[2].partition(".")[0]
        if label != "untested":
            _must(workspace, typed("evaluate", {"run_id": runs[label]}))
    (workspace.folder / "runs.json").write_text(json.dumps(runs))
    _must(workspace, typed("prepare_data", {"dataset": str(workspace.root / "others.csv")}))
    workspace.keep(TRAINED)
    for stage, kill_after, twin in _INTERRUPTED:
        workspace.restore(EMPTY)
        _must(workspace, typed("prepare_data", {"dataset": str(workspace.root / "others.csv")}))
        for more in (twin, {}):
            _kill(workspace, STAGES[stage].arguments(workspace, **more), *kill_after)
        workspace.keep(f"{INTERRUPTED}-{stage}")


_INTERRUPTED: tuple[tuple[str, tuple[str, int], dict[str, str]], ...] = (
    ("prepare_data", ("pipeline.tracking.mlflow_logger:MlflowLogger.log_dataset", 1), {"split_seed": "43"}),
    ("tune", ("pipeline.training.checkpoints:CheckpointFolder._write", 5), {"seed": "43"}),
    ("train", ("pipeline.training.checkpoints:CheckpointFolder._write", 4), {"seed": "43"}),
    ("main", ("pipeline.training.checkpoints:CheckpointFolder._write", 4), {"seed": "43"}),
)
"""Stage, the call after which it is killed, and what makes another of its kind."""


def _kill(workspace: Workspace, arguments: list[str], function: str, call: int) -> None:
    counts = workspace.folder / "calls"
    shutil.rmtree(counts, ignore_errors=True)

    def before() -> None:
        command = os.getpid()

        def told(_function: str, number: int, is_after: bool) -> None:
            if number == call and is_after:
                os.killpg(command, signal.SIGKILL)

        watch([function], told, counts)

    ended = process.Command(arguments, workspace.folder, workspace.environment, before).wait()
    if ended.status != -signal.SIGKILL:
        raise RuntimeError(f"{arguments} was not killed:\n{ended.output}")
    shutil.rmtree(counts)


def _must(workspace: Workspace, arguments: list[str]) -> str:
    ended = process.Command(arguments, workspace.folder, workspace.environment).wait()
    if ended.status:
        raise RuntimeError(f"{arguments} ended with {ended.status}:\n{ended.output}")
    return ended.output[ended.output.rindex("Run ") :] if "Run " in ended.output else ended.output


def fingerprint(outcome: Outcome) -> str:
    """A short name for an outcome."""
    return digest(outcome)[:12]
