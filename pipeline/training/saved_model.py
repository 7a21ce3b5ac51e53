"""A fine-tuned model on disk: the delta that training made, and how to find the base it belongs to.

`model.json` names strategy, arguments, classes and base; `delta.safetensors` holds every parameter that ever trained and
the whole head, also where part of it stayed as it was drawn. The base is not copied: it is found again by its address and
held against its SHA-256. A baseline has no base, and a file of terms beside (`baselines/model.py`).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config.fields import LongTexts
from pipeline.data.batching import TokenExamples
from pipeline.data.columns import Input, Problem
from pipeline.data.long_texts import FROM_THE_BEGINNING, LongTextReading
from pipeline.data.tokenization import clamp_length
from pipeline.errors import ConfigError, DamagedModelError, ModelError, enumerate_some, shorten
from pipeline.evaluation.task import Task
from pipeline.failures import is_exhausted
from pipeline.hashing import find_damage, is_sealed, list_sealed, seal
from pipeline.json_text import parse_json, parse_json_as
from pipeline.modeling.class_order import read_class_names
from pipeline.modeling.encoder import FAMILY_HEAD, EncoderSpec
from pipeline.modeling.foreign_folders import DELTA, RECORD, find_trained_model
from pipeline.modeling.loading import check_weights, find_outputs, load_tokenizer
from pipeline.modeling.merged_adapters import find_pretrained
from pipeline.modeling.model_sources import ModelAddress
from pipeline.objectives.base import Objective, Tokenization, create_objective
from pipeline.registry import HEADS, OBJECTIVES, STRATEGIES
from pipeline.strategies.base import Strategy, StrategyContext, create_strategy
from pipeline.strategies.baseline import Baseline
from pipeline.strategies.parameter_plan import ParameterPlan, check_selectors, parameter_names, plan_parameters
from pipeline.training.acceleration.base import AUTO, accelerated_inference
from pipeline.training.baselines.model import TERMS, BaselineModel, read_learned
from pipeline.training.checkpoints import load_trained_state, trained_state
from pipeline.training.inference import TrainedModel, predict_logits

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

NAME = "fine_tuned"
_FORMAT = 1
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelRecord:
    """Content of `model.json`."""

    base: str
    """Empty where the strategy trains no encoder."""
    base_revision: str | None
    base_sha256: str
    strategy: str
    strategy_args: dict[str, Any]
    classes: list[str]
    max_length: int
    dropout: float
    epochs: int
    total_steps: int
    head: str = FAMILY_HEAD
    """Not in folders that were written before there were others."""
    format: int = _FORMAT
    objective: str = "classification"
    pooling: str = "mean"
    score_range: list[float] | None = None
    """The scores that 0 and 1 stand for, where labels are scores."""
    pairs: bool = False
    multi: bool = False
    """Whether a text has any number of the classes."""
    model_labels: list[str] = field(default_factory=list)
    """The classes in the order of the outputs of the base's own classifier, where that was said."""
    adapter_base: str | None = None
    """The model below it, where the base is an adapter that was merged first."""
    adapter_base_revision: str | None = None
    long_texts: LongTexts = FROM_THE_BEGINNING.way
    window_overlap: float = FROM_THE_BEGINNING.overlap
    text_column: str | None = None
    """Where the texts stood, if that was named: `predict` reads the column of this name where a file has one."""
    inferred_family: bool = False
    """Whether the base's family was read off it, for no file describes that."""
    validation: dict[str, float] = field(default_factory=dict)
    """Metrics of the checkpoint that was kept, and what was chosen with them."""

    @property
    def problem(self) -> Problem:
        """What the model predicts, and of what."""
        return Problem.of(self.classes, self.score_range, self.pairs, self.multi)


