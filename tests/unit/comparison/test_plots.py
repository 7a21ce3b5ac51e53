from collections.abc import Callable

import pytest

from pipeline.comparison.plots import draw_all
from pipeline.comparison.row_names import label_rows
from pipeline.comparison.table import build_table
from pipeline.tracking.runs import Run

MakeRun = Callable[..., Run]


@pytest.mark.parametrize(("once", "shown"), [(30.0, "40"), (0.0, "10"), (None, "10")])
def test_what_frozen_layers_cost_once_counts_as_training_time(make_run: MakeRun, once: float | None, shown: str) -> None:
    others = {"train/loss_mean": 0.5, "model/trainable_params": 10, "cost/peak_rss_mb": 1.0, "model/trainable_percent": 1.0}
    metrics = {**others, "cost/train_seconds": 10.0, **({} if once is None else {"cost/cache_seconds": once})}
    runs = [make_run("partial", metrics=metrics), make_run("full", metrics={**others, "cost/train_seconds": 20.0})]
    table = build_table(runs)
    seconds = draw_all(table)["cost"].axes[1]
    bars = dict(zip(table["strategy"], (bar.get_width() for bar in seconds.patches), strict=True))
    assert bars == {"partial": float(shown), "full": 20.0}
    assert shown in [text.get_text() for text in seconds.texts]


def test_the_headline_shows_how_sure_each_score_is_and_which_rows_are_told_apart(make_run: MakeRun) -> None:
    metrics = {"train/loss_mean": 0.5, "model/trainable_params": 10, "cost/peak_rss_mb": 1.0, "cost/train_seconds": 1.0}
    scores = {"full": 0.8, "lora": 0.7, "bitfit": 0.6}
    table = build_table([make_run(name, score, metrics=metrics) for name, score in scores.items()])
    known = table.assign(f1_macro_low=[0.75, 0.6, None], f1_macro_high=[0.84, 0.78, None], group=["a", "a", ""])
    axes = draw_all(known)["f1"].axes[0]
    [whiskers] = axes.collections
    assert [segment[:, 0].tolist() for segment in whiskers.get_segments() if len(segment)][:2] == [
        pytest.approx([0.75, 0.84]),
        pytest.approx([0.6, 0.78]),
    ]
    assert [text.get_text() for text in axes.texts] == ["0.800 a", "0.700 a", "0.600"]
    assert [text.xy[0] for text in axes.texts] == [0.84, 0.78, 0.6], "behind the whisker"
    assert axes.get_title() == "test macro F1\nwhisker: 95 % interval\nsame letter: no difference shown"
    plain = draw_all(table)["f1"].axes[0]
    assert not plain.collections
    assert plain.get_title() == "test macro F1"


def test_rows_are_called_alike_in_pictures_and_elsewhere(make_run: MakeRun) -> None:
    metrics = {"train/loss_mean": 0.5, "model/trainable_params": 10, "cost/peak_rss_mb": 1.0, "model/trainable_percent": 1.0}
    many = f'{{"targets": {[f"part{number}" for number in range(9)]}}}'.replace("'", '"')
    runs = [
        make_run("lora", metrics={**metrics, "cost/train_seconds": 1.0}, arguments=text) for text in ('{"r": 4}', "{}", many)
    ]
    table = build_table(runs)
    drawn = [label.get_text() for label in draw_all(table)["f1"].axes[0].get_yticklabels()]
    assert ["".join(name.split()) for name in drawn] == ["".join(name.split()) for name in label_rows(table)]
    assert max(len(line) for name in drawn for line in name.splitlines()) <= 30, "long names are folded"
