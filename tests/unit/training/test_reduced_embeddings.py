"""Token embeddings that train: the table of the used rows against the whole one."""

import pytest
import torch
from plain_models import in_tiers
from safetensors.torch import load_file

from pipeline.data.batching import TokenExamples
from pipeline.modeling.family import list_model_types
from pipeline.registry import ACCELERATIONS
from pipeline.strategies.base import create_strategy
from pipeline.training.acceleration.patches.reduced_embeddings import used_vocabulary
from pipeline.training.checkpoints import trained_state
from pipeline.training.inference import predict_logits

ROWS, STEPS = 24, 3  # examples, and steps per epoch in batches of 8
ARGUMENTS = {"gradual": {"head_epochs": 1, "top_epochs": 1}}


CHOSEN = {"used": ("auto",), "whole": tuple(name for name in ACCELERATIONS.names() if name != "reduced_embeddings")}


@pytest.fixture
def both(tiny, tmp_path, watch):
    """Trains the same model with the table of the used rows, then with the whole one."""

    def both(strategy="full", family="bert", **options):
        results = []
        for name, acceleration in CHOSEN.items():
            config = tiny.config(**{"epochs": 3, "dropout": 0.2, "acceleration": acceleration, **options})
            built = tiny.build(
                create_strategy(strategy, ARGUMENTS.get(strategy, {})), tiny.folder(family), config, total_steps=3 * STEPS
            )
            watcher = watch()
            result = tiny.fit(built, config, tmp_path / f"{family}-{strategy}-{name}", rows=ROWS, watcher=watcher)
            results.append((built, result, watcher))
        return results

    return both


def test_pairs_of_texts_have_the_rows_of_both(tiny, tmp_path):
    objective, pairs, losses = tiny.objective("bi_encoder", pairs=True), tiny.pairs(ROWS), []
    for name, acceleration in CHOSEN.items():
        config = tiny.config(epochs=2, acceleration=acceleration)
        built = tiny.build(create_strategy("full", {}), tiny.folder(), config, 2 * STEPS, objective)
        given = {"train": pairs, "validation": tiny.pairs(16, seed=1), "task": objective.task}
        result = tiny.fit(built, config, tmp_path / name, **given)
        losses.append((result.train_loss_mean, result.best["loss"]))
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def table_of(model):
    return model.get_input_embeddings().weight.detach()


def used_rows(tiny):
    ids = [torch.from_numpy(table.ids).long() for table in (tiny.table(ROWS), tiny.table(16, seed=1))]
    return torch.cat(ids).unique()


@pytest.mark.parametrize("family", in_tiers(list_model_types()))
def test_it_is_the_same_training_on_every_architecture(both, family):
    (used, result, watched), (whole, expected, expected_watched) = both(family=family)
    for (name, left), (_, right) in zip(used.model.named_parameters(), whole.model.named_parameters(), strict=True):
        if ".key.bias" not in name and "k_lin.bias" not in name:  # its gradient is nothing but rounding
            torch.testing.assert_close(left, right, rtol=1e-3, atol=2e-4, msg=name)
    assert result.train_loss_mean == pytest.approx(expected.train_loss_mean, rel=1e-4)
    assert [step for step, _ in watched.logs] == [step for step, _ in expected_watched.logs]


@pytest.mark.parametrize("strategy", ["full", "discriminative", "gradual"])
@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_rows_without_tokens_decay_as_in_the_whole_table(tiny, both, strategy, decay):
    (used, _, _), (whole, _, _) = both(strategy, weight_decay=decay, max_grad_norm=1e9, learning_rate=3e-3)
    start = table_of(tiny.build(create_strategy("full", {}), tiny.folder(), tiny.config()).model)
    rows = used_rows(tiny)
    unused = torch.ones(len(start), dtype=torch.bool).index_fill(0, rows, False)
    unused[0] = False  # padding
    assert unused.sum() > 20
    if decay:
        assert not torch.equal(table_of(used.model)[unused], start[unused])
        torch.testing.assert_close(table_of(used.model), table_of(whole.model), rtol=3e-6, atol=1e-7)
    else:
        assert torch.equal(table_of(used.model)[unused], start[unused])
        for name, left in used.model.named_parameters():
            assert torch.equal(left, dict(whole.model.named_parameters())[name]), name