@dataclass(frozen=True)
class BuiltModel:
    """A base model with a strategy put into it."""

    model: nn.Module
    strategy: Strategy
    parameters: ParameterPlan
    address: ModelAddress
    context: StrategyContext

    def write_delta(self, folder: Path) -> None:
        """Write the parameters that trained, and what the strategy keeps beside them."""
        from safetensors.torch import save_file

        kept = {name: tensor.cpu().contiguous() for name, tensor in self.strategy.kept(self.model).items()}
        save_file(trained_state(self.model, self.parameters) | kept, folder / DELTA)

    def read_delta(self, folder: Path) -> None:
        """Put back what `write_delta` wrote; a `ValueError` where it is of another model or strategy."""
        from safetensors.torch import load_file

        saved, own = load_file(folder / DELTA), {parameter.name for parameter in self.parameters.saved}
        load_trained_state(self.model, self.parameters, {name: saved[name] for name in saved if name in own})
        self.strategy.keep(self.model, {name: saved[name] for name in saved if name not in own})


@dataclass(frozen=True)
class FineTunedModel(TrainedModel):
    """An encoder with its tokenizer, ready to predict."""

    model: nn.Module
    tokenizer: Any
    objective: Objective
    task: Task
    """The objective's, with what was chosen on validation data."""
    max_length: int
    encoder: EncoderSpec
    acceleration: tuple[str, ...] = (AUTO,)
    """As `--acceleration` says it; equal but for rounding."""
    reading: LongTextReading = FROM_THE_BEGINNING
    """What it reads of single texts that are longer than `max_length`."""

    @property
    def size_metrics(self) -> dict[str, float]:
        """How many parameters it has."""
        return {"model/total_params": sum(parameter.numel() for parameter in self.model.parameters())}

    def predict_and_count(self, inputs: Sequence[Input]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Outputs, and how many tokens of each text, or of both of a pair, were too many to be read."""
        import numpy as np
        import torch

        how = Tokenization(self.tokenizer, self.max_length, self.reading)
        table = self.objective.encode(inputs, how, self.encoder)
        examples = table.as_examples(lambda texts: TokenExamples(texts, self.tokenizer.pad_token_id))
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        losses = table.losses
        cut = np.zeros(len(inputs), np.int64) if losses is None else losses.cut.reshape(len(inputs), -1).sum(1, dtype=np.int64)
        with accelerated_inference(self.model, self.encoder, device, self.acceleration):
            return predict_logits(self.model.to(device), examples, device), cut


def plugin_modules(strategy: str, objective: str, head: str) -> tuple[str, ...]:
    """The plug-ins that a training, and the test of what it makes, use."""
    return STRATEGIES.module_name(strategy), OBJECTIVES.module_name(objective), HEADS.module_name(head)


def build_model(
    address: ModelAddress,
    strategy: Strategy,
    context: StrategyContext,
    objective: Objective,
    head_seed: int,
    adapter_seed: int,
) -> BuiltModel:
    """Load the base with the head that `context.encoder` names, put the strategy into it, and resolve what trains when.

    The head is drawn from a seed of its own before any adapter, so all strategies start from the same head.

    Raises:
        ConfigError: The strategy does not fit the model.
        ModelError: The model cannot be loaded.
    """
    import torch

    strategy.check_packages()
    strategy.checked_phases(context)  # a mistake is found before anything is loaded
    load_kwargs = strategy.load_kwargs(context)
    loaded = objective.load(address, context.dropout, head_seed, load_kwargs)
    context = replace(context, newly_initialised=loaded.newly_initialised)
    phases, own_names = strategy.checked_phases(context), parameter_names(loaded.model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(adapter_seed)
        model = strategy.adapt(loaded.model, context)
    parameters = plan_parameters(model, context.encoder, phases, own_names, loaded.newly_initialised)
    check_selectors(strategy.name, context.encoder, phases, [parameter.location for parameter in parameters.parameters])
    return BuiltModel(model, strategy, parameters, address, context)


def write_model_folder(folder: Path, made: BuiltModel | BaselineModel, record: ModelRecord) -> None:
    """Write record and delta into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    made.write_delta(folder)
    (folder / RECORD).write_text(json.dumps(asdict(record), indent=1, ensure_ascii=False), encoding="utf-8")
    seal(folder)


def is_model_folder(folder: Path) -> bool:
    """Whether training wrote this folder."""
    return find_trained_model(folder) == folder


def check_model_folder(folder: Path) -> None:
    """Hold the folder's files against their checksums.

    Raises:
        DamagedModelError: One of them is not what training wrote.
    """
    if not is_sealed(folder):
        _LOG.warning("%s was written by a version without checksums: whether it is damaged cannot be told.", folder)
    _refuse_damage(folder, (RECORD, DELTA, *list_sealed(folder)))


def _refuse_damage(folder: Path, names: Sequence[str]) -> None:
    if is_sealed(folder) and (damaged := find_damage(folder, dict.fromkeys(names))):
        raise DamagedModelError(
            f"{folder}: {damaged} is missing or damaged, it is not what training wrote. Copy the folder again, or train again.",
            damaged,
        )


def read_record(folder: Path) -> ModelRecord:
    """The record of a folder that training wrote; the other files are not looked at.

    Raises:
        ModelError: It is missing or damaged.
    """
    _refuse_damage(folder, [RECORD])
    try:
        text = (folder / RECORD).read_text(encoding="utf-8")
        content = parse_json(text)
        if content["format"] != _FORMAT:
            raise ModelError(f"{folder}: written in format {content['format']}; this version reads {_FORMAT}.")
        record: ModelRecord = parse_json_as(text, ModelRecord)
        return replace(record, objective=OBJECTIVES.current(record.objective))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{folder}: {RECORD} is missing or damaged: {shorten(str(error), 300)}.") from error


def read_weights(folder: Path) -> dict[str, NDArray[Any]]:
    """Everything that training made of the model in a folder, by name; bf16 as float32.

    Raises:
        ModelError: The folder is damaged.
    """
    from safetensors.torch import load_file

    check_model_folder(folder)
    try:
        return {name: tensor.float().numpy() for name, tensor in load_file(folder / DELTA).items()}
    except Exception as error:  # safetensors raises an error of its own
        if is_exhausted(error):
            raise
        raise ModelError(f"{folder}: {DELTA} is missing or damaged: {error}") from error


def load_model_folder(folder: Path, acceleration: tuple[str, ...] = (AUTO,), cache_dir: str | None = None) -> TrainedModel:
    """The model of a folder that training wrote, as it was when training ended.

    Args:
        acceleration: What makes its predictions faster, as `--acceleration` says it.
        cache_dir: Where a base that is an adapter is merged; a temporary folder if not given.

    Raises:
        ModelError: The folder is damaged, or the base is gone or not the one that was fine-tuned.
    """
    record = read_record(folder)
    check_model_folder(folder)
    if not record.base:
        return _load_baseline(folder, record)
    address = find_base(record, cache_dir)
    assert address is not None  # the record names one
    if address.sha256() != record.base_sha256:
        raise ModelError(
            f"{folder}: was fine-tuned from a base with SHA-256 {record.base_sha256[:12]}..., but {address.folder} holds "
            f"{address.sha256()[:12]}.... Put the old base back, or train again."
        )
    objective = objective_of(record)
    try:
        encoder = objective.encoder(address)
    except ConfigError as error:  # such as one of the user's own, whose file is not here
        raise ModelError(f"{folder}: {RECORD} names a head that is not here. {error}") from error
    context = StrategyContext(encoder, record.epochs, record.total_steps, record.dropout, peft_task=objective.peft_task)
    strategy = create_strategy(record.strategy, record.strategy_args)
    assert isinstance(strategy, Strategy)  # a baseline has no base
    built = build_model(address, strategy, context, objective, head_seed=0, adapter_seed=0)
    try:
        built.read_delta(folder)
    except Exception as error:  # safetensors raises an error of its own
        if is_exhausted(error):
            raise
        raise ModelError(f"{folder}: {DELTA} cannot be put on {record.base}: {error}") from error
    task = objective.task.settled(record.validation)
    tokenizer = load_tokenizer(address)
    reading = LongTextReading(record.long_texts, record.window_overlap)
    return FineTunedModel(built.model, tokenizer, objective, task, record.max_length, context.encoder, acceleration, reading)


def find_base(record: ModelRecord, cache_dir: str | None = None) -> ModelAddress | None:
    """The base that a record names; None of a model without one.

    Raises:
        ModelError: It is gone.
    """
    if not record.base:
        return None
    below = record.adapter_base
    return find_pretrained(record.base, record.base_revision, below, cache_dir, record.adapter_base_revision)


def _load_baseline(folder: Path, record: ModelRecord) -> BaselineModel:
    objective, strategy = objective_of(record), create_strategy(record.strategy, record.strategy_args)
    if not isinstance(strategy, Baseline):
        raise ModelError(f"{folder}: {RECORD} names no base, and {record.strategy} needs one.")
    model = BaselineModel(strategy, read_learned(folder), objective, objective.task.settled(record.validation))
    try:
        model.predict_and_count([("", "") if record.pairs else ""])
    except Exception as error:  # each strategy's predictor raises its own, of numbers and terms that are none of its own
        if is_exhausted(error):
            raise
        reason = shorten(f"{type(error).__name__}: {' '.join(str(error).split())}", 300)
        raise ModelError(f"{folder}: {DELTA} and {TERMS} do not fit {RECORD} ({reason}). Copy the folder again.") from error
    return model


def objective_of(record: ModelRecord) -> Objective:
    """What a saved model was trained for."""
    return create_objective(record.objective, record.problem, record.pooling, record.head, record.model_labels)


def load_foreign_model(
    address: ModelAddress,
    problem: Problem,
    max_length: int,
    model_labels: Sequence[str] = (),
    reading: LongTextReading = FROM_THE_BEGINNING,
) -> tuple[FineTunedModel, str]:
    """A classifier that was trained elsewhere, as `save_pretrained` wrote it, with outputs in the order of the data's classes.

    Args:
        model_labels: The classes in the order of its own outputs; matched by name if empty.
        reading: What it shall read of texts that are longer than `max_length`.

    Returns:
        The model, and what a user should know of its outputs and weights, as sentences; empty where there is nothing to say.

    Raises:
        ConfigError: `model_labels` names other classes, or outputs that are not there, or `reading` cannot be done.
        ModelError: It has no trained head, or other classes than the data, or the data has scores.
    """
    classes = problem.classes
    if not classes:
        raise ModelError(
            f"--model {address.name}: a model from elsewhere is tested on classes, for it does not say on which scale its "
            "scores are. Give a folder that train wrote, or data with classes."
        )
    report = check_weights(address)
    if report.outputs is None:
        untrained = sorted(name for name in report.lacking if address.encoder.locate(name).part in ("head", "pooler"))
        why = f"{', '.join(untrained)} would be random" if untrained else "its head is for another task"
        raise ModelError(
            f"--model {address.name}: holds no classifier for {len(classes)} classes ({why}). Give a model that was fine-tuned "
            "on these classes, or train one first."
        )
    outputs = find_outputs(address, report.outputs, classes, model_labels)
    if outputs.rows is None:
        own = read_class_names(address.config, report.outputs)
        knows = f"the classes {enumerate_some(own)}" if own else f"{report.outputs} classes without names"
        same = "the classes in the order of its outputs as --model-labels"
        raise ModelError(
            f"--model {address.name}: knows {knows}, but the data has {enumerate_some(classes)}. "
            + (f"Give {same}, where they mean the same." if len(classes) == report.outputs else "Give data with its classes.")
        )
    objective = create_objective("classification", problem, "mean", model_labels=model_labels)
    loaded = objective.load(address, dropout=0.0, seed=0, load_kwargs={})
    if untrained := sorted(loaded.newly_initialised):
        raise ModelError(
            f"--model {address.name}: {enumerate_some(untrained, 3)} would be random, for its weights lack it. Give all of the "
            "model that was fine-tuned."
        )
    tokenizer = load_tokenizer(address)
    longest = clamp_length(max_length, tokenizer, address.encoder.max_positions)
    reading.check(problem.pairs, tokenizer, longest)
    model = FineTunedModel(
        loaded.model,
        tokenizer,
        objective,
        objective.task,
        longest,
        address.encoder,
        reading=reading,
    )
    return model, " ".join(note for note in (report.note, outputs.note) if note)
