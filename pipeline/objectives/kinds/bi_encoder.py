"""Sentence pairs by a bi-encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pipeline.data.columns import Input, Problem
from pipeline.data.pair_tokenization import TextPairs, encode_apart, tokenize_apart
from pipeline.errors import ConfigError
from pipeline.evaluation.task import ClassificationTask, RegressionTask, Task, ThresholdTask
from pipeline.modeling.encoder import EncoderSpec, ParameterLocation
from pipeline.modeling.loading import LoadedModel, load_classifier
from pipeline.modeling.model_sources import ModelAddress
from pipeline.objectives.base import Objective, Tokenization
from pipeline.strategies.base import Strategy
from pipeline.strategies.freezing import Phase

if TYPE_CHECKING:
    import pandas as pd

_NEW = ParameterLocation("adapter", "added")
"""Stands for whatever a strategy puts into a model."""


@dataclass(frozen=True)
class BiEncoder(Objective):
    """Both texts of a pair by one encoder, pooled (Sentence-BERT: Reimers and Gurevych 2019, arXiv:1908.10084).

    Scores, and two classes as 0 and 1, are trained as cosine similarity; more classes by a classifier of u, v and |u - v|.
    """

    peft_task: ClassVar[str] = "FEATURE_EXTRACTION"
    takes_pooling: ClassVar[bool] = True

    @classmethod
    def of(cls, problem: Problem, pooling: str, head: str) -> Self:
        """Of pairs of texts.

        Raises:
            ConfigError: An example is a single text, or has any number of labels.
        """
        if problem.multi:
            raise ConfigError(
                "--objective bi_encoder: compares two texts, and --label-type multi gives each example any number of labels. "
                "Choose --objective classification, which reads both texts as one input."
            )
        if not problem.pairs:
            raise ConfigError(
                "--objective bi_encoder: compares two texts. Name the column of the second with --text-pair-column."
            )
        return cls(problem, _reading(problem), pooling, head)

    @property
    def _classes(self) -> int:
        """Of the classifier; 0 where there is none."""
        return len(self.problem.classes) if isinstance(self.task, ClassificationTask) else 0

    def encoder(self, address: ModelAddress) -> EncoderSpec:
        """Pooling reads every token, or the first one."""
        return replace(address.encoder, reads_first_token=self.pooling == "cls", classifies_tokens=False)

    def load(self, address: ModelAddress, dropout: float, seed: int, load_kwargs: Mapping[str, Any]) -> LoadedModel:
        """The encoder without its pooler, taken out of the model with a classifier, whose head is thrown away."""
        import torch

        from pipeline.modeling.bi_encoder import BiEncoderModel

        loaded = load_classifier(address, (), dropout, seed, load_kwargs)
        base = loaded.model.base_model
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = BiEncoderModel(base, loaded.model.base_model_prefix, self.pooling, self._classes)
        own = {name for name, _ in model.named_parameters()}
        return LoadedModel(model, (loaded.newly_initialised & own) | {name for name in own if name.startswith("classifier.")})

    def check(self, address: ModelAddress, strategy: Strategy, phases: Sequence[Phase]) -> None:
        """Without a classifier there is no head: some strategies train nothing else."""
        model = self.load(address, 0.0, 0, {"device_map": "meta"}).model
        encoder = self.encoder(address)
        locations = [_NEW, *(encoder.locate(name) for name, _ in model.named_parameters())]
        for phase in phases:
            if not any(phase.lr_multiplier(location) > 0 for location in locations):
                since = f" from epoch {phase.start_epoch + 1} on" if len(phases) > 1 else ""
                raise ConfigError(
                    f"--strategy {strategy.name}: trains the head alone{since}, and --objective bi_encoder has none where it "
                    "compares by cosine similarity. Choose another strategy, or --objective classification."
                )
        super().check(address, strategy, phases)

    def tokenize(
        self, table: pd.DataFrame, how: Tokenization, address: ModelAddress, content_sha256: str, cache_dir: str
    ) -> TextPairs:
        """The texts of each pair as two rows."""
        key = address.tokenizer_sha256()
        pairs = tokenize_apart(table, how.tokenizer, key, how.max_length, content_sha256, cache_dir)
        return replace(pairs, labels=self.task.targets(pairs.labels))

    def encode(self, inputs: Sequence[Input], how: Tokenization, encoder: EncoderSpec) -> TextPairs:
        """The texts of each pair as two rows."""
        return encode_apart(inputs, how.tokenizer, how.max_length)


def _reading(problem: Problem) -> Task:
    if problem.score_range:
        return RegressionTask(*problem.score_range)
    return ThresholdTask(problem.classes) if len(problem.classes) == 2 else ClassificationTask(problem.classes)
