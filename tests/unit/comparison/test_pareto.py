from collections.abc import Callable
from itertools import combinations

import pytest

from pipeline.comparison.pareto import COSTS, draw_pareto, find_points, tabulate_points
from pipeline.comparison.predictions import RecordedPredictions
from pipeline.comparison.statistics import compute_statistics
from pipeline.comparison.table import build_table
from pipeline.tracking.runs import Run

MakeRun = Callable[..., Run]
Record = Callable[..., RecordedPredictions]


def costs(share: float, seconds: float) -> dict[str, float]:
    return {
        "model/trainable_percent": share,
        "cost/train_seconds": seconds,
        "cost/cache_seconds": 5,
        "cost/peak_rss_mb": 10,
        "cost/artifact_mb": 2,
    }


def test_a_cost_that_all_seeds_share_has_no_spread(make_run: MakeRun, record: Record) -> None:
    assert sum([0.1] * 3) / 3 > 0.1
    runs = [make_run("lora", metrics=costs(0.1, 0.1), params={"seed": seed}) for seed in "123"]
    table = build_table(runs)
    statistics = compute_statistics(table, runs, record(runs, [0.9] * 3))
    points = find_points(table, runs, statistics)
    [shared] = next(mine for cost, mine in points.items() if cost.name == "trainable_percent")
    assert shared.cost.low == shared.cost.value == shared.cost.high == 0.1
    draw_pareto(points, statistics)


def test_names_of_a_crowd_do_not_cover_each_other(make_run: MakeRun, record: Record) -> None:
    accuracies = [0.9, 0.9, 0.895, 0.895, 0.89, 0.89, 0.885, 0.885]
    runs = [
        make_run(name, metrics=costs(1 + number % 2, 10 + number % 2))
        for number, name in enumerate(["discriminative", "full", "gradual", "lora", "dora", "rslora", "qlora", "freeze_bottom"])
    ]
    table = build_table(runs)
    statistics = compute_statistics(table, runs, record(runs, accuracies))
    points = find_points(table, runs, statistics)
    figure, again = (draw_pareto(points, statistics) for _ in range(2))
    for axes, same in zip(figure.axes, again.axes, strict=True):
        frames = [text.get_window_extent() for text in axes.texts]
        assert len(frames) == len(runs)
        assert not [(one, other) for one, other in combinations(frames, 2) if one.overlaps(other)]
        assert all(axes.bbox.x0 <= frame.x0 and frame.x1 <= axes.bbox.x1 for frame in frames)
        assert [text.get_position() for text in axes.texts] == [text.get_position() for text in same.texts]


@pytest.mark.parametrize("ranked", [True, False])
def test_of_very_many_rows_those_on_the_front_are_named(make_run: MakeRun, record: Record, ranked: bool) -> None:
    runs = [make_run(f"strategy_{number}", metrics=costs(1 + number, 10)) for number in range(41)]
    table = build_table(runs)
    statistics = compute_statistics(table, runs, record(runs, [0.8] * 41))
    points = find_points(table, runs, statistics, ranked)
    axes = draw_pareto(points, statistics).axes[0]
    shares = next(mine for cost, mine in points.items() if cost.name == "trainable_percent")
    front = [statistics.rows[point.row].name for point in shares if point.on_front]
    assert [text.get_text() for text in axes.texts] == front
    assert bool(front) is ranked


def test_only_a_shown_difference_dominates_and_machines_are_not_mixed(make_run: MakeRun, record: Record) -> None:
    here, there = {"tags": {"hardware": "here"}}, {"tags": {"hardware": "there"}}
    runs = [
        make_run("lora", 0.9, metrics=costs(1, 10), **here),
        make_run("full", 0.89, metrics=costs(100, 20), **here),
        make_run("prompt", 0.6, metrics=costs(2, 30), **here),
        make_run("ia3", 0.59, metrics=costs(3, 99), **there),
    ]
    table = build_table(runs)
    statistics = compute_statistics(table, runs, record(runs, [0.9, 0.88, 0.6, 0.6]))
    points = find_points(table, runs, statistics)
    assert [cost.name for cost in points] == ["trainable_percent", "peak_rss_mb", "seconds", "artifact_mb"]
    by_name = {cost.name: {statistics.rows[point.row].name: point for point in mine} for cost, mine in points.items()}
    lora = next(number for number, row in enumerate(statistics.rows) if row.name == "lora")
    assert by_name["trainable_percent"]["full"].dominated_by == (), "cheaper and higher, but not shown to be better"
    assert not by_name["trainable_percent"]["full"].on_front
    assert by_name["trainable_percent"]["ia3"].dominated_by == (lora,)
    assert by_name["seconds"]["ia3"].dominated_by == (), "its time is that of another machine"
    assert by_name["seconds"]["ia3"].on_front
    assert lora in by_name["seconds"]["prompt"].dominated_by
    assert by_name["seconds"]["lora"].cost.value == 15, "what frozen layers cost once is part of the time"
    assert len(tabulate_points(points, statistics)) == 16
    panels = [axes.get_xlabel() for axes in draw_pareto(points, statistics).axes if axes.axison]
    assert len(panels) == 6, "what depends on the machine has a panel for each"
    assert [label.split("\n")[1].split(",")[0] for label in panels if "\n" in label] == ["here", "there"] * 2
    assert len(COSTS) == 7
