"""With every acceleration off a training is plain transformers' (and peft's), and each of them alone changes nothing but time.

By hand: transformers makes the model, peft the adapters, torch the steps. Only the starting weights and the batches are ours.
"""

import contextlib
import functools
from dataclasses import dataclass, field, replace

import peft
import pytest
import torch
import transformers
from pairs import REFUSED, make

from pipeline.config import TrainConfig
from pipeline.config.fields import describe_fields
from pipeline.data.batching import TokenExamples, plan_epoch
from pipeline.modeling.loading import load_tokenizer
from pipeline.registry import ACCELERATIONS
from pipeline.strategies.base import create_strategy
from pipeline.training.acceleration.base import replaced_forwards
from pipeline.training.saved_model import FineTunedModel
from pipeline.training.seeding import Seeds

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

STRATEGIES = ("full", "lora", "partial", "prefix")
CASES = [
    (family, name) for family in ("bert", "distilbert", "modernbert") for name in STRATEGIES if (family, name) not in REFUSED
]
NAMES = ACCELERATIONS.names()
ROWS, STEPS, TOP, RANK, TOKENS = 32, 4, 2, 2, 4
OPTIONS = {"warmup_ratio": 0.3, "learning_rate": 3e-3, "max_grad_norm": 0.5, "weight_decay": 0.1}
HEADS = {"bert": ["classifier"], "distilbert": ["pre_classifier", "classifier"], "modernbert": ["head", "classifier"]}
LAYERS = {"bert": "bert.encoder.layer", "distilbert": "distilbert.transformer.layer", "modernbert": "model.layers"}
TOLERANCE = {"first_token": 1e-5, "fused_lora": 1e-5, "reduced_embeddings": 1e-5}
"""Of weights after four steps, and relative of losses; what is not named here changes no bit without dropout."""


@dataclass
class Training:
    """What a training came to."""

    losses: list[float] = field(default_factory=list)
    """Of every step."""
    weights: dict[str, torch.Tensor] = field(default_factory=dict)
    patched: set[str] = field(default_factory=set)
    """What in the model was not as transformers and peft have it, after any step."""


def patches(model):
    """What in a model is not as its classes have it: attributes that stand for a method, hooks, another attention."""
    found = {
        f"{type(module).__name__}.forward"
        for module in model.modules()
        if "forward" in vars(module) or module._forward_pre_hooks or module._forward_hooks
    }
    return found | ({model.config._attn_implementation} - {"sdpa"})


def strategy_of(name):
    return create_strategy("partial", {"top_k": TOP}) if name == "partial" else make(name)


def dropout_of(name):
    """Frozen lower layers have no dropout here (ADR 5), so with any it would be another training."""
    return 0.0 if name == "partial" else 0.1


@pytest.fixture(scope="module")
def train(tiny, tmp_path_factory, watch):
    """Trains a family with a strategy and some accelerations; each training is made once."""

    @functools.cache
    def train(family, name, acceleration, dropout=0.0):
        config = tiny.config(**OPTIONS, dropout=dropout, acceleration=acceleration)
        built = tiny.build(strategy_of(name), tiny.folder(family), config, total_steps=STEPS)
        training, before = Training(), patches(built.model)

        def note(step):
            training.patched |= patches(built.model) - before

        watcher = watch(after_step=note)
        result = tiny.fit(built, config, tmp_path_factory.mktemp("checkpoints"), ROWS, watcher)
        assert (result.steps, result.best_step) == (STEPS, STEPS)
        assert patches(built.model) == before, "afterwards nothing is patched"
        training.losses = [metrics["train/loss"] for _, metrics in watcher.logs if "train/loss" in metrics]
        training.weights = {key: parameter.detach().clone() for key, parameter in built.model.named_parameters()}
        return training

    return train


def model_by_hand(family, folder, name, dropout):
    """Transformers' classifier, in peft's wrapper where the strategy is peft's."""
    probabilities = dict.fromkeys(DROPOUTS[family], dropout)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2, **probabilities)
    if name == "lora":
        linear = [
            key
            for key, module in model.named_modules()
            if isinstance(module, torch.nn.Linear) and key.partition(".")[0] not in HEADS[family]
        ]
        return peft.get_peft_model(
            model,
            peft.LoraConfig(
                task_type="SEQ_CLS",
                r=RANK,
                lora_alpha=2 * RANK,
                lora_dropout=0.0,
                target_modules=linear,
                modules_to_save=HEADS[family],
            ),
        )
    if name == "prefix":
        return peft.get_peft_model(
            model, peft.PrefixTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=TOKENS, prefix_projection=True)
        )
    return model


DROPOUTS = {
    "bert": ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"),
    "distilbert": ("dropout", "attention_dropout", "seq_classif_dropout"),
    "modernbert": ("embedding_dropout", "mlp_dropout", "attention_dropout", "classifier_dropout"),
}


def share_of_the_rate(family, name, parameter):
    """At which a parameter trains; 0 where it is frozen."""
    is_head = any(f"{head}." in parameter for head in HEADS[family]) and "attn" not in parameter
    is_head = is_head and "original_module" not in parameter
    if name == "full":
        return 1.0
    if name == "partial":
        top = [f"{LAYERS[family]}.{layer}." for layer in range(4 - TOP, 4)]
        return float(is_head or any(parameter.startswith(layer) for layer in top))
    if name == "lora":
        return float("lora_" in parameter or is_head)
    return 0.02 if "prompt_encoder" in parameter else float(is_head)


