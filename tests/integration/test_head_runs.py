"""A head goes with its model wherever that goes: to evaluation, to serving, into the table; and a wrong one makes no run."""

import pytest
import torch

from pipeline.config import CompareConfig
from pipeline.config.identity import settings_hash
from pipeline.stages import compare


@pytest.mark.parametrize(("strategy", "head"), [("lora", "mean"), ("head_only", "attention"), ("linear_probe", "mean")])
def test_a_run_with_a_head_is_evaluated_and_served(workspace, strategy, head):
    run_id = workspace.train(strategy=strategy, head=head)
    run = workspace.tracker.get(run_id)
    assert run.params["head"] == head
    assert run.metrics["cost/train_seconds"] > 0
    assert 0 < run.metrics["train/loss_mean"] < 2
    result = workspace.evaluate(run_id)
    assert result.test["accuracy"] >= 0.5
    import mlflow

    served = mlflow.pyfunc.load_model(f"runs:/{run_id}/model")
    scores = served.predict(["a fine film", "dull and bland"])
    assert list(scores["label"]) == [
        ("bad", "good")[int(row)] for row in scores[["score_bad", "score_good"]].to_numpy().argmax(1)
    ]


def test_the_table_names_the_head(workspace):
    workspace.evaluate(workspace.train(strategy="head_only"))
    table = compare.run(CompareConfig(study="all")).table
    rows = set(zip(table["strategy"], table["arguments"], strict=True))
    assert rows >= {("head_only", ""), ("head_only", "head=attention"), ("linear_probe", "head=mean,C=1.0")}


def test_a_head_is_part_of_the_settings(workspace):
    assert settings_hash(workspace.config(head="mean")) != settings_hash(workspace.config(head="pooler"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": "meen"}, "--head: Unknown head 'meen'. Did you mean 'mean'? Available: attention, mean, mlp, pooler."),
        ({"strategy": "linear_probe", "head": "attention"}, "linear_probe cannot work on bert with --head attention"),
        ({"strategy": "linear_probe", "head": "mlp"}, "Add --head mean."),
    ],
)
def test_a_wrong_head_makes_no_run(workspace, options, message):
    before = len(workspace.tracker.search())
    done = workspace.cli("train", **{**workspace.options, **options})
    assert done.exit_code == 2
    assert message in done.output.replace("\n", " ")
    assert len(workspace.tracker.search()) == before


def test_a_checkpoint_without_a_pooler_is_refused_by_the_probe_before_a_run(workspace, tiny):
    before = len(workspace.tracker.search())
    options = {**workspace.options, "model": str(tiny.folder("bert", pooler=False)), "strategy": "linear_probe"}
    done = workspace.cli("train", **options)
    assert done.exit_code == 2
    assert "lacks bert.pooler.dense.bias" in done.output
    assert len(workspace.tracker.search()) == before


def test_the_default_is_what_the_family_has(tiny):
    from transformers import AutoModelForSequenceClassification

    from pipeline.strategies.base import create_strategy

    built = tiny.build(create_strategy("full", {}), tiny.folder("electra"), tiny.config(init_seed=1))
    peer = AutoModelForSequenceClassification.from_pretrained(tiny.folder("electra"))
    peer.load_state_dict(built.model.state_dict())
    ids = torch.arange(8, 18).reshape(1, 10)
    with torch.no_grad():
        assert torch.allclose(built.model.eval()(input_ids=ids).logits, peer.eval()(input_ids=ids).logits, atol=1e-6)
