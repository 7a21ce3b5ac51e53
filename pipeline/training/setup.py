"""What a training needs before it can begin, found and checked without making a run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pipeline import config as configs
from pipeline.code_version import code_version
from pipeline.config.fields import Pooling
from pipeline.config.identity import identify
from pipeline.data.pair_tokenization import TextPairs
from pipeline.data.prepared import PreparedData, prepare
from pipeline.data.splits import SplitName, choose_sample
from pipeline.data.tokenization import TokenTable, clamp_length
from pipeline.errors import ConfigError
from pipeline.hashing import digest
from pipeline.modeling.encoder import FAMILY_HEAD
from pipeline.modeling.head import with_head
from pipeline.modeling.loading import check_weights, load_tokenizer
from pipeline.modeling.merged_adapters import find_pretrained
from pipeline.modeling.model_sources import PACKAGED, ModelAddress
from pipeline.modeling.pooling_config import read_pooling
from pipeline.objectives.base import Objective, Tokenization, check_objective, create_objective, takes_pooling
from pipeline.strategies.base import Strategy, StrategyContext, create_strategy
from pipeline.strategies.parameter_plan import check_selectors
from pipeline.training.activation_cache import GIB, ActivationCache
from pipeline.training.checkpoints import CheckpointFolder
from pipeline.training.distributed import check_processes
from pipeline.training.plan import FitPlan
from pipeline.training.precision import Precision
from pipeline.training.saved_model import BuiltModel, ModelRecord, build_model, plugin_modules
from pipeline.training.seeding import Seeds

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class TrainingInputs:
    """Data, model and strategy of one training."""

    config: configs.TrainConfig
    address: ModelAddress
    strategy: Strategy
    prepared: PreparedData
    base_sha256: str
    objective: Objective
    notes: tuple[str, ...] = ()
    """What a user should know of the model's weights and outputs, as sentences."""

    @property
    def identity(self) -> str:
        """Equal for two trainings that compute the same."""
        return digest([self._options, self.prepared.manifest.fingerprint, self.base_sha256])

    def config_hash(self, precision: Precision) -> str:
        """Equal for configurations that compute the same, once it is known what `--precision` means."""
        return digest({**self._options, "precision": precision})

    @property
    def _options(self) -> dict[str, Any]:
        """The options that decide what is computed, and what was read off the model where no file describes its family."""
        inferred = self.address.encoder.family.inferred
        return {**identify(self.config), **({"inferred": inferred} if inferred else {})}

    @property
    def code_version(self) -> str:
        """Equal where the code that decides what this training computes is the same."""
        used = plugin_modules(self.config.strategy, self.config.objective, self.config.head)
        family = type(self.address.encoder.family).__module__
        return code_version((*used, family), self.strategy.packages)

    def context(self) -> StrategyContext:
        """What the strategy is told."""
        rows = len(self.sample("train"))
        steps = math.ceil(rows / self.config.batch_size) * self.config.epochs
        encoder = self.objective.encoder(self.address)
        return StrategyContext(encoder, self.config.epochs, steps, self.config.dropout, peft_task=self.objective.peft_task)

    def sample(self, split: SplitName) -> NDArray[np.int64]:
        """Indices of the split's rows that are used."""
        limit = self.config.max_train_samples if split == "train" else self.config.max_eval_samples
        return choose_sample(self.prepared.manifest.rows[split], limit, self.config.split_seed)

    def max_length(self, tokenizer: Any) -> int:
        """Longest input in tokens."""
        positions = self.address.encoder.max_positions - self.strategy.positions
        return clamp_length(self.config.max_length, tokenizer, positions)

    def tokens(self, split: SplitName, tokenizer: Any) -> TokenTable | TextPairs:
        """The split's used rows as token ids."""
        table = self.objective.tokenize(
            self.prepared.read(split),
            Tokenization(tokenizer, self.max_length(tokenizer)),
            self.address,
            self.prepared.manifest.split_sha256[split],
            self.config.cache_dir,
        )
        return table.subset(self.sample(split))

    def activation_cache(self) -> ActivationCache | None:
        """Where hidden states of frozen layers are kept; None where that is switched off."""
        if not self.config.frozen_prefix_cache:
            return None
        folder = Path(self.config.cache_dir) / "hidden_states"
        return ActivationCache(folder, int(self.config.frozen_prefix_cache_gb * GIB))


def find_strategy(config: configs.TrainConfig) -> tuple[ModelAddress, Strategy]:
    """The model's files, and the strategy checked against the architecture that they describe; no weights are read.

    Raises:
        ModelError: There is no such model, or its architecture is not supported.
        ConfigError: The strategy cannot work on it, or with the head.
    """
    check_objective(config.objective, config.head)
    check_processes(config)
    address = find_pretrained(config.model, config.model_revision, config.base_model, config.cache_dir)
    strategy = create_strategy(config.strategy, config.strategy_args)
    strategy.check_packages()
    _check_strategy(config, address, strategy)
    return address, strategy


def _check_strategy(
    config: configs.TrainConfig, address: ModelAddress, strategy: Strategy, lacking: frozenset[str] = frozenset()
) -> None:
    encoder = with_head(address.encoder, config.head)
    strategy.checked_phases(StrategyContext(encoder, config.epochs, config.epochs, config.dropout, lacking))


_MEAN: Pooling = "mean"
"""Where nothing else is said."""


