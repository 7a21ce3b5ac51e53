"""`setfit` trains, tests, serves and is compared like any strategy, with options of its own where none are given."""

import numpy as np
import pytest

from pipeline.config import CompareConfig, MainConfig, TrainConfig
from pipeline.stages import compare
from pipeline.stages.configure import configure, configure_strategy

PAIRS = "max_pairs=24"


def test_a_run_is_recorded_tested_served_and_compared(workspace):
    run_id = workspace.train(strategy="setfit", strategy_args=PAIRS, head="mean", max_train_samples=12)
    run = workspace.tracker.get(run_id)
    assert {name: run.params[name] for name in ("strategy", "head", "max_pairs", "sampling", "C")} == {
        "strategy": "setfit",
        "head": "mean",
        "max_pairs": "24",
        "sampling": "oversampling",
        "C": "1.0",
    }
    assert (run.metrics["data/train_examples"], run.metrics["data/train_pairs"]) == (12, 24)
    assert run.metrics["model/trainable_percent"] == 100
    assert len(run.metrics.keys() & {"train/loss_mean", "val/accuracy", "cost/train_seconds"}) == 3
    tested = workspace.evaluate(run_id).test
    import mlflow

    served = mlflow.pyfunc.load_model(f"runs:/{run_id}/model").predict(["a fine film", "dull and bland"])
    scores = served[["score_bad", "score_good"]].to_numpy()
    assert list(served["label"]) == [("bad", "good")[row] for row in scores.argmax(1)]
    np.testing.assert_allclose(scores.sum(1), 1, atol=1e-5)
    table = compare.run(CompareConfig(study="all")).table
    (row,) = table[table["strategy"] == "setfit"].to_dict("records")
    assert row["accuracy"] == pytest.approx(tested["accuracy"])


def test_options_of_its_own_beat_the_recipes_and_yield_to_its_entry_and_to_what_is_typed(workspace):
    (workspace.folder / "own.yaml").write_text("options: {epochs: 5, batch_size: 64}\nstrategies:\n  setfit: {batch_size: 8}\n")
    usual = configure(TrainConfig, {"strategy": "setfit"})
    assert (usual.head, usual.learning_rate, usual.batch_size, usual.epochs) == ("mean", 2e-5, 16, 1)
    typed = configure(TrainConfig, {"strategy": "setfit", "head": "pooler", "recipe": "own.yaml"})
    assert (typed.head, typed.batch_size, typed.epochs) == ("pooler", 8, 1)
    other = configure(TrainConfig, {"strategy": "full", "recipe": "own.yaml"})
    assert (other.head, other.batch_size, other.epochs) == ("pooler", 64, 5)
    study = configure(MainConfig, {"strategies": "full,setfit", "recipe": "own.yaml", "batch_size": "4"})
    assert [configure_strategy(study, name).batch_size for name in ("full", "setfit")] == [4, 4]
    assert [configure_strategy(study, name).epochs for name in ("full", "setfit")] == [5, 1]


def test_the_forecast_knows_its_steps(workspace):
    options = {**workspace.options, "strategy": "setfit", "strategy_args": PAIRS, "head": "mean", "dry_run": "true"}
    done = workspace.cli("train", **options)
    assert done.exit_code == 0, done.output
    assert "activations" in done.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": "mlp"}, "setfit cannot work on bert with --head mlp: that head has more layers than the linear one"),
        ({"num_processes": "2"}, "--num-processes 2: --strategy setfit trains in one process."),
        (
            {"objective": "bi_encoder"},
            "--strategy setfit: makes pairs of single texts, and --objective bi_encoder reads pairs.",
        ),
        ({"loss": "focal"}, "--strategy setfit: solves for cross-entropy, weighted or not, and not for --loss focal"),
        ({"strategy_args": "max_pairs=0"}, "setfit: max_pairs"),
        ({"strategy_args": "sampling=some"}, "setfit: sampling"),
    ],
)
def test_what_does_not_fit_makes_no_run(workspace, options, message):
    before = len(workspace.tracker.search())
    done = workspace.cli("train", **{**workspace.options, "strategy": "setfit", **options})
    assert done.exit_code == 2
    assert message in done.output.replace("\n", " ")
    assert len(workspace.tracker.search()) == before
