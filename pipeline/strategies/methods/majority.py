"""The most frequent class, or each label as often as it occurs: the least that any model must beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.config.fields import config_class
from pipeline.strategies.base import NEVER
from pipeline.strategies.baseline import Baseline, Learned

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pipeline.strategies.baseline import Predictor, Targets, Weights


@config_class
class Majority(Baseline):
    """Answer the most frequent class of train whatever the text: a baseline that reads nothing.

    Its probabilities are the shares of the classes, or of each label, in train, whatever `--class-weights` says. Of classes
    that are equally frequent it answers the first. Where labels are scores it answers their mean. So are models of text held
    against chance (Gururangan et al. 2018, arXiv:1803.02324). There is nothing to tune: a search passes it over.
    """

    reads_texts = False

    def learn(self, texts: Sequence[str], targets: Targets, classes: int, weights: Weights = None) -> Learned:
        """The logarithm of each class's share, of each label's odds, or the mean of the scores."""
        import numpy as np

        if not classes:
            return Learned({"outputs": np.array([targets.mean(dtype=np.float64)], np.float32)})
        if targets.ndim == 2:
            shares = targets.mean(axis=0, dtype=np.float64)
            with np.errstate(divide="ignore"):
                odds = np.log(shares) - np.log1p(-shares)
            return Learned({"outputs": odds.clip(NEVER, -NEVER).astype(np.float32)})
        counts = np.bincount(targets.astype(np.int64), minlength=classes)
        logits = np.full(classes, NEVER, np.float32)
        logits[counts > 0] = np.log(counts[counts > 0] / len(targets))
        return Learned({"outputs": logits})

    def predictor(self, learned: Learned) -> Predictor:
        """The same for every text."""
        import numpy as np

        def predict(texts: Sequence[str]) -> NDArray[np.float32]:
            return np.tile(learned.arrays["outputs"], (len(texts), 1))

        return predict
