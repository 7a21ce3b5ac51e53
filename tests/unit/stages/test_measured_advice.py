"""Which strategy `auto` takes from what was measured, and on what it says that rests."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import TrainConfig
from pipeline.config.fields import describe_fields
from pipeline.evaluation.metric import ranking
from pipeline.stages.auto.measured import Measured, advise_by_study, advise_by_table, in_order, read_table
from pipeline.strategies.base import create_strategy, list_strategies
from pipeline.tracking.memory import MemoryTracker
from pipeline.tracking.tags import Tag

F1 = ranking("class")
CONFIG = TrainConfig(dataset="reviews.csv")
HERE, OTHER = "a" * 64, "b" * 64


def row(strategy, score, deviation=0.0, seconds=1.0):
    return Measured(strategy, score, deviation, 3, seconds)


def names(rows):
    return [measured.strategy for measured in rows]


def test_the_best_is_first():
    assert names(in_order([row("full", 0.8), row("lora", 0.9), row("tfidf", 0.7)])) == ["lora", "full", "tfidf"]


def test_of_those_within_the_spread_the_quickest_is_first():
    rows = [row("full", 0.90, 0.02, seconds=90), row("lora", 0.89, 0.01, seconds=50), row("tfidf", 0.87, 0.0, seconds=1)]
    assert names(in_order(rows)) == ["lora", "full", "tfidf"]
    assert names(in_order([*rows, row("bitfit", 0.85, 0.06, seconds=2)]))[0] == "bitfit", "its own spread counts, too"


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 0.1), st.floats(0, 9)), min_size=1, max_size=8))
def test_the_first_is_as_good_as_the_best_within_the_spread_and_none_is_lost(given):
    rows = [row(str(number), *values) for number, values in enumerate(given)]
    first, *others = in_order(rows)
    best = max(rows, key=lambda measured: measured.score)
    assert best.score - first.score <= max(best.deviation, first.deviation)
    assert sorted(names([first, *others])) == sorted(names(rows))


class Store(MemoryTracker):
    """A store into which studies are put."""

    def study(self, scores, size, data=HERE, base="base", dataset="reviews.csv", status="FINISHED", inside=None):
        """Strategy -> validation scores, by seed; returns the study's id."""
        study = self.start("main", tags={"stage": "main"})
        study.log_params({"dataset": dataset})
        parent = study.run_id
        if inside:
            parent = self.start("tune", parent_id=parent, tags={"stage": inside, "data_fingerprint": data}).run_id
        for strategy, values in scores.items():
            for seed, score in enumerate(values):
                self.training(strategy, score, seed, size, data, base, parent, dataset)
        self.update(study.run_id, status=status, start_time=len(self.runs))
        return study.run_id

    def training(self, strategy, score, seed, size, data, base, parent, dataset="reviews.csv", **params):
        tags = {"stage": "train", "strategy": strategy, "data_fingerprint": data, Tag.SETTINGS_HASH: strategy}
        tags |= {Tag.STRATEGY_ARGS: '{"r": 4}' if strategy == "lora" else "{}", "config_hash": f"{strategy}{seed}{size}"}
        tags |= {} if strategy == "tfidf" else {Tag.BASE_SHA256: base}
        run = self.start(strategy, parent_id=parent, tags=tags)
        run.log_params({"dataset": dataset, "learning_rate": 3e-4, "epochs": 7, "seed": seed, "head": "mean", **params})
        seconds = {"tfidf": 1.0, "lora": 20.0}.get(strategy, 30.0)
        test = 1 - score  # opposite, so that whoever looked at it would choose otherwise
        run.log_metrics(
            {"val/f1_macro": score, "test/f1_macro": test, "data/train_examples": size, "cost/train_seconds": seconds}
        )
        run.finish("FINISHED")


@pytest.fixture
def store():
    return Store()


def advise(store, examples=1000, base="base"):
    return advise_by_study(store, CONFIG, HERE, base, examples, F1)


def test_an_empty_store_advises_nothing(store):
    assert advise(store) == []


def test_the_best_of_a_study_by_validation_scores_with_its_settings(store):
    study = store.study({"full": [0.70, 0.72], "lora": [0.80, 0.82], "tfidf": [0.60, 0.60]}, 500)
    first, *others = advise(store)
    assert (first.strategy, first.arguments) == ("lora", {"r": 4})
    assert dict(first.options) == {"head": "mean", "learning_rate": "0.0003", "epochs": "7"}
    assert first.reason == (
        f"best of 3 strategies by its validation macro F1 of 0.810 (2 seeds), in study {study}, of the same data, with 500 "
        "training examples (1,000 here, 2 times as many)"
    )
    assert [advice.strategy for advice in others] == ["full", "tfidf"]