def train_by_hand(tiny, family, name):
    """As anybody would write it who knows none of this project."""
    dropout = dropout_of(name)
    config = tiny.config(**OPTIONS, dropout=dropout)
    model = model_by_hand(family, tiny.folder(family), name, dropout)
    ours = tiny.build(strategy_of(name), tiny.folder(family), config, total_steps=STEPS).model
    model.load_state_dict(ours.state_dict())
    groups = []
    for key, parameter in model.named_parameters():
        share = share_of_the_rate(family, name, key)
        parameter.requires_grad_(share > 0)
        if share > 0:
            decay = OPTIONS["weight_decay"] if parameter.dim() > 1 else 0.0
            groups.append({"params": [parameter], "lr": share * OPTIONS["learning_rate"], "weight_decay": decay})
    optimizer = torch.optim.AdamW(groups, fused=True)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, round(STEPS * OPTIONS["warmup_ratio"] + 0.5), STEPS)
    table, training = tiny.table(ROWS), Training()
    examples = TokenExamples(table, model.config.pad_token_id)
    torch.manual_seed(Seeds.of(config).dropout)
    model.train()
    for indices in plan_epoch(table.lengths, 8, Seeds.of(config).order, 0):
        batch = examples.batch(indices)
        loss = model(**batch.inputs, labels=batch.labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), OPTIONS["max_grad_norm"])
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        training.losses.append(loss.item())
    training.weights = {key: parameter.detach() for key, parameter in model.named_parameters()}
    return training


def assert_close(found, expected, tolerance):
    assert len(found.losses) == STEPS
    assert found.losses == pytest.approx(expected.losses, rel=tolerance, abs=0)
    assert found.weights.keys() == expected.weights.keys()
    for name, weight in expected.weights.items():
        # A bias of the keys shifts all scores of a query alike: its gradient is zero but for rounding, which AdamW scales up.
        if not name.endswith(("key.bias", "k_lin.bias")):
            torch.testing.assert_close(found.weights[name], weight, rtol=0, atol=tolerance, msg=name)


def test_accelerations_are_found():
    assert set(NAMES) >= {"cuda_graphs", "first_token", "fused_lora", "quick_dropout", "reduced_embeddings"}
    assert len(CASES) >= 10
    described = describe_fields(TrainConfig)["acceleration"].help
    assert [name for name in NAMES if name not in described] == []


@pytest.mark.parametrize(("family", "name"), CASES)
def test_with_all_off_a_training_is_that_of_transformers(tiny, train, family, name):
    ours, plain = train(family, name, ("off",), dropout_of(name)), train_by_hand(tiny, family, name)
    assert not ours.patched
    assert ours.losses == plain.losses
    assert_close(ours, plain, 0.0)


@pytest.mark.parametrize(("family", "name"), CASES)
def test_each_alone_is_the_same_training_as_with_all_off(train, family, name):
    off = train(family, name, ("off",))
    acting = set()
    for acceleration in NAMES:
        alone = train(family, name, (acceleration,))
        assert_close(alone, off, TOLERANCE.get(acceleration, 0.0))
        acting |= {acceleration} if alone.patched else set()
    assert acting == {
        "quick_dropout",
        *(["first_token"] if family == "bert" else []),
        *(["fused_lora"] if name == "lora" else []),
        *(["reduced_embeddings"] if name == "full" else []),
    }, "each was there where it has something to do on a CPU"


@pytest.mark.parametrize(("family", "name"), CASES)
def test_all_of_them_together_are_the_same_training(train, family, name):
    assert_close(train(family, name, ("auto",)), train(family, name, ("off",)), max(TOLERANCE.values()))


def test_predictions_are_the_same_with_all_off(tiny):
    built, objective = tiny.build(make("full"), tiny.folder(), tiny.config()), tiny.objective()
    tokenizer = load_tokenizer(built.address)
    quick = FineTunedModel(built.model, tokenizer, objective, objective.task, 40, built.context.encoder)
    seen, texts = [], ["a fine film", "dull", "the plot is weak and the film is long"]
    top = built.model.get_submodule("bert.encoder.layer.3")
    top.register_forward_hook(lambda _module, _given, states: seen.append(states.shape[1]))
    first, plain = (replace(quick, acceleration=(chosen,)).predict(texts) for chosen in ("auto", "off"))
    assert first == pytest.approx(plain, abs=1e-6)
    assert (seen[0], min(seen[-1:]) > 1) == (1, True)
    assert "forward" not in vars(top)


def test_blocks_of_several_threads_may_end_in_any_order():
    module = torch.nn.Linear(1, 1)
    first, second = (contextlib.ExitStack() for _ in range(2))
    first.enter_context(replaced_forwards({module: lambda _, states: states * 0 + 7}))
    second.enter_context(replaced_forwards({module: lambda _, states: states * 0 + 7}))
    first.close()
    assert module(torch.ones(1)).item() == 7
    second.close()
    assert list(vars(module)) == list(vars(torch.nn.Linear(1, 1)))
