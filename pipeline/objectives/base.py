"""What an objective is."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pipeline.data.columns import Input, Problem
from pipeline.data.long_texts import FROM_THE_BEGINNING, LongTextReading
from pipeline.errors import ConfigError
from pipeline.evaluation.metric import LOSS
from pipeline.evaluation.task import ClassificationTask, Task
from pipeline.modeling.encoder import FAMILY_HEAD, EncoderSpec
from pipeline.modeling.loading import LoadedModel, WeightsReport
from pipeline.modeling.model_sources import ModelAddress
from pipeline.registry import OBJECTIVES
from pipeline.strategies.base import Strategy
from pipeline.strategies.freezing import Phase

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.data.pair_tokenization import TextPairs
    from pipeline.data.tokenization import TokenTable


@dataclass(frozen=True)
class Tokenization:
    """How texts become token ids."""

    tokenizer: Any
    """A Hugging Face tokenizer."""
    max_length: int
    """Longest input in tokens."""
    reading: LongTextReading = FROM_THE_BEGINNING
    """What is read of longer single texts."""


@dataclass(frozen=True)
class Objective:
    """One way of training an encoder for a problem. What trains of it is the strategy's.

    An objective lives in a module of its own in `pipeline/objectives/kinds`, and the module's name is the objective's name.
    """

    problem: Problem
    task: Task
    pooling: str
    head: str
    """Name of the head; the family's own where heads are not taken."""
    model_labels: tuple[str, ...] = ()
    """The classes in the order of the outputs of the checkpoint's own classifier; matched by name if empty."""

    peft_task: ClassVar[str] = "SEQ_CLS"
    """What peft calls a model of this kind."""
    takes_heads: ClassVar[bool] = False
    """Whether `--head` says what stands on the encoder."""
    takes_pooling: ClassVar[bool] = False
    """Whether `--pooling` says how token states become one vector."""

    @classmethod
    def of(cls, problem: Problem, pooling: str, head: str) -> Self:
        """The objective for a problem.

        Raises:
            ConfigError: It cannot be trained for.
        """
        raise NotImplementedError

    @property
    def name(self) -> str:
        """The objective's name: that of its module."""
        return type(self).__module__.rpartition(".")[2]

    def encoder(self, address: ModelAddress) -> EncoderSpec:
        """The encoder's description, with what the objective reads of it."""
        return address.encoder

    def load(self, address: ModelAddress, dropout: float, seed: int, load_kwargs: Mapping[str, Any]) -> LoadedModel:
        """The model before a strategy is put into it; whatever the checkpoint lacks is drawn from `seed`.

        It takes what `tokenize` makes as batches, and answers with `logits`.

        Raises:
            ModelError: It cannot be loaded.
        """
        raise NotImplementedError

    def describe_outputs(self, address: ModelAddress, report: WeightsReport) -> str:
        """What a user should know of the outputs of the checkpoint's own classifier; empty where it is not used.

        Raises:
            ConfigError: It has no outputs that `model_labels` could name.
        """
        return ""

    @property
    def trains_heads_together(self) -> bool:
        """Whether a search may train the heads of several points at once, by the loss of a classifier on single inputs."""
        return False

    def check(self, address: ModelAddress, strategy: Strategy, phases: Sequence[Phase]) -> None:
        """Called before a run is made, where the strategy is known to fit the encoder.

        Raises:
            ConfigError: The strategy has nothing to train here, or solves for what is not asked.
        """
        if strategy.solves_head and not isinstance(self.task, ClassificationTask):
            if self.problem.multi:
                raise ConfigError(
                    f"--strategy {strategy.name}: solves for a classifier that finds one class a text, and --label-type multi "
                    "gives a text any number of labels. Choose another strategy, such as head_only."
                )
            raise ConfigError(
                f"--strategy {strategy.name}: solves for a classifier with an output per class, and --objective {self.name} "
                f"has one output for {self.problem.describe()}. Choose another strategy."
            )

    def check_metric(self, metric: str) -> None:
        """Refuse a metric for the best model that validation does not measure.

        Raises:
            ConfigError: It is not measured.
        """
        known = (*self.task.metrics, LOSS)
        if metric not in known:
            raise ConfigError(
                f"--metric-for-best-model {metric}: is not measured of {self.problem.describe()}. Choose {', '.join(known)}."
            )

    def tokenize(
        self, table: pd.DataFrame, how: Tokenization, address: ModelAddress, content_sha256: str, cache_dir: str
    ) -> TokenTable | TextPairs:
        """A split as token ids, from the cache where they are there, with its labels as `task.targets` has them."""
        raise NotImplementedError

    def encode(self, inputs: Sequence[Input], how: Tokenization, encoder: EncoderSpec) -> TokenTable | TextPairs:
        """Token ids of inputs without labels, not cached."""
        raise NotImplementedError