def test_an_epoch_of_several_passes_counts_as_so_many(store):
    """As `--hold steps` has them; a training of that size alone has no such epochs."""
    parent = store.study({"full": [0.9], "lora": [0.8]}, 2048)
    for strategy, score in (("full", 0.5), ("lora", 0.6)):
        store.training(strategy, score, 0, 32, HERE, "base", parent, epoch_size=2048)
    assert advise(store, 32)[0].options["epochs"] == str(7 * 2048 // 32)
    assert advise(store, 2048)[0].options["epochs"] == "7"
    typed = store.study({"full": [], "lora": [0.8]}, 4000)
    store.training("full", 0.95, 0, 4000, HERE, "base", typed, epoch_size="none", loss="none", weight_decay="1e-2")
    options = advise(store, 4000)[0].options
    assert (options["epochs"], options["weight_decay"], "loss" in options) == ("7", "0.01", False)


def test_a_tie_goes_to_the_quicker_and_says_so(store):
    store.study({"full": [0.80, 0.84], "lora": [0.80, 0.82]}, 1000)
    first = advise(store)[0]
    assert first.strategy == "lora"
    assert first.reason.startswith(
        "quicker than full (0.820), from which its validation macro F1 of 0.810 (2 seeds) is not told"
    )
    assert first.reason.endswith("with 1,000 training examples, as here")


def test_the_nearest_size_decides_on_a_logarithmic_scale(store):
    store.study({"full": [0.9], "lora": [0.8]}, 2500)
    store.study({"full": [0.8], "lora": [0.9]}, 300)
    assert [advise(store, examples)[0].strategy for examples in (2000, 900, 800, 100)] == ["full", "full", "lora", "lora"]


def test_sizes_of_one_study_are_told_apart(store):
    parent = store.study({"full": [0.9], "lora": [0.8]}, 2000)
    for strategy, score in (("full", 0.5), ("lora", 0.6)):
        store.training(strategy, score, 0, 64, HERE, "base", parent)
    assert [advise(store, examples)[0].strategy for examples in (2000, 64)] == ["full", "lora"]


def test_the_same_encoder_comes_before_a_nearer_size(store):
    store.study({"full": [0.9], "lora": [0.8]}, 1000, base="another")
    assert "of the same data, with another encoder, with 1,000" in advise(store)[0].reason
    store.study({"full": [0.8], "lora": [0.9]}, 100)
    assert advise(store)[0].strategy == "lora"


def test_the_same_source_cut_otherwise_counts_where_no_study_is_of_this_cut(store):
    store.study({"full": [0.9], "lora": [0.8]}, 1000, data=OTHER)
    assert "of the same data, cut or cleaned otherwise, with 1,000" in advise(store)[0].reason
    store.study({"full": [0.8], "lora": [0.9]}, 100)
    assert advise(store)[0].strategy == "lora"


@pytest.mark.parametrize(
    "study",
    [
        {"scores": {"full": [0.9, 0.8]}},
        {"scores": {"full": [0.9], "lora": [0.8]}, "status": "FAILED"},
        {"scores": {"full": [0.9], "lora": [0.8]}, "data": OTHER, "dataset": "others.csv"},
    ],
    ids=["of one strategy", "failed", "of other data"],
)
def test_what_is_no_finished_study_of_the_data_says_nothing(store, study):
    store.study(**{"size": 1000, **study})
    assert advise(store) == []


def test_a_searchs_trainings_belong_to_its_study(store):
    store.study({"full": [0.8], "lora": [0.9]}, 1000, inside="tune")
    assert advise(store)[0].strategy == "lora"


def table(*rows):
    names = ("data_set", "strategy", "train_size", "f1_macro", "f1_macro_sd", "seconds")
    return [
        {"model": "minilm", "seeds": "2", "strategy_args": "", "head": "mean", **dict(zip(names, map(str, row), strict=True))}
        for row in rows
    ]


def test_the_table_is_averaged_over_its_data_sets():
    rows = table(
        ("A", "full", 32, 0.9, 0.0, 9), ("A", "lora", 32, 0.7, 0.0, 5), ("A", "tfidf", 32, 0.99, 0.0, 1),
        ("B", "full", 32, 0.5, 0.0, 9), ("B", "lora", 32, 0.8, 0.0, 5), ("A", "full", 512, 0.9, 0.0, 9),
    )  # fmt: skip
    first, *others = advise_by_table(50, F1, rows)
    assert (first.strategy, dict(first.options)) == ("lora", {"head": "mean"})
    assert first.reason == (
        "best of 2 strategies by its validation macro F1 of 0.750 (2 seeds), in the table of this project, of other data (A, "
        "B; minilm), with 32 training examples (50 here, 1.56 times as many)"
    )
    assert [advice.strategy for advice in others] == ["full"], "tfidf was not measured on all of them"


def test_the_spread_in_the_table_is_that_of_the_mean_over_data_sets():
    rows = [("full", 0.80, 0.033, 9), ("lora", 0.79, 0.0, 5), ("tfidf", 0.775, 0.0, 1)]
    of_nine = table(*((str(number), name, 32, *values) for number in range(9) for name, *values in rows))
    assert [advice.strategy for advice in advise_by_table(32, F1, of_nine)] == ["lora", "full", "tfidf"], (
        "within 0.011, not 0.033"
    )


def test_far_from_the_tables_sizes_it_says_nothing():
    rows = table(("A", "full", 32, 0.9, 0.0, 9))
    assert [len(advise_by_table(examples, F1, rows)) for examples in (8, 128, 7, 129)] == [1, 1, 0, 0]
    assert advise_by_table(32, ranking("score"), rows) == []


def test_the_projects_table_holds_what_it_says():
    rows = read_table()
    assert len({row["data_set"] for row in rows}) >= 3
    for row in rows:
        assert row["strategy"] in list_strategies()
        assert 0 < float(row["f1_macro"]) <= 1
        assert int(row["seeds"]) >= 1
        assert math.isfinite(float(row["seconds"]))
    for size in {int(row["train_size"]) for row in rows}:
        advice = advise_by_table(size, F1)
        assert advice
        assert "as here" in advice[0].reason


def test_what_the_table_advises_is_a_setting_that_there_is():
    for size in {int(row["train_size"]) for row in read_table()}:
        for advice in advise_by_table(size, F1):
            assert advice.options.keys() <= describe_fields(TrainConfig).keys()
            create_strategy(advice.strategy, advice.arguments)
