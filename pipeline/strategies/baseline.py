"""What a baseline is: a strategy that trains no encoder, and stands in the table to be beaten."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from pipeline.config.search_ranges import Range
from pipeline.errors import ConfigError
from pipeline.strategies.base import AnyStrategy, strategy_class

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Targets = NDArray[np.int64] | NDArray[np.float32]
    Weights = NDArray[np.float32] | None
    Predictor = Callable[[Sequence[str]], NDArray[np.float32]]


@dataclass(frozen=True)
class Learned:
    """All that a baseline has learned; a saved model holds it as it stands here, so that it predicts the same."""

    arrays: Mapping[str, NDArray[Any]]
    """Name -> numbers."""
    terms: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Name -> pieces of text, in the order in which the arrays count them."""
    fitted: NDArray[np.float32] | None = None
    """What `predictor` puts out for the training texts, where `learn` has come by it; not saved."""


class Baseline(AnyStrategy):
    """A strategy that learns from texts as they are, without an encoder: no GPU, no seeds, one step.

    `learn` and `predictor` must be written. Texts are whole, and of a pair both are in one, joined by a space.
    """

    reads_texts: ClassVar[bool] = True
    """Whether what it predicts depends on the text; if not, nobody asks whether it has learned."""
    learns: ClassVar[tuple[str, ...]] = ("class", "multi", "score")
    """The types of labels that it can predict, as `--label-type` names them."""

    @property
    def is_solved(self) -> bool:
        """There are no steps of an optimizer."""
        return True

    @property
    def is_tunable(self) -> bool:
        """Whether it has a search space."""
        return bool(self.search_space())

    def search_space(self) -> Mapping[str, Range]:
        """Which of its arguments a search changes, and over which values; none by default."""
        return {}

    def learn(self, texts: Sequence[str], targets: Targets, classes: int, weights: Weights = None) -> Learned:
        """What the training examples come to.

        Args:
            targets: Indices of classes, or scores on a scale where train goes from 0 to 1, shape [texts]; of label sets 0 or 1
                for each label, shape [texts, classes].
            classes: How many there are; 0 where labels are scores.
            weights: How much each text counts, shape [texts]; all as much if not given.

        Raises:
            TrainingError: Nothing can be learned from the examples.
        """
        raise NotImplementedError

    def predictor(self, learned: Learned) -> Predictor:
        """What predicts with what was learned.

        It puts out logits with shape [texts, classes], of label sets one a label, or scores with shape [texts, 1]; no text
        depends on another.
        """
        raise NotImplementedError

    def check_label_type(self, label_type: str) -> None:
        """Refuse labels that it cannot predict.

        Raises:
            ConfigError: They are of another type.
        """
        if label_type not in self.learns:
            raise ConfigError(
                f"--strategy {self.name}: does not predict what --label-type {label_type} asks for; it predicts "
                f"{' and '.join(self.learns)}. Choose another strategy."
            )


def is_baseline(name: str) -> bool:
    """Whether the strategy of that name trains no encoder; one that is not here counts as one that does."""
    return _baseline_class(name) is not None


def reads_texts(name: str) -> bool:
    """Whether what the strategy of that name predicts depends on the text."""
    baseline = _baseline_class(name)
    return baseline is None or baseline.reads_texts


@cache
def _baseline_class(name: str) -> type[Baseline] | None:
    try:
        cls = strategy_class(name)
    except ConfigError:  # `auto`, of another version of the project, or a plug-in that is gone
        return None
    return cls if issubclass(cls, Baseline) else None
