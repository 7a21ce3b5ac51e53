"""A fine-tuned model on disk: the delta that training made, and how to find the base it belongs to.

`model.json` names strategy, arguments, classes and base; `delta.safetensors` holds every parameter that ever trained and
the whole head, also where part of it stayed as it was drawn. The base is not copied: it is found again by its address and
held against its SHA-256.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.data.batching import TokenExamples
from pipeline.data.tokenization import clamp_length, encode_texts
from pipeline.errors import ConfigError, ModelError, enumerate_some
from pipeline.evaluation.metrics import softmax
from pipeline.modeling.addresses import ModelAddress, find_model
from pipeline.modeling.encoder import FAMILY_HEAD
from pipeline.modeling.heads.registry import with_head
from pipeline.modeling.loading import load_classifier, load_tokenizer
from pipeline.strategies.base import Strategy, StrategyContext
from pipeline.strategies.freezing import ParameterPlan, plan_parameters
from pipeline.strategies.registry import create_strategy
from pipeline.training.checkpoints import load_trained_state, trained_state
from pipeline.training.inference import predict_logits

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

NAME = "fine_tuned"
_RECORD, _DELTA = "model.json", "delta.safetensors"
_FORMAT = 1


@dataclass(frozen=True)
class ModelRecord:
    """Content of `model.json`."""

    base: str
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


@dataclass(frozen=True)
class BuiltModel:
    """A base model with a strategy put into it."""

    model: nn.Module
    strategy: Strategy
    parameters: ParameterPlan
    address: ModelAddress
    context: StrategyContext


@dataclass(frozen=True)
class FineTunedModel:
    """A model with its tokenizer, ready to predict."""

    model: nn.Module
    tokenizer: Any
    classes: list[str]
    max_length: int

    def predict_texts(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Probability of every class; shape [texts, classes]."""
        import torch

        table = encode_texts(list(texts), self.tokenizer, self.max_length)
        examples = TokenExamples(table, self.tokenizer.pad_token_id)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return softmax(predict_logits(self.model.to(device), examples, device))


def build_model(
    address: ModelAddress,
    strategy: Strategy,
    context: StrategyContext,
    classes: Sequence[str],
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
    strategy.phases(context)  # a mistake is found before anything is loaded
    load_kwargs = strategy.load_kwargs(context)
    loaded = load_classifier(address, classes, context.dropout, head_seed, load_kwargs, context.encoder.head)
    context = replace(context, newly_initialised=loaded.newly_initialised)
    phases = strategy.phases(context)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(adapter_seed)
        model = strategy.adapt(loaded.model, context)
    parameters = plan_parameters(model, context.encoder, phases, loaded.newly_initialised)
    return BuiltModel(model, strategy, parameters, address, context)


def write_model_folder(folder: Path, built: BuiltModel, record: ModelRecord) -> None:
    """Write record and delta into `folder`."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file(trained_state(built.model, built.parameters), folder / _DELTA)
    (folder / _RECORD).write_text(json.dumps(asdict(record), indent=1, ensure_ascii=False), encoding="utf-8")


def is_model_folder(folder: Path) -> bool:
    """Whether training wrote this folder."""
    return (folder / _RECORD).is_file() and (folder / _DELTA).is_file()


def read_record(folder: Path) -> ModelRecord:
    """The record of a folder that training wrote.

    Raises:
        ModelError: It is missing or damaged.
    """
    try:
        content = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        if content["format"] != _FORMAT:
            raise ModelError(f"{folder}: written in format {content['format']}; this version reads {_FORMAT}.")
        return ModelRecord(**content)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{folder}: {_RECORD} is missing or damaged: {error}.") from error


def read_weights(folder: Path) -> dict[str, NDArray[Any]]:
    """Everything that training made of the model in a folder, by name; bf16 as float32.

    Raises:
        ModelError: The folder is damaged.
    """
    from safetensors.torch import load_file

    try:
        return {name: tensor.float().numpy() for name, tensor in load_file(folder / _DELTA).items()}
    except Exception as error:  # safetensors raises an error of its own
        raise ModelError(f"{folder}: {_DELTA} is missing or damaged: {error}") from error


def load_model_folder(folder: Path) -> FineTunedModel:
    """The fine-tuned model of a folder that training wrote, as it was when training ended.

    Raises:
        ModelError: The folder is damaged, or the base is gone or not the one that was fine-tuned.
    """
    from safetensors.torch import load_file

    record = read_record(folder)
    address = find_model(record.base, record.base_revision)
    if address.sha256() != record.base_sha256:
        raise ModelError(
            f"{folder}: was fine-tuned from a base with SHA-256 {record.base_sha256[:12]}..., but {address.folder} holds "
            f"{address.sha256()[:12]}.... Put the old base back, or train again."
        )
    try:
        encoder = with_head(address.encoder, record.head)
    except ConfigError as error:  # such as one of the user's own, whose file is not here
        raise ModelError(f"{folder}: {_RECORD} names a head that is not here. {error}") from error
    context = StrategyContext(encoder, record.epochs, record.total_steps, record.dropout)
    strategy = create_strategy(record.strategy, record.strategy_args)
    built = build_model(address, strategy, context, record.classes, head_seed=0, adapter_seed=0)
    try:
        load_trained_state(built.model, built.parameters, load_file(folder / _DELTA))
    except Exception as error:  # safetensors raises an error of its own
        raise ModelError(f"{folder}: {_DELTA} cannot be put on {record.base}: {error}") from error
    return FineTunedModel(built.model, load_tokenizer(address), record.classes, record.max_length)


def load_foreign_model(address: ModelAddress, classes: Sequence[str], max_length: int) -> FineTunedModel:
    """A classifier that was trained elsewhere, as `save_pretrained` wrote it.

    Raises:
        ModelError: It has no trained head, or other classes than the data.
    """
    loaded = load_classifier(address, classes, dropout=0.0, seed=0)
    untrained = [name for name in loaded.newly_initialised if address.encoder.place(name).part == "head"]
    if untrained:
        raise ModelError(
            f"--model {address.name}: holds no classifier for {len(classes)} classes ({', '.join(sorted(untrained))} would be "
            "random). Give a model that was fine-tuned on these classes, or train one first."
        )
    tokenizer = load_tokenizer(address)
    return FineTunedModel(
        loaded.model,
        tokenizer,
        _own_classes(address, classes),
        clamp_length(max_length, tokenizer, address.encoder.max_positions),
    )


def _own_classes(address: ModelAddress, classes: Sequence[str]) -> list[str]:
    """The model's classes in the order of its scores; those of the data where it has no names but `LABEL_0`."""
    named = address.config.get("id2label") or {}
    own = [str(named[index]) for index in sorted(named, key=int)]
    if not own or own == [f"LABEL_{index}" for index in range(len(own))]:
        return list(classes)
    by_lower = {name.lower(): name for name in classes}
    if sorted(by_lower) != sorted(name.lower() for name in own):
        raise ModelError(
            f"--model {address.name}: knows the classes {enumerate_some(own)}, but the data has {enumerate_some(classes)}. "
            "Rename the labels of one of them."
        )
    return [by_lower[name.lower()] for name in own]