def list_objectives() -> list[str]:
    """Names of all objectives, sorted."""
    return OBJECTIVES.names()


def check_objective(name: str, head: str = FAMILY_HEAD) -> None:
    """Refuse a name that is no objective's, and a head where the objective brings its own.

    Raises:
        ConfigError: There is no objective of that name, or it takes no head of another name.
    """
    _objective_class(name, head)


def takes_pooling(name: str) -> bool:
    """Whether `--pooling` means something to the objective; an unknown one, of another version, takes none."""
    return name in list_objectives() and _objective_class(name, FAMILY_HEAD).takes_pooling


def refuse_idle_pooling(explicit: Collection[str], names: Collection[str]) -> None:
    """Refuse a `--pooling` that was typed where no objective takes it.

    Args:
        explicit: Names of the options that were typed.
        names: The objectives that will be trained for.

    Raises:
        ConfigError: It would say nothing.
    """
    if "pooling" in explicit and not any(map(takes_pooling, names)):
        raise ConfigError(
            f"--pooling: --objective {', '.join(sorted(set(names)))} makes no vector of each text. Leave --pooling out, or "
            "choose --objective bi_encoder; what a classifier reads of a text is its --head."
        )


def refuse_idle_model_labels(explicit: Collection[str], trained: Collection[tuple[str, str]]) -> None:
    """Refuse `--model-labels` that were typed where every classifier is a new one.

    Args:
        explicit: Names of the options that were typed.
        trained: Objective and head of each training.

    Raises:
        ConfigError: They would say nothing.
    """
    if "model_labels" in explicit and not any(
        head == FAMILY_HEAD and name in list_objectives() and _objective_class(name, head).takes_heads for name, head in trained
    ):
        raise ConfigError(
            "--model-labels: says what the outputs of the model's own classifier stand for, and a new one is trained instead. "
            f"Leave it out, or choose --objective classification with --head {FAMILY_HEAD}."
        )


def create_objective(
    name: str, problem: Problem, pooling: str, head: str = FAMILY_HEAD, model_labels: Sequence[str] = ()
) -> Objective:
    """The objective of that name for a problem.

    Args:
        model_labels: The classes in the order of the outputs of the checkpoint's own classifier; matched by name if empty.

    Raises:
        ConfigError: There is no objective of that name, or it cannot be trained for the problem or with the head.
        TypeError: The module does not define exactly one objective; a mistake of whoever wrote it.
    """
    return replace(_objective_class(name, head).of(problem, pooling, head), model_labels=tuple(model_labels))


def _objective_class(name: str, head: str) -> type[Objective]:
    OBJECTIVES.check(name, "--objective")
    cls = OBJECTIVES.only_class(name, Objective)
    if head != FAMILY_HEAD and not cls.takes_heads:
        raise ConfigError(
            f"--head {head}: --objective {name} puts no head of that kind on the encoder. Leave --head out, or choose "
            "--objective classification."
        )
    return cls
