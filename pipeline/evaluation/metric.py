"""What a metric is, and which there are. Imports nothing of weight: the options of the command line are made of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

from pipeline.registry import METRICS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T")
LabelType = Literal["class", "multi", "score"]
"""As `--label-type` has it."""

LOSS = "loss"
"""What validation measures beside metrics; a checkpoint may be chosen by it. Each objective has its own."""
CHOSEN = "threshold_"
"""Begins the names of what a task chooses for each label beside its validation scores. It is kept with the model; no curve."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model says of examples, beside what is true."""

    gold: NDArray[Any]
    """Index of the true class, or the true score, shape [examples]; of label sets which are true, shape [examples, classes]."""
    predicted: NDArray[Any]
    """The same as it was predicted."""
    classes: int = 0
    """How many there are, those without any example included; 0 of scores."""
    probabilities: Callable[[], NDArray[np.floating[Any]]] | None = None
    """Called, the probability of every class; shape [examples, classes]. None where there are none."""
    _shared: dict[Callable[[Answers], Any], Any] = field(default_factory=dict)

    @property
    def label_type(self) -> LabelType:
        """What the labels are."""
        if self.gold.ndim == 2:
            return "multi"
        return "class" if self.classes else "score"

    def share(self, compute: Callable[[Answers], T]) -> T:
        """What several metrics need of these answers, computed once."""
        if compute not in self._shared:
            self._shared[compute] = compute(self)
        value: T = self._shared[compute]
        return value


@dataclass(frozen=True)
class Draws:
    """Probabilities of one model, and many draws of the same texts."""

    gold: NDArray[Any]
    """Index of the true class, shape [texts]; of label sets which are true, shape [texts, classes]."""
    probabilities: NDArray[Any]
    """Of every class; shape [texts, classes]."""
    weights: NDArray[Any]
    """How often each text is in each draw; shape [draws, texts]."""
    _shared: dict[Callable[[Draws], Any], Any] = field(default_factory=dict)

    def share(self, compute: Callable[[Draws], T]) -> T:
        """What several metrics need of these draws, computed once."""
        if compute not in self._shared:
            self._shared[compute] = compute(self)
        value: T = self._shared[compute]
        return value

    @classmethod
    def once(cls, answers: Answers) -> Draws:
        """The texts as they are."""
        import numpy as np

        assert answers.probabilities is not None
        return cls(answers.gold, answers.probabilities(), np.ones((1, len(answers.gold))))


@dataclass(frozen=True)
class Counts:
    """Answers counted by class, of many draws of the same texts and several models at once."""

    right: NDArray[Any]
    """Texts of a class that were predicted as it; shape [..., classes]."""
    predicted: NDArray[Any]
    """Texts that were predicted as a class; shape [..., classes]."""
    true: NDArray[Any]
    """Texts of a class; shape [..., classes]."""
    texts: int
    """How many texts a draw has."""
    exact: NDArray[Any] | None = None
    """Of label sets the texts of which every label is right; shape [...]."""

    @classmethod
    def once(cls, answers: Answers) -> Counts:
        """Of the texts as they are; shape [classes] each."""
        import numpy as np

        gold, predicted = answers.gold, answers.predicted
        counted = [np.bincount(of, minlength=answers.classes) for of in (gold[gold == predicted], predicted, gold)]
        right, said, true = (counts.astype(np.float64) for counts in counted)
        return cls(right, said, true, len(gold))


