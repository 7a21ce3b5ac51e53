"""What a training needs before it can begin, found and checked without making a run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import config as configs
from pipeline.code_version import code_version
from pipeline.config import identify
from pipeline.data.pair_tokenization import TextPairs
from pipeline.data.prepared import PreparedData, prepare
from pipeline.data.splits import SplitName, choose_sample
from pipeline.data.tokenization import TokenTable, clamp_length
from pipeline.errors import ConfigError
from pipeline.hashing import digest
from pipeline.modeling.encoder import FAMILY_HEAD
from pipeline.modeling.head import with_head
from pipeline.modeling.loading import check_weights, load_tokenizer
from pipeline.modeling.model_sources import PACKAGED, ModelAddress, find_model
from pipeline.objectives.base import Objective, Tokenization, check_objective, create_objective
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
        return digest([identify(self.config), self.prepared.manifest.fingerprint, self.base_sha256])

    def config_hash(self, precision: Precision) -> str:
        """Equal for configurations that compute the same, once it is known what `--precision` means."""
        return digest({**identify(self.config), "precision": precision})

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
    address = find_model(config.model, config.model_revision)
    strategy = create_strategy(config.strategy, config.strategy_args)
    strategy.check_packages()
    _check_strategy(config, address, strategy)
    return address, strategy


def _check_strategy(
    config: configs.TrainConfig, address: ModelAddress, strategy: Strategy, lacking: frozenset[str] = frozenset()
) -> None:
    encoder = with_head(address.encoder, config.head)
    strategy.checked_phases(StrategyContext(encoder, config.epochs, config.epochs, config.dropout, lacking))


def find_inputs(config: configs.TrainConfig) -> TrainingInputs:
    """Find model and data, preparing data that is not prepared yet, and check the strategy against the model.

    Raises:
        InputError: Model, data or strategy cannot be used; nothing was begun.
    """
    address, strategy = find_strategy(config)
    weights = check_weights(address)
    _check_strategy(config, address, strategy, weights.lacking)
    load_tokenizer(address)
    prepared, _ = prepare(config.dataset, config)
    objective = create_objective(config.objective, prepared.manifest.problem, config.pooling, config.head, config.model_labels)
    objective.check_metric(config.metric_for_best_model)
    notes = tuple(note for note in (weights.note, objective.describe_outputs(address, weights)) if note)
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
    return ModelRecord(
        base=config.model if address.revision or config.model == PACKAGED else str(address.folder),
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
        pooling=config.pooling,
        score_range=list(problem.score_range) if problem.score_range else None,
        pairs=problem.pairs,
        model_labels=list(config.model_labels),
        validation=dict(validation),
    )
