"""SetFit: contrastive pairs from few labels, then a linear head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pipeline.config.fields import Count, Rate, config_class
from pipeline.config.search_ranges import LogUniform, Range
from pipeline.errors import ConfigError, TrainingError
from pipeline.strategies.base import LinearLayer, Pairs, Strategy, StrategyContext
from pipeline.strategies.freezing import Phase, everything

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MOST_ITERATIONS = 10_000


@config_class
class Setfit(Strategy):
    """Train the encoder on pairs of training texts by cosine similarity, then fit the classifier: for few labels.

    Tunstall et al. 2022, arXiv:2209.11055. Texts of one class make pairs that shall become alike (1), texts of two classes
    pairs that shall not (0); the squared distance of their cosine similarity to that is the loss, so the loss by step is of
    another kind than other strategies'. Before each evaluation scikit-learn fits a logistic regression on the vectors of the
    training texts, which is the classifier's linear layer. An epoch is one pass over the pairs, and a batch holds so many
    pairs, of two texts each.

    Where neither a recipe's entry nor the command line gives them, options are the package's (setfit 1.2.0): --learning-rate
    2e-5, --batch-size 16, --epochs 1, and --head mean, which pools as the sentence encoders do that it is meant for.
    """

    options: ClassVar[Mapping[str, Any]] = {"head": "mean", "learning_rate": 2e-5, "batch_size": 16, "epochs": 1}

    max_pairs: Count = 2048
    """At most so many pairs an epoch, half of them of each kind: 512 texts of two classes have 131,328 pairs."""
    sampling: Literal["oversampling", "undersampling", "unique"] = "oversampling"
    """Where one kind has fewer pairs than the other: repeat them, leave out of the others, or take each pair once."""
    num_iterations: Count | None = None
    """Instead of that, so many pairs of each kind for every text, as in the paper (20); max_pairs bounds them, too."""
    C: Rate = 1.0
    """Inverse strength of the classifier's L2 penalty, as in scikit-learn, whose default it is; not chosen on any data."""

    def search_space(self, context: StrategyContext) -> Mapping[str, Range]:
        """Rates around the package's."""
        return {"learning_rate": LogUniform(5e-6, 2e-4)}

    def phases(self, context: StrategyContext) -> Sequence[Phase]:
        """Everything, all the time: the encoder by steps, the classifier by a solver."""
        encoder = context.encoder
        if not encoder.linear_head:
            raise ConfigError(
                f"setfit cannot work on {encoder.model_type} with --head {encoder.head}: that head has more layers than the "
                "linear one, which is all that is solved for. Add --head mean."
            )
        return [Phase.training(everything)]

    def pairs(self, labels: NDArray[np.int64], seed: int) -> Pairs:
        """Pairs of both kinds, a text with itself among the first kind, as the package draws them.

        With fewer pairs than there are, each is drawn at most once before any is repeated.
        """
        import numpy as np

        order = np.argsort(labels, kind="stable")
        places = np.arange(len(labels))
        ends = np.searchsorted(labels[order], labels[order], side="right")
        if ends[:1].tolist() == [len(labels)]:
            raise TrainingError(
                "setfit: all training examples are of one class, so there is no pair that differs. "
                "Train on more examples (--max-train-samples)."
            )
        generator = np.random.default_rng(seed)
        most = max(self.max_pairs // 2, 1)
        alike = _draw_partners(places, ends, most, generator)
        different = _draw_partners(ends, np.full_like(ends, len(labels)), most, generator)
        counts = self._counts(len(alike), len(different), len(labels))
        rows = [np.resize(pairs, (min(count, most), 2)) for pairs, count in zip((alike, different), counts, strict=True)]
        targets = np.repeat(np.array([1, 0], np.float32), [len(pairs) for pairs in rows])
        return Pairs(order[np.concatenate(rows)], targets)

    def _counts(self, alike: int, different: int, texts: int) -> tuple[int, int]:
        """How many pairs of each kind, given how many there are."""
        if self.num_iterations:
            return (self.num_iterations * texts,) * 2
        if self.sampling == "unique":
            return alike, different
        return ((max if self.sampling == "oversampling" else min)(alike, different),) * 2

    def solve(
        self, features: NDArray[np.float32], labels: NDArray[np.int64], classes: int, weights: NDArray[np.float32] | None = None
    ) -> LinearLayer:
        """Logistic regression on the texts' vectors, scaled so that they are 1 long on average.

        The package hands them over as the encoder makes them, which is 1 long by most sentence encoders; a penalty means the
        same only at the same length.
        """
        import numpy as np
        from sklearn.linear_model import LogisticRegression

        scale = float(np.linalg.norm(features, axis=1).mean()) or 1.0
        fitted = LogisticRegression(C=self.C, max_iter=_MOST_ITERATIONS).fit(
            features.astype(np.float64) / scale, labels, weights
        )
        layer = LinearLayer.of_classifier(fitted, classes)
        return LinearLayer(layer.weight / scale, layer.bias, layer.iterations)


def _draw_partners(
    starts: NDArray[np.int64], stops: NDArray[np.int64], most: int, generator: np.random.Generator
) -> NDArray[np.int64]:
    """At most so many of the pairs (i, j) with j from `starts[i]` up to but not `stops[i]`, none twice; shape [pairs, 2].

    They are counted and not listed: of 10,000 texts there are 50 million.
    """
    import numpy as np

    bounds = np.cumsum(stops - starts)
    count = int(bounds[-1])
    ranks = generator.choice(count, min(count, most), replace=False)
    first = np.searchsorted(bounds, ranks, side="right")
    return np.stack([first, stops[first] - (bounds[first] - ranks)], axis=1)