@dataclass(frozen=True)
class Metric:
    """A score of predictions: all that tables, pictures, statistics, options and messages know of it."""

    name: str
    """As it stands on runs behind `val/` and `test/`, in tables as columns, and for `--metric-for-best-model`."""
    label: str
    """For people: the heading of its column, and in progress lines."""
    of: LabelType
    """What labels it is of."""
    compute: Callable[[Answers], float] | None = None
    """Its value. Not needed with `of_texts`, `from_draws` or `from_counts`, which give it for the texts as they are."""
    title: str = ""
    """In pictures, where there is room; the label if not given."""
    short: str = ""
    """Where there is little room, as in `transfer F1`, and in small letters a picture's file name; the label if not given."""
    greater_is_better: bool = True
    lowest: float = 0.0
    """The least that it can be; an interval ends there."""
    highest: float = 1.0
    form: str = "{:.4f}"
    """How a value is written in tables and lines."""
    hub_name: str = ""
    """What the Hugging Face hub calls it in model cards; the name if not given."""
    from_counts: Callable[[Counts], NDArray[Any]] | None = None
    """The same from counts, for every draw and model at once; shape [...]. With this form, or one of the next two, come
    intervals and differences of pairs."""
    of_texts: Callable[[Answers], NDArray[Any]] | None = None
    """What it is for each text, where it is the mean of that; shape [texts]."""
    from_draws: Callable[[Draws], NDArray[Any]] | None = None
    """The same from probabilities, for every draw of one model; shape [draws]. Where neither suffices: it takes long."""
    uses_probabilities: bool = False
    """Whether it is left out where there are none: of cosines, and of very many classes."""
    ranks: bool = False
    """Whether rows are ranked by it, and tested for differences, unless `--ranking-metric` is given; one of each label type."""
    selects: bool = False
    """Whether checkpoints are chosen by it unless `--metric-for-best-model` is given; one of each label type."""
    is_for_rare_classes: bool = False
    """Whether terminal and Markdown show it only where a row does something about rare classes; files always hold it."""
    is_prominent: bool = False
    """Whether it is shown in progress lines, in `overview.png`, and beside the transfer to other data."""

    def __post_init__(self) -> None:
        """Fill in names that were not given.

        Raises:
            TypeError: It ranks rows and cannot; a mistake of whoever wrote it.
        """
        if self.ranks and self.of != "score" and not self.from_counts:
            raise TypeError(f"Metric {self.name}: rows are tested for differences, so ranks needs from_counts.")
        object.__setattr__(self, "title", self.title or self.label)
        object.__setattr__(self, "short", self.short or self.label)

    @property
    def span(self) -> float:
        """The largest difference that there can be."""
        return self.highest - self.lowest

    @property
    def has_points(self) -> bool:
        """Whether differences are said in points, which are hundredths; not where there is no highest value."""
        return math.isfinite(self.span)

    @property
    def superlative(self) -> str:
        """What the best value is."""
        return "highest" if self.greater_is_better else "lowest"

    @property
    def directed_title(self) -> str:
        """The title, with the direction where a reader would expect the other."""
        return self.title if self.greater_is_better else f"{self.title}, lower is better"

    def goodness(self, value: float) -> float:
        """The value, turned where the lower one is the better: the greater goodness is always the better."""
        return value if self.greater_is_better else -value

    def of_answers(self, answers: Answers) -> float:
        """Its value."""
        if self.of_texts:
            return float(self.of_texts(answers).mean())
        if self.from_draws:
            return float(self.from_draws(answers.share(Draws.once))[0])
        if self.compute:
            return float(self.compute(answers))
        return float(self.of_counts(answers.share(Counts.once)))

    def of_counts(self, counts: Counts) -> NDArray[Any]:
        """Its value for every draw and model; for those that are declared by counts."""
        assert self.from_counts is not None
        return self.from_counts(counts)


@cache
def list_metrics(of: LabelType | None = None) -> tuple[Metric, ...]:
    """Those of a label type, or one of every name: of classes first, in the order of their files' names and as declared there.

    Raises:
        TypeError: Two of a label type have one name, or not just one ranks or selects; a mistake of whoever wrote them.
    """
    if of is None:
        by_name: dict[str, Metric] = {}
        for label_type in get_args(LabelType):
            for metric in list_metrics(label_type):
                by_name.setdefault(metric.name, metric)
        return tuple(by_name.values())
    metrics = tuple(metric for metric in METRICS.instances(Metric) if metric.of == of)
    names = [metric.name for metric in metrics]
    if twice := {name for name in names if names.count(name) > 1 or name == LOSS}:
        raise TypeError(f"There is more than one metric of the name {', '.join(sorted(twice))}.")
    return metrics


@cache
def _only(role: str, of: LabelType) -> Metric:
    metrics = [metric for metric in list_metrics(of) if getattr(metric, role)]
    if len(metrics) != 1:
        raise TypeError(f"Of metrics of {of} labels just one must have {role}=True, not {[metric.name for metric in metrics]}.")
    return metrics[0]


def ranking(of: LabelType) -> Metric:
    """The one by which rows are ranked unless told otherwise."""
    return _only("ranks", of)


def selecting(of: LabelType) -> Metric:
    """The one by which checkpoints are chosen unless told otherwise."""
    return _only("selects", of)


def resampled(of: LabelType) -> tuple[Metric, ...]:
    """Those that have intervals and differences of pairs, some only where there are probabilities."""
    return tuple(metric for metric in list_metrics(of) if metric.from_counts or metric.of_texts or metric.from_draws)


def ranking_choices() -> tuple[str, ...]:
    """What `--ranking-metric` takes; of one label type `list_ranking` has them."""
    return tuple(metric.name for metric in list_metrics() if metric in list_ranking(metric.of))


def list_ranking(of: LabelType) -> tuple[Metric, ...]:
    """Those by which rows can be ranked: what has intervals; of scores, whose rows are not tested, any."""
    return list_metrics(of) if of == "score" else resampled(of)


def selection_choices() -> tuple[str, ...]:
    """What `--metric-for-best-model` takes."""
    return (*(metric.name for metric in list_metrics()), LOSS)


def lower_is_better(name: str) -> bool:
    """Whether the lowest value of a metric, or the loss, is the best; a name from another version is taken to rise."""
    return name == LOSS or any(metric.name == name and not metric.greater_is_better for metric in list_metrics())


def without_choices(scores: Mapping[str, float]) -> dict[str, float]:
    """Validation scores as they are reported, without what a task chose for each label."""
    return {name: value for name, value in scores.items() if not name.startswith(CHOSEN)}


def measure(answers: Answers) -> dict[str, float]:
    """Name -> value of every metric that can be computed of the answers."""
    return {
        metric.name: metric.of_answers(answers)
        for metric in list_metrics(answers.label_type)
        if answers.probabilities is not None or not metric.uses_probabilities
    }
