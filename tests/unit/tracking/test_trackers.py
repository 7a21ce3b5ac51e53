"""What the code may ask of a tracker: the same of MLflow on SQLite as of the one in memory."""

import re
import signal
from pathlib import Path

import matplotlib.figure
import pytest

import pipeline
from pipeline.errors import PipelineError, RunError
from pipeline.interruption import Interrupted
from pipeline.tracking import results, runs
from pipeline.tracking.memory import MemoryTracker
from pipeline.tracking.results import frame_of
from pipeline.tracking.runs import close_opened, close_unfinished, closing
from pipeline.tracking.tags import Tag

ROOT = Path(__file__).parents[3]


@pytest.fixture(params=["memory", "mlflow"])
def tracker(request):
    return MemoryTracker() if request.param == "memory" else request.getfixturevalue("mlflow_tracker")


def test_a_run_is_read_as_it_was_written(tracker):
    logger = tracker.start("mine")
    assert tracker.get(logger.run_id).status == "RUNNING"
    logger.log_params({"learning_rate": 2e-5, "epochs": 3, "eval_steps": None, "targets": ["query"]})
    logger.log_metrics({"train/loss": 0.5})
    logger.set_tags({"stage": "train", "strategy": "full"})
    logger.finish("FINISHED")
    run = tracker.get(logger.run_id)
    assert (run.name, run.status, run.stage, run.parent_id) == ("mine", "FINISHED", "train", None)
    assert dict(run.params) == {"learning_rate": "2e-05", "epochs": "3", "targets": "['query']"}
    assert dict(run.metrics) == {"train/loss": 0.5}
    assert run.start_time > 1_600_000_000_000


def test_parameters_that_mean_the_same_stay(tracker):
    logger = tracker.start("params")
    typed = {"learning_rate": "2e-5", "force": "true", "strategy": "full", "epochs": "3"}
    logger.log_params(typed)
    logger.log_params({"learning_rate": 2e-05, "force": True, "strategy": "full", "epochs": 4})
    assert dict(tracker.get(logger.run_id).params) == {**typed, "epochs_resolved": "4"}


def test_an_outcome_is_recorded_once(tracker):
    logger = tracker.start("outcome")
    for loss in (0.5, 0.5, 0.25, 0.25):
        logger.log_outcome({"test/loss": loss, "test/rows": 8}, 3)
    assert sorted(tracker.history(logger.run_id, "test/loss")) == [(3, 0.25), (3, 0.5)]
    assert tracker.history(logger.run_id, "test/rows") == [(3, 8.0)]
    assert tracker.get(logger.run_id).metrics["test/loss"] == 0.25


def test_an_interruption_closes_what_no_block_closes(mlflow_tracker, monkeypatch):
    monkeypatch.setattr(runs, "_OPENED", {})
    opened, finished = mlflow_tracker.start("opened"), mlflow_tracker.start("finished")
    finished.finish("FINISHED")
    close_opened(Interrupted(signal.SIGHUP))
    closed, kept = (mlflow_tracker.get(logger.run_id) for logger in (opened, finished))
    assert (closed.status, kept.status) == ("KILLED", "FINISHED")
    assert closed.tags["status_detail"] == "interrupted by SIGHUP"


def test_the_history_of_a_metric_is_in_order_of_steps(tracker):
    logger = tracker.start("history")
    for step in (20, 10, 30):
        logger.log_metrics({"val/loss": step / 10}, step)
    assert tracker.history(logger.run_id, "val/loss") == [(10, 1.0), (20, 2.0), (30, 3.0)]
    logger.log_metrics({"val/loss": 0.5}, 15)
    assert tracker.get(logger.run_id).metrics["val/loss"] == 3.0, "the latest by step"
    assert tracker.history(logger.run_id, "nothing") == []
    other = tracker.start("another").run_id
    assert tracker.read_histories([other, logger.run_id], "val/loss") == {
        other: [],
        logger.run_id: tracker.history(logger.run_id, "val/loss"),
    }


def test_many_values_at_once(tracker):
    logger = tracker.start("many")
    logger.log_params({f"p{i}": i for i in range(250)})
    logger.log_metrics({f"m{i}": i for i in range(1200)})
    run = tracker.get(logger.run_id)
    assert len(run.params) == 250
    assert len(run.metrics) == 1200


