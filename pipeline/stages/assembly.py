"""A training put together from its inputs: token ids, the model, and the plan of fitting it.

With `inputs` this is all of the stages that decides what a training computes, so a change here makes trainings anew
(`TrainingInputs.code_version`), and one in how they are shown or recorded does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from pipeline.data.text_pairs import TextPairs
from pipeline.data.tokenization import TokenTable
from pipeline.modeling.addresses import PACKAGED
from pipeline.modeling.loading import load_tokenizer
from pipeline.stages.inputs import TrainingInputs
from pipeline.training.checkpoints import CheckpointFolder
from pipeline.training.model_folder import BuiltModel, ModelRecord, build_model
from pipeline.training.plan import FitPlan
from pipeline.training.precision import Precision
from pipeline.training.seeding import Seeds


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
        reading=inputs.objective.reading,
        pad_id=texts.tokenizer.pad_token_id,
        config=inputs.config,
        precision=precision,
        checkpoints=checkpoints,
        strategy=inputs.strategy,
        prefix_cache=inputs.prefix_cache(),
        base_identity=[inputs.base_sha256, inputs.strategy.load_kwargs(context), version("transformers")],
    )


def describe_model(inputs: TrainingInputs, texts: Texts, built: BuiltModel, validation: Mapping[str, float]) -> ModelRecord:
    """What a model folder says of where its model comes from; `validation` are metrics of the selected checkpoint."""
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
