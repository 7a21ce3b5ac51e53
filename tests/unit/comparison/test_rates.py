from collections.abc import Callable

import pytest

from pipeline.comparison.table import build_table
from pipeline.comparison.training_curves import draw_rates, find_trials, read_rates
from pipeline.tracking.memory import MemoryTracker
from pipeline.tracking.runs import Run
from pipeline.tracking.tags import Tag

MakeRun = Callable[..., Run]


@pytest.fixture
def searched(make_run: MakeRun) -> Callable[..., list[Run]]:
    """A run whose settings a search chose, and the search's trials at some rates."""

    def make(strategy: str, scores: dict[str, float]) -> list[Run]:
        trials = []
        for rate, score in scores.items():
            tags = {"stage": "trial", Tag.TRIAL: "1"}
            run = make_run(strategy, None, tags=tags, params={"learning_rate": rate}, metrics={"val/accuracy": score})
            object.__setattr__(run, "parent_id", f"search-{strategy}")
            trials.append(run)
        return [make_run(strategy, tags={Tag.TUNED_BY: f"search-{strategy}"}), *trials]

    return make


def test_trials_stand_at_their_rates_and_the_best_of_a_stretch_on_the_line(searched: Callable[..., list[Run]]) -> None:
    lora, *trials = searched("lora", {"0.01": 0.6, "1e-4": 0.7, "0.00011": 0.5, "0.001": 0.9})
    table = build_table([lora])
    [row] = read_rates(table, [lora], [lora, *trials])
    assert (row.name, row.row, row.metric) == ("lora", 0, "accuracy")
    assert row.points == ((1e-4, 0.7), (1.1e-4, 0.5), (1e-3, 0.9), (1e-2, 0.6))
    assert row.best == [(1e-4, 0.7), (1e-3, 0.9), (1e-2, 0.6)]
    axes = draw_rates([row]).axes[0]
    assert axes.get_xscale() == "log"
    assert [len(line.get_xdata()) for line in axes.lines] == [4, 3]


def test_rows_without_a_search_over_rates_have_no_line(make_run: MakeRun, searched: Callable[..., list[Run]]) -> None:
    one_rate = searched("full", {"1e-4": 0.7})
    odd = searched("lora", {"auto": 0.7, "1e-4": float("nan"), "0": 0.1})
    runs = [one_rate[0], odd[0], make_run("head_only")]
    assert read_rates(build_table(runs), runs, [*one_rate, *odd, runs[2]]) == []


def test_trials_are_those_of_the_searches_that_chose_the_settings(make_run: MakeRun) -> None:
    tracker = MemoryTracker()
    search = tracker.start("tune-lora", tags={"stage": "tune", Tag.SEARCH: "one"}).run_id
    trial = tracker.start("trial", search, {Tag.SEARCH: "one", Tag.TRIAL: "1"}).run_id
    tracker.start("another's", tags={Tag.SEARCH: "another", Tag.TRIAL: "1"})
    runs = [make_run("lora", tags={Tag.TUNED_BY: search}) for _ in range(2)]
    runs += [make_run("full"), make_run("prefix", tags={Tag.TUNED_BY: "deleted since"})]
    found = find_trials(runs, tracker)
    assert trial in {run.run_id for run in found}
    assert {run.tags[Tag.SEARCH] for run in found} == {"one"}