def test_runs_are_found_by_tags_newest_first(tracker):
    ids = []
    for number in range(3):
        logger = tracker.start(f"found-{number}")
        logger.set_tags({"stage": "train", "batch": "search", "kind": "odd" if number % 2 else "even"})
        ids.append(logger.run_id)
    found = [run.run_id for run in tracker.search({"batch": "search"})]
    assert sorted(found) == sorted(ids)
    times = [run.start_time for run in tracker.search()]
    assert times == sorted(times, reverse=True)
    assert [run.run_id for run in tracker.search({"batch": "search", "kind": "odd"})] == [ids[1]]
    assert tracker.search({"batch": "nothing"}) == []


def test_nested_runs_know_their_parent(tracker):
    parent = tracker.start("parent")
    child = tracker.start("child", parent.run_id)
    assert tracker.get(child.run_id).parent_id == parent.run_id


def test_a_run_is_reopened_or_amended(tracker):
    logger = tracker.start("again")
    logger.finish("FAILED", "no power")
    tracker.open_for_update(logger.run_id).log_metrics({"late": 1.0})
    run = tracker.get(logger.run_id)
    assert (run.status, run.tags["status_detail"], run.metrics["late"]) == ("FAILED", "no power", 1.0)
    tracker.reopen(logger.run_id)
    run = tracker.get(logger.run_id)
    assert run.status == "RUNNING"
    assert "status_detail" not in run.tags, "why it ended before says nothing of how it ends now"
    tracker.reopen(logger.run_id).finish("FINISHED")
    assert tracker.get(logger.run_id).status == "FINISHED"


def test_what_still_runs_below_a_run_is_closed(tracker):
    parent, elsewhere = tracker.start("parent"), tracker.start("elsewhere")
    ended, left = tracker.start("ended", parent.run_id), tracker.start("left", parent.run_id)
    ended.finish("FINISHED")
    close_unfinished(tracker, parent.run_id, "its process died")
    assert [tracker.get(logger.run_id).status for logger in (parent, elsewhere, ended)] == ["RUNNING", "RUNNING", "FINISHED"]
    run = tracker.get(left.run_id)
    assert (run.status, run.tags["status_detail"]) == ("FAILED", "its process died")


@pytest.mark.parametrize(
    ("error", "status", "detail"),
    [
        (None, "FINISHED", None),
        (PipelineError("lower it"), "FAILED", "lower it"),
        (ZeroDivisionError("1/0"), "FAILED", "ZeroDivisionError: 1/0"),
        (KeyboardInterrupt(), "KILLED", "interrupted"),
    ],
    ids=["none", "ours", "foreign", "interrupt"],
)
def test_closing_says_how_it_ended(tracker, error, status, detail):
    caught = None
    logger = tracker.start("closing")
    try:
        with closing(logger):
            if error:
                raise error
    except BaseException as raised:
        caught = raised
    assert caught is error
    run = tracker.get(logger.run_id)
    assert (run.status, run.tags.get("status_detail")) == (status, detail)


def test_artifacts_come_back(tracker, tmp_path):
    logger = tracker.start("artifacts")
    figure = matplotlib.figure.Figure()
    figure.subplots().plot([1, 2])
    (tmp_path / "table.csv").write_text("a,b\n")
    logger.log_text("한국어", "notes/text.txt")
    logger.log_figure(figure, "plot.png")
    logger.log_file(tmp_path / "table.csv")
    logger.log_dataset("reviews-train", "file:///data.csv", "ab" * 32, "training")
    assert tracker.download(logger.run_id, "notes/text.txt", tmp_path / "to").read_text(encoding="utf-8") == "한국어"
    assert tracker.download(logger.run_id, "plot.png", tmp_path / "to").read_bytes().startswith(b"\x89PNG")
    assert tracker.download(logger.run_id, "table.csv", tmp_path / "to").read_text() == "a,b\n"
    with pytest.raises(RunError, match=r"no artifact 'none\.txt'"):
        tracker.download(logger.run_id, "none.txt", tmp_path / "to")
    with tracker.open_artifact(tracker.get(logger.run_id), "notes/text.txt") as file:
        assert file.read_text(encoding="utf-8") == "한국어"