def _find_pooling(config: configs.TrainConfig, address: ModelAddress) -> tuple[Pooling, str]:
    """The pooling that was given, or that the model was trained with; and what to know of that, as a sentence.

    Raises:
        ConfigError: The objective needs one, and the model's is not one that there is.
    """
    own = read_pooling(address.folder)
    if config.pooling is not None or own is None:
        return config.pooling or _MEAN, ""
    begin = f"--model {address.name}:"
    if not takes_pooling(config.objective):
        is_chosen = config.head != FAMILY_HEAD or "head" in config.explicit
        if own.name != "mean" or is_chosen or config.model == PACKAGED:
            return _MEAN, ""
        return _MEAN, f"{begin} its vectors are means of token states ({own.file}): --head mean reads those."
    known: dict[str, Pooling] = {name: name for name in get_args(Pooling)}
    if own.name not in known:
        raise ConfigError(
            f"{begin} {own.file} says that its vectors are pooled by {own.name}, which is not one of {', '.join(known)}. "
            "Give one of these as --pooling."
        )
    notes = [f"{begin} --pooling {own.name}, as {own.file} says."] if own.name != _MEAN else []
    if own.unread:
        notes.append(f"{begin} not used of its modules: {', '.join(own.unread)}, which change vectors after pooling.")
    return known[own.name], " ".join(notes)


def find_inputs(config: configs.TrainConfig) -> TrainingInputs:
    """Find model and data, preparing data that is not prepared yet, and check the strategy against the model.

    Raises:
        InputError: Model, data or strategy cannot be used; nothing was begun.
    """
    address, strategy = find_strategy(config)
    weights = check_weights(address)
    _check_strategy(config, address, strategy, weights.lacking)
    load_tokenizer(address)
    pooling, pooling_note = _find_pooling(config, address)
    config = replace(config, pooling=pooling)
    prepared, _ = prepare(config.dataset, config)
    objective = create_objective(config.objective, prepared.manifest.problem, pooling, config.head, config.model_labels)
    objective.check_metric(config.metric_for_best_model)
    outputs_note = objective.describe_outputs(address, weights)
    notes = tuple(filter(None, (address.note, weights.note, pooling_note, outputs_note)))
    inputs = TrainingInputs(config, address, strategy, prepared, address.sha256(), objective, notes)
    context = inputs.context()
    phases = strategy.checked_phases(context)
    objective.check(address, strategy, phases)
    if config.head == FAMILY_HEAD and not strategy.adapts:  # else the parameters are known once the model is built
        check_selectors(strategy.name, context.encoder, phases, map(context.encoder.locate, weights.names))
    if not len(inputs.sample("train")):
        raise ConfigError(f"--dataset {config.dataset}: no training example is left.")
    return inputs


@dataclass(frozen=True)
class Texts:
    """What is trained and validated on, as token ids."""

    tokenizer: Any
    train: TokenTable | TextPairs
    validation: TokenTable | TextPairs


def read_texts(inputs: TrainingInputs) -> Texts:
    """Token ids from the cache, or made now."""
    tokenizer = load_tokenizer(inputs.address)
    return Texts(tokenizer, inputs.tokens("train", tokenizer), inputs.tokens("validation", tokenizer))


def build(inputs: TrainingInputs) -> BuiltModel:
    """The base with the strategy put into it, initialised by the seed."""
    seeds = Seeds.of(inputs.config)
    return build_model(inputs.address, inputs.strategy, inputs.context(), inputs.objective, seeds.head, seeds.adapters)


def plan_fit(
    inputs: TrainingInputs, texts: Texts, built: BuiltModel, precision: Precision, checkpoints: CheckpointFolder
) -> FitPlan:
    """What `fit` is told."""
    context = built.context
    return FitPlan(
        model=built.model,
        encoder=context.encoder,
        parameters=built.parameters,
        train=texts.train,
        validation=texts.validation,
        task=inputs.objective.task,
        pad_id=texts.tokenizer.pad_token_id,
        config=inputs.config,
        precision=precision,
        checkpoints=checkpoints,
        strategy=inputs.strategy,
        activation_cache=inputs.activation_cache(),
        base_identity=[inputs.base_sha256, inputs.strategy.load_kwargs(context), version("transformers")],
    )


def describe_model(inputs: TrainingInputs, texts: Texts, built: BuiltModel, validation: Mapping[str, float]) -> ModelRecord:
    """What a saved model says of where its model comes from; `validation` are metrics of the selected checkpoint."""
    config, address, problem = inputs.config, inputs.address, inputs.prepared.manifest.problem
    made = address.adapter
    return ModelRecord(
        base=config.model if address.revision or config.model == PACKAGED else str(made.folder if made else address.folder),
        base_revision=address.revision,
        base_sha256=inputs.base_sha256,
        strategy=config.strategy,
        strategy_args=config.strategy_args,
        classes=list(problem.classes),
        max_length=inputs.max_length(texts.tokenizer),
        dropout=config.dropout,
        epochs=config.epochs,
        total_steps=built.context.total_steps,
        head=config.head,
        objective=config.objective,
        pooling=inputs.objective.pooling,
        score_range=list(problem.score_range) if problem.score_range else None,
        pairs=problem.pairs,
        model_labels=list(config.model_labels),
        adapter_base=made.base if made else None,
        adapter_base_revision=made.base_revision if made else None,
        inferred_family=bool(address.encoder.family.inferred),
        validation=dict(validation),
    )
