from collections.abc import Callable, Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.comparison.table import build_table
from pipeline.comparison.training_curves import draw_curves, read_curves
from pipeline.tracking.runs import Run

MakeRun = Callable[..., Run]
History = Sequence[tuple[int, float]]


class Store:
    """Histories of metrics in place of a tracking store."""

    def __init__(self, histories: Mapping[tuple[str, str], History]) -> None:
        self.recorded = histories

    def read_histories(self, run_ids: Sequence[str], metric: str) -> dict[str, History]:
        return {run_id: self.recorded.get((run_id, metric), []) for run_id in run_ids}


def test_a_curve_is_by_epoch_and_leaves_out_what_is_logged_once_more_at_the_end(make_run: MakeRun) -> None:
    metrics = {"train/steps_per_epoch": 4.0, "val/accuracy": 0.8, "val/loss": 0.4}
    run = make_run("freeze_bottom", metrics=metrics, tags={"entry": "freeze_6"})
    accuracy, loss = [(2, 0.6), (4, 0.8), (8, 0.7), (8, 0.8)], [(2, 0.5), (4, 0.4), (8, 0.4), (8, 0.9)]
    store = Store({(run.run_id, "val/accuracy"): accuracy, (run.run_id, "val/loss"): loss})
    [curve] = read_curves(build_table([run]), [run], store)
    assert curve.name == "freeze_6"
    assert curve.points == {"accuracy": {0.5: 0.6, 1: 0.8, 2: 0.7}, "loss": {0.5: 0.5, 1: 0.4, 2: 0.9}}
    assert curve.kept == 1
    left, right = draw_curves([curve]).axes
    assert list(left.lines[0].get_xdata()) == [0.5, 1, 2]
    assert (left.lines[1].get_xdata(), left.lines[1].get_ydata()) == ([1], [0.8]), "the ring"
    assert list(right.lines[0].get_ydata()) == [0.5, 0.4, 0.9]


@pytest.mark.parametrize(("metric", "kept"), [("accuracy", 2), ("loss", 1)])
def test_the_ring_is_at_the_checkpoint_that_was_kept(make_run: MakeRun, metric: str, kept: float) -> None:
    run = make_run(params={"epochs": "2", "metric_for_best_model": metric})
    histories = {(run.run_id, "val/accuracy"): [(3, 0.1), (6, 0.2)], (run.run_id, "val/loss"): [(3, 0.1), (6, 0.2)]}
    [curve] = read_curves(build_table([run]), [run], Store(histories))
    assert curve.kept == kept


def test_seeds_are_averaged_and_what_was_not_trained_here_has_no_curve(make_run: MakeRun) -> None:
    runs = [make_run(params={"seed": str(seed), "epochs": "2"}) for seed in range(2)]
    elsewhere = make_run("external", 0.1, tags={"stage": "evaluate"})
    first, second = [(1, 0.2), (2, 0.4)], [(1, 0.4)]
    histories = {(run.run_id, "val/accuracy"): points for run, points in zip(runs, (first, second), strict=True)}
    for run in runs:
        run.metrics["train/steps_per_epoch"] = 1.0  # type: ignore[index]
    [curve] = read_curves(build_table([*runs, elsewhere]), [*runs, elsewhere], Store(histories))
    assert curve.points["accuracy"] == {1: pytest.approx(0.3), 2: 0.4}
    assert curve.kept is None


@given(st.dictionaries(st.integers(1, 50), st.integers(0, 10), min_size=1, max_size=8))
def test_whatever_is_logged_once_more_the_curve_is_what_was_measured(measured: dict[int, int]) -> None:
    best = max(measured.values())
    logged = sorted([*measured.items(), (max(measured), best)])
    run = Run("r", "full", "FINISHED", 0, None, {"stage": "train", "strategy": "full", "settings_hash": ""}, {}, {})
    run = Run(**{**vars(run), "metrics": {"train/steps_per_epoch": 1.0, "val/accuracy": best, "test/f1_macro": 0.5}})
    [curve] = read_curves(build_table([run]), [run], Store({("r", "val/accuracy"): logged}))
    assert curve.points["accuracy"] == measured