def test_a_model_comes_back_as_it_was_given(tracker, tmp_path, model_record):
    folder = tmp_path / "fine_tuned"
    folder.mkdir()
    (folder / "model.json").write_text(model_record)
    (folder / "delta.safetensors").write_bytes(b"\0")
    logger = tracker.start("model")
    with pytest.raises(RunError):
        tracker.download_model(logger.run_id, tmp_path / "none")
    logger.log_model(folder)
    found = tracker.download_model(logger.run_id, tmp_path / "there")
    assert found.name == "fine_tuned"
    assert {path.name: path.read_bytes() for path in found.iterdir()} == {
        "model.json": model_record.encode(),
        "delta.safetensors": b"\0",
    }


def test_a_model_whose_files_were_deleted_is_an_input_error(tracker, tmp_path, monkeypatch):
    monkeypatch.setattr(tracker, "download", lambda run_id, path, folder: folder)
    with pytest.raises(RunError, match="Run 0123: its model holds 0 folders"):
        tracker.download_model("0123", tmp_path)


def test_an_unknown_run_is_an_input_error(tracker):
    for ask in (tracker.get, tracker.open_for_update):
        with pytest.raises(RunError, match="There is no run '0123'"):
            ask("0123")


def test_results_are_typed_and_keep_the_runs_own_columns(tracker):
    logger = tracker.start("typed")
    logger.log_params({"learning_rate": "2e-5", "epochs": 3, "force": True, "auto_batch": "true", "run_id": "that of another"})
    logger.log_metrics({"test/f1_macro": 0.5})
    logger.set_tags({"stage": "evaluate", "strategy": "full", Tag.EVALUATES: "that of another"})
    tracker.start("not ours")
    frame = frame_of(tracker)
    assert "not ours" not in set(frame["run_name"])
    row = frame.set_index("run_id").loc[logger.run_id]
    assert (row["learning_rate"], row["epochs"], row["force"], row["test/f1_macro"]) == (2e-5, 3, True, 0.5)
    assert row["auto_batch"] == True, "as `mlflow run -P` logs it"  # noqa: E712  # or numpy's
    assert (row["evaluates"], row["status"]) == ("that of another", "RUNNING")
    assert list(frame)[:5] == ["run_id", "run_name", "status", "start_time", "parent_run_id"]


def test_an_empty_store_has_the_same_columns():
    frame = frame_of(MemoryTracker())
    assert frame.empty
    assert {"run_id", "stage", "status", "strategy", "val/f1_macro", "test/f1_macro", "cost/train_seconds"} <= set(frame)


def test_every_tag_that_the_reference_names_is_a_column():
    section = (ROOT / "docs" / "reference" / "runs.md").read_text().split("\n## Tags\n")[1].split("\nHyperparameters")[0]
    contract, rest = section.split("| tag | on |")
    named = re.findall(r"`(\w+)`", contract) + re.findall(r"`(fairtune\.\w+)`", rest)
    assert {"stage", Tag.REPRODUCES, Tag.TUNED_BY, Tag.BEST_RUN_ID} <= set(named)
    assert set(named) == {*results._TAGS, Tag.PROCESS, Tag.PLANNED, Tag.REUSED, Tag.ALSO_CALLED, Tag.NOT_RUN, Tag.DOUBTS}


def test_tags_that_are_numbers_are_typed_and_others_are_not():
    tracker = MemoryTracker()
    tracker.start("mine", tags={"stage": "train", Tag.NUM_PROCESSES: "2", Tag.TUNED_TRIALS: "12", "git_commit": "123456"})
    row = frame_of(tracker).iloc[0]
    assert (row["num_processes"], row["tuned_trials"], row["git_commit"]) == (2, 12, "123456")


@pytest.mark.parametrize("document", ["docs/how-to/query-runs.md", "docs/reference/runs.md"])
def test_the_sample_queries_leave_out_what_was_made_again(document, monkeypatch):
    tracker = MemoryTracker()
    shared = {"stage": "train", "strategy": "full"}
    original = tracker.start("original", tags=shared)
    again = tracker.start("again", tags={**shared, Tag.REPRODUCES: original.run_id})
    for logger in (original, again):
        logger.log_params({"dataset": "mine.csv", "seed": 1})
        logger.finish("FINISHED")
    monkeypatch.setattr(pipeline, "load_results", lambda: frame_of(tracker), raising=False)
    query, *_ = re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)
    names = {}
    exec(query, names)
    assert names["runs"]["run_id"].tolist() == [original.run_id]
