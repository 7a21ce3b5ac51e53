"""What a training needs before it can begin, found and checked without making a run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pipeline import config as configs
from pipeline.code_version import code_version
from pipeline.config.fields import Pooling
from pipeline.config.identity import identify
from pipeline.config.search_ranges import Range
from pipeline.config.train_sizes import refuse_idle_sizes
from pipeline.data.columns import LABEL
from pipeline.data.long_texts import WINDOWS, LongTextReading
from pipeline.data.pair_tokenization import TextPairs
from pipeline.data.prepared import prepare
from pipeline.data.splits import SplitName
from pipeline.data.tokenization import TokenTable, clamp_length
from pipeline.errors import ConfigError
from pipeline.modeling.encoder import FAMILY_HEAD
from pipeline.modeling.gradient_checkpointing import INSTEAD, check_gradient_checkpointing
from pipeline.modeling.head import with_head
from pipeline.modeling.loading import check_weights, load_tokenizer
from pipeline.modeling.merged_adapters import find_pretrained
from pipeline.modeling.model_sources import PACKAGED, ModelAddress
from pipeline.modeling.pooling_config import read_pooling
from pipeline.objectives.base import Tokenization, check_objective, create_objective, takes_pooling
from pipeline.registry import LOSSES
from pipeline.strategies.base import AnyStrategy, Strategy, StrategyContext, create_strategy
from pipeline.strategies.baseline import Baseline
from pipeline.strategies.parameter_plan import ParameterPlan, check_selectors
from pipeline.training.activation_cache import GIB, ActivationCache
from pipeline.training.baselines.inputs import ConfigT, TrainingInputs
from pipeline.training.baselines.training import find_baseline_inputs
from pipeline.training.beginning import begin
from pipeline.training.checkpoints import CheckpointFolder
from pipeline.training.distributed import check_pieces, check_processes
from pipeline.training.plan import FitPlan
from pipeline.training.precision import Precision, dtype_name
from pipeline.training.saved_model import BuiltModel, ModelRecord, build_model, plugin_modules
from pipeline.training.seeding import Seeds
from pipeline.training.solved_heads.contrastive import check_contrast, count_pairs

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class EncoderInputs(TrainingInputs):
    """Data, encoder and strategy of one fine-tuning."""

    address: ModelAddress
    strategy: Strategy
    family: str
    """The module of the encoder's family."""

    @property
    def code_version(self) -> str:
        """Equal where the code that decides what this training computes is the same."""
        used = plugin_modules(self.config.strategy, self.config.objective, self.config.head)
        loss = LOSSES.module_name(self.config.loss or self.objective.task.loss)
        return code_version((*used, self.family, loss), self.strategy.packages)

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole training."""
        return self.context().total_steps

    def examples_of(self, config: configs.TrainConfig) -> int:
        """Pairs of what trains on pairs; one pass of what is solved."""
        strategy = create_strategy(config.strategy, config.strategy_args)
        assert isinstance(strategy, Strategy)
        if strategy.is_solved:
            return self.count("train")
        if strategy.contrasts:
            return replace(self, strategy=strategy, config=config)._inputs_per_epoch * config.epochs
        return self.examples_per_epoch * config.epochs

    def settle(self, config: ConfigT) -> ConfigT:
        """With the pooling that the model was trained with, where none was given."""
        return replace(config, pooling=self.config.pooling)

    def describe(self, precision: Precision) -> str:
        """The data set, the model, and what decides most of the rest."""
        config = self.config
        return (
            f"{config.dataset} with {config.model} (seed {config.seed}, learning rate {config.learning_rate:g}, epochs "
            f"{config.epochs}, batches of {config.batch_size}, {precision})"
        )

    def options(self, config: configs.TrainConfig) -> dict[str, Any]:
        """All."""
        return identify(config)

    def computation(self, precision: Precision) -> dict[str, str]:
        """The type of matrix products."""
        return {"compute_dtype": dtype_name(precision)}

    def work(self, precision: Precision) -> dict[str, str]:
        """Types, data and lengths, and how many examples make a step."""
        config = self.config
        sizes = {"max_length": str(config.max_length), "batch_size": str(config.batch_size)}
        return {**self.computation(precision), "dataset": config.dataset, **sizes}

    def context(self) -> StrategyContext:
        """What the strategy is told."""
        steps = math.ceil(self._inputs_per_epoch / self.config.batch_size) * self.config.epochs
        encoder = self.objective.encoder(self.address)
        return StrategyContext(encoder, self.config.epochs, steps, self.config.dropout, peft_task=self.objective.peft_task)

    @cached_property
    def _inputs_per_epoch(self) -> int:
        """Training texts, or the pieces in which they are read, or pairs of either, as often as an epoch has them."""
        passes = self.examples_per_epoch / self.count("train")
        if self.config.long_texts == WINDOWS:
            table = self.tokens("train", load_tokenizer(self.address))
            if not self.strategy.contrasts:
                return math.ceil(len(table.lengths) * self.examples_per_epoch / self.count("train"))  # as the plan has it
            labels = table.piece_labels
        elif self.strategy.contrasts:
            labels = self.objective.task.targets(self.prepared.read("train")[LABEL].to_numpy()[self.sample("train")])
        else:
            return self.examples_per_epoch
        return count_pairs(self.strategy, labels, self.config, passes)

    def max_length(self, tokenizer: Any) -> int:
        """Longest input in tokens."""
        positions = self.address.encoder.max_positions - self.strategy.positions
        return clamp_length(self.config.max_length, tokenizer, positions)

    def tokens(self, split: SplitName, tokenizer: Any) -> TokenTable | TextPairs:
        """The split's used rows as token ids."""
        table = self.objective.tokenize(
            self.prepared.read(split),
            Tokenization(tokenizer, self.max_length(tokenizer), LongTextReading.of(self.config)),
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


def find_strategy(config: configs.TrainConfig) -> AnyStrategy:
    """The strategy, checked against the architecture that the model's files describe; no weights are read.

    Raises:
        ModelError: There is no such model, or its architecture is not supported.
        ConfigError: The strategy cannot work on it, or with the head, or on such labels.
    """
    return _find_baseline(config) or _find_encoder(config)[1]


def search_space(config: configs.TrainConfig) -> Mapping[str, Range]:
    """What a search changes for the strategy, and over which values, by its own account.

    Raises:
        InputError: As `find_strategy` says.
    """
    if baseline := _find_baseline(config):
        return baseline.search_space()
    address, strategy = _find_encoder(config)
    return strategy.search_space(StrategyContext(address.encoder, config.epochs, config.epochs, config.dropout))


def _find_baseline(config: configs.TrainConfig) -> Baseline | None:
    """The strategy, checked against the labels; None where it trains an encoder."""
    strategy = create_strategy(config.strategy, config.strategy_args)
    if not isinstance(strategy, Baseline):
        return None
    strategy.check_packages()
    strategy.check_label_type(config.label_type)
    return strategy


def _find_encoder(config: configs.TrainConfig) -> tuple[ModelAddress, Strategy]:
    """The model's files, and the strategy checked against the architecture that they describe."""
    strategy = create_strategy(config.strategy, config.strategy_args)
    assert isinstance(strategy, Strategy)
    check_contrast(config, strategy)  # before the head, which it may have chosen itself
    check_objective(config.objective, config.head)
    check_processes(config)
    check_pieces(config)
    address = find_pretrained(config.model, config.model_revision, config.base_model, config.cache_dir)
    strategy.check_packages()
    if config.gradient_checkpointing:
        _check_recomputation(address, strategy)
    _check_strategy(config, address, strategy)
    return address, strategy


def _check_recomputation(address: ModelAddress, strategy: Strategy) -> None:
    if reason := strategy.computes_layers_once:
        raise ConfigError(f"--gradient-checkpointing true: --strategy {strategy.name} cannot work with it: {reason}. {INSTEAD}")
    check_gradient_checkpointing(address.encoder)


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
    """Find data, and a model where the strategy trains one, preparing data that is not prepared yet; check all together.

    Raises:
        InputError: Model, data or strategy cannot be used; nothing was begun.
    """
    refuse_idle_sizes(config)
    baseline = _find_baseline(config)
    inputs = find_baseline_inputs(config, baseline) if baseline else _find_encoder_inputs(config)
    if not inputs.count("train"):
        raise ConfigError(f"--dataset {config.dataset}: no training example is left.")
    inputs.check_size()
    return inputs


def _find_encoder_inputs(config: configs.TrainConfig) -> EncoderInputs:
    address, strategy = _find_encoder(config)
    weights = check_weights(address)
    _check_strategy(config, address, strategy, weights.lacking)
    tokenizer = load_tokenizer(address)
    pooling, pooling_note = _find_pooling(config, address)
    config = replace(config, pooling=pooling)
    from pipeline.objectives.loss import check_loss

    prepared, _ = prepare(config.dataset, config)
    objective = create_objective(config.objective, prepared.manifest.problem, pooling, config.head, config.model_labels)
    objective.check_metric(config.metric_for_best_model)
    objective = replace(objective, task=objective.task.deciding_by(config.decision_threshold))
    check_loss(objective.task, config, objective.problem, strategy)
    outputs_note = objective.describe_outputs(address, weights)
    notes = tuple(filter(None, (address.note, weights.note, pooling_note, outputs_note)))
    inputs = EncoderInputs(
        config=config,
        strategy=strategy,
        prepared=prepared,
        objective=objective,
        base_sha256=address.sha256(),
        notes=notes,
        inferred=address.encoder.family.inferred or {},
        address=address,
        family=type(address.encoder.family).__module__,
    )
    LongTextReading.of(config).check(prepared.manifest.pairs, tokenizer, inputs.max_length(tokenizer))
    context = inputs.context()
    phases = strategy.checked_phases(context)
    objective.check(address, strategy, phases)
    if config.head == FAMILY_HEAD and not strategy.adapts:  # else the parameters are known once the model is built
        check_selectors(strategy.name, context.encoder, phases, map(context.encoder.locate, weights.names))
    return inputs


@dataclass(frozen=True)
class Texts:
    """What is trained and validated on, as token ids."""

    tokenizer: Any
    train: TokenTable | TextPairs
    validation: TokenTable | TextPairs


def read_texts(inputs: EncoderInputs) -> Texts:
    """Token ids from the cache, or made now."""
    tokenizer = load_tokenizer(inputs.address)
    return Texts(tokenizer, inputs.tokens("train", tokenizer), inputs.tokens("validation", tokenizer))


def build(inputs: EncoderInputs, texts: Texts) -> BuiltModel:
    """The base with the strategy put into it, initialised by the seed and, where the strategy reads them, by training texts."""
    built = put_together(inputs)
    begin(built, texts.train, texts.tokenizer.pad_token_id, Seeds.of(inputs.config).adapters)
    take_from_file(built.model, built.parameters)
    return built


def put_together(inputs: EncoderInputs) -> BuiltModel:
    """The same, with weights that are mapped from their file, so that none is read yet."""
    seeds = Seeds.of(inputs.config)
    return build_model(inputs.address, inputs.strategy, inputs.context(), inputs.objective, seeds.head, seeds.adapters)


def take_from_file(model: nn.Module, parameters: ParameterPlan) -> None:
    """Copy what trains from the file that it is mapped from into memory of its own.

    Else the first step on a CPU copies it page by page, and the system interrupts all cores for each page of 4 KiB.
    """
    trainable = {parameter.name for parameter in parameters.trainable}
    for name, parameter in model.named_parameters():
        if name in trainable:
            parameter.data = parameter.data.clone()


def plan_fit(
    inputs: EncoderInputs, texts: Texts, built: BuiltModel, precision: Precision, checkpoints: CheckpointFolder
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


def describe_model(inputs: EncoderInputs, texts: Texts, built: BuiltModel, validation: Mapping[str, float]) -> ModelRecord:
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
        long_texts=config.long_texts,
        window_overlap=config.window_overlap,
        text_column=config.text_column,
        dropout=config.dropout,
        epochs=config.epochs,
        total_steps=built.context.total_steps,
        head=config.head,
        objective=config.objective,
        pooling=inputs.objective.pooling,
        score_range=list(problem.score_range) if problem.score_range else None,
        pairs=problem.pairs,
        multi=problem.multi,
        model_labels=list(config.model_labels),
        adapter_base=made.base if made else None,
        adapter_base_revision=made.base_revision if made else None,
        inferred_family=bool(address.encoder.family.inferred),
        validation=dict(validation),
    )
