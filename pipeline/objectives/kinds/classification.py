"""Classification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pipeline.data.columns import Input, Problem
from pipeline.data.tokenization import TokenTable, encode_texts, tokenize
from pipeline.evaluation.multi_label import MultiLabelTask
from pipeline.evaluation.task import ClassificationTask, RegressionTask, Task
from pipeline.modeling.encoder import FAMILY_HEAD, EncoderSpec
from pipeline.modeling.head import with_head
from pipeline.modeling.loading import LoadedModel, WeightsReport, find_outputs, load_classifier
from pipeline.modeling.model_sources import ModelAddress
from pipeline.objectives.base import Objective, Tokenization

if TYPE_CHECKING:
    import pandas as pd


def _task_of(problem: Problem) -> Task:
    if problem.score_range:
        return RegressionTask(*problem.score_range)
    return MultiLabelTask(problem.classes) if problem.multi else ClassificationTask(problem.classes)


@dataclass(frozen=True)
class Classification(Objective):
    """One input and a head on it; of a pair both texts in that input, so that it is a cross-encoder.

    Where labels are scores, the head has one output; where a text has any number of labels, one for each.
    """

    takes_heads: ClassVar[bool] = True

    @classmethod
    def of(cls, problem: Problem, pooling: str, head: str) -> Self:
        """Of any problem."""
        return cls(problem, _task_of(problem), pooling, head)

    @property
    def trains_heads_together(self) -> bool:
        """Of classes and of label sets."""
        return isinstance(self.task, (ClassificationTask, MultiLabelTask))

    def encoder(self, address: ModelAddress) -> EncoderSpec:
        """With the head."""
        return with_head(address.encoder, self.head)

    def load(self, address: ModelAddress, dropout: float, seed: int, load_kwargs: Mapping[str, Any]) -> LoadedModel:
        """The model with a classifier, as transformers has it, or with another head."""
        labels = self.model_labels
        return load_classifier(address, self.problem.classes, dropout, seed, load_kwargs, self.head, model_labels=labels)

    def describe_outputs(self, address: ModelAddress, report: WeightsReport) -> str:
        """Of the family's own head alone: another one is always new."""
        if self.head != FAMILY_HEAD:
            return ""
        return find_outputs(address, report.outputs, self.problem.classes, self.model_labels).note

    def tokenize(
        self, table: pd.DataFrame, how: Tokenization, address: ModelAddress, content_sha256: str, cache_dir: str
    ) -> TokenTable:
        """Each example as one row; of a pair the longer text is cut first."""
        tokens = tokenize(
            table,
            how.tokenizer,
            address.tokenizer_sha256(),
            how.max_length,
            content_sha256,
            cache_dir,
            address.encoder.tells_segments,
            how.reading,
        )
        return replace(tokens, labels=self.task.targets(tokens.labels))

    def encode(self, inputs: Sequence[Input], how: Tokenization, encoder: EncoderSpec) -> TokenTable:
        """Each example as one row."""
        return encode_texts(inputs, how.tokenizer, how.max_length, encoder.tells_segments, how.reading)
