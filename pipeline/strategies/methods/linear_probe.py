"""Logistic regression on frozen features: a control."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pipeline.config.fields import Rate, config_class
from pipeline.config.search_ranges import LogUniform, Range
from pipeline.errors import ConfigError, TrainingError
from pipeline.strategies.base import LinearLayer, Strategy, StrategyContext
from pipeline.strategies.freezing import Phase, head

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


_MOST_ITERATIONS = 10_000


@config_class
class LinearProbe(Strategy):
    """Fit the classifier by logistic regression on frozen features: a control, another solver of what `head_only` trains.

    Alain and Bengio 2017, arXiv:1610.01644. Solved by scikit-learn with L-BFGS, on features standardised to mean 0 and
    deviation 1 over the training examples. Learning rate, epochs, batch size, weight decay, dropout and seeds are ignored.
    The features are the input of the classifier's linear layer, so that layer must be all of the head that is not
    pretrained.
    """

    C: Rate = 1.0
    """Inverse strength of the L2 penalty, as in scikit-learn, whose default it is; not chosen on any data."""

    def search_space(self, context: StrategyContext) -> Mapping[str, Range]:
        """The strength of the penalty: there is no rate."""
        return {"C": LogUniform(1e-3, 1e2)}

    def phases(self, context: StrategyContext) -> Sequence[Phase]:
        """The head, all the time."""
        encoder = context.encoder
        if not encoder.linear_head:
            raise ConfigError(
                f"linear_probe cannot work on {encoder.model_type} with --head {encoder.head}: that head has more layers "
                "than the linear one, which a probe would not train. Add --head mean."
            )
        lacking = sorted(name for name in context.newly_initialised if encoder.locate(name).part == "pooler")
        if lacking:
            raise ConfigError(
                f"linear_probe cannot work on {encoder.name} with --head {encoder.head}: the checkpoint lacks {lacking[0]}, "
                "which would be drawn at random and not trained. Add --head mean."
            )
        return [Phase.training(head)]

    def solve(
        self, features: NDArray[np.float32], labels: NDArray[np.int64], classes: int, weights: NDArray[np.float32] | None = None
    ) -> LinearLayer:
        """The fitted weights, with the scaling of the features put into them."""
        import numpy as np
        from sklearn.linear_model import LogisticRegression
        from sklearn.preprocessing import StandardScaler

        if len(np.unique(labels)) < 2:
            raise TrainingError(
                "linear_probe: all training examples are of one class, so nothing tells it from others. "
                "Train on more examples (--max-train-samples)."
            )
        scaler = StandardScaler()
        scaled = scaler.fit_transform(features.astype(np.float64))
        fitted = LogisticRegression(C=self.C, max_iter=_MOST_ITERATIONS).fit(scaled, labels, weights)
        layer = LinearLayer.of_classifier(fitted, classes)
        weight = layer.weight / scaler.scale_
        return LinearLayer(weight, layer.bias - weight @ scaler.mean_, layer.iterations)