def test_the_best_checkpoint_has_the_rows_as_they_were_then(both, monkeypatch):
    scores = iter([0.5, 0.9, 0.6] * 2)
    others = {"accuracy": 0.5, "precision_macro": 0.5, "recall_macro": 0.5, "f1_macro": 0.5, "loss": 1.0}
    monkeypatch.setattr("pipeline.evaluation.task.ClassificationTask.score", lambda *_: {**others, "accuracy": next(scores)})
    (used, result, _), (whole, _, _) = both(weight_decay=0.5, max_grad_norm=1e9, learning_rate=3e-3)
    assert (result.best_step, result.steps) == (2 * STEPS, 3 * STEPS)
    torch.testing.assert_close(table_of(used.model), table_of(whole.model), rtol=3e-6, atol=1e-7)


def test_checkpoints_hold_the_used_rows_and_an_interruption_leaves_the_whole_table(tiny, tmp_path, watch):
    def interrupt(step):
        if step == STEPS + 1:
            raise KeyboardInterrupt

    config = tiny.config(epochs=2)
    built = tiny.build(create_strategy("full", {}), tiny.folder(), config)
    shape = table_of(built.model).shape
    with pytest.raises(KeyboardInterrupt):
        tiny.fit(built, config, tmp_path, rows=ROWS, watcher=watch(after_step=interrupt))
    assert table_of(built.model).shape == shape
    embedding = built.model.get_input_embeddings()
    assert (embedding.padding_idx, len(embedding._forward_pre_hooks)) == (0, 0)
    held = load_file(tmp_path / f"step-{STEPS}" / "trained.safetensors")
    rows = len(used_rows(tiny)) + 2  # padding, and the witness
    assert held["bert.embeddings.word_embeddings.weight"].shape == (rows, shape[1])


def test_within_the_block_the_model_is_the_same_function(tiny, family):
    built = tiny.build(create_strategy("full", {}), tiny.folder(family), tiny.config())
    pad_id, table = built.model.config.pad_token_id, tiny.table(ROWS)
    examples = TokenExamples(table, pad_id)
    expected = predict_logits(built.model, examples, torch.device("cpu"))
    before = trained_state(built.model, built.parameters)
    with used_vocabulary(built.model, built.parameters, [table], pad_id) as parameters:
        shapes = {planned.name: planned.shape for planned in parameters.parameters}
        assert shapes == {name: tuple(weight.shape) for name, weight in built.model.named_parameters()}
        assert sum(parameters.parameters[i].shape != p.shape for i, p in enumerate(built.parameters.parameters)) == 1
        assert (predict_logits(built.model, examples, torch.device("cpu")) == expected).all()
        with pytest.raises(IndexError):  # of another text
            predict_logits(built.model, TokenExamples(tiny.table(200, seed=9), pad_id), torch.device("cpu"))
    after = trained_state(built.model, built.parameters)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_tokenizer_may_pad_with_another_token_than_config_json_says(tiny, tmp_path):
    """As of a vocabulary that begins with [UNK], beside a config.json that says nothing of padding, which means 0."""
    trained, options = [], {"weight_decay": 0.0, "max_grad_norm": 1e9, "learning_rate": 3e-3}
    for name, acceleration in CHOSEN.items():
        config = tiny.config(acceleration=acceleration, **options)
        built = tiny.build(create_strategy("full", {}), tiny.folder(), config)
        assert tiny.fit(built, config, tmp_path / name, pad_id=1).steps == 1
        assert built.model.get_input_embeddings().padding_idx == 0
        trained.append(dict(built.model.named_parameters()))
    used, whole = trained
    assert 0 not in used_rows(tiny)
    assert all(torch.equal(weight, whole[name]) for name, weight in used.items())


@pytest.mark.parametrize("strategy", ["lora", "prompt", "bitfit", "partial"])
def test_embeddings_that_never_train_stay_as_they_are(tiny, strategy):
    built = tiny.build(create_strategy(strategy, {}), tiny.folder(), tiny.config())
    shapes = [parameter.shape for parameter in built.model.parameters()]
    with used_vocabulary(built.model, built.parameters, [tiny.table(ROWS)], 0) as parameters:
        assert parameters is built.parameters
        assert [parameter.shape for parameter in built.model.parameters()] == shapes


def test_a_table_that_something_else_uses_stays_whole(tiny):
    built = tiny.build(create_strategy("full", {}), tiny.folder(), tiny.config())
    built.model.decoder = torch.nn.Linear(32, 200)
    built.model.decoder.weight = built.model.get_input_embeddings().weight
    with used_vocabulary(built.model, built.parameters, [tiny.table(ROWS)], 0) as parameters:
        assert parameters is built.parameters
