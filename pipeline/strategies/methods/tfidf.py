"""TF-IDF and logistic regression: what words and spelling tell by themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from pipeline.config.fields import Count, Rate, config_class
from pipeline.config.search_ranges import Choices, LogUniform, Range
from pipeline.errors import ConfigError, TrainingError
from pipeline.strategies.base import NEVER, LinearLayer
from pipeline.strategies.baseline import Baseline, Learned

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pipeline.strategies.baseline import Predictor, Targets, Weights

Length = Annotated[int, Field(ge=0, le=10)]

_MOST_ITERATIONS = 1_000
_FEWEST_CHARACTERS = 2
_WORD = r"(?u)\b\w+\b"  # words of one letter count, too: "I" and "a" are some


@config_class
class Tfidf(Baseline):
    """Classify n-grams of words and characters by logistic regression: a baseline without an encoder.

    TF-IDF with sublinear term frequency, a vector of length 1 from the words and one from the characters, and one linear layer
    on both (Zhang et al. 2015, arXiv:1509.01626, hold their networks against the same). N-grams of characters stay within
    words, so they see spelling and endings; text without spaces between words is read by them. Solved by scikit-learn with
    L-BFGS, of label sets each label by itself; where labels are scores, by ridge regression. Texts are read whole: nothing is
    cut at `--max-length`. Of a pair the texts are joined, so that it cannot compare them. Seeds are ignored.
    """

    C: Rate = 1.0
    """Inverse strength of the L2 penalty, as in scikit-learn, whose default it is; not chosen on any data."""
    word_ngrams: Length = 2
    """Words in the longest n-gram of words; 0 takes none of them."""
    char_ngrams: Length = 5
    """Characters in the longest n-gram of characters, the shortest of which have 2; 0 takes none of them."""
    min_texts: Count = 2
    """In how many training texts an n-gram must stand."""
    most_ngrams: Count = 100_000
    """N-grams of words, and as many of characters, are kept, the most frequent ones."""

    def search_space(self) -> Mapping[str, Range]:
        """The strength of the penalty, and which n-grams are taken."""
        return {
            "C": LogUniform(1e-1, 1e2),
            "word_ngrams": Choices((1, 2, 3)),
            "char_ngrams": Choices((0, 3, 4, 5) if self.word_ngrams else (3, 4, 5)),
        }

    def check_label_type(self, label_type: str) -> None:
        """Refuse n-grams of nothing, too."""
        if not self.word_ngrams and self.char_ngrams < _FEWEST_CHARACTERS:
            raise ConfigError(
                f"tfidf: word_ngrams=0 with char_ngrams={self.char_ngrams} leaves no n-grams. Give --strategy-args "
                f"word_ngrams=1 or more, or char_ngrams={_FEWEST_CHARACTERS} or more."
            )
        super().check_label_type(label_type)

    def learn(self, texts: Sequence[str], targets: Targets, classes: int, weights: Weights = None) -> Learned:
        """The n-grams, how rare each is, and the weights of the linear layer."""
        import numpy as np
        from scipy.sparse import hstack

        arrays: dict[str, NDArray[Any]] = {}
        terms: dict[str, Sequence[str]] = {}
        blocks = []
        for kind, vectorizer in self._vectorizers():
            try:
                blocks.append(vectorizer.fit_transform(texts))
            except ValueError:  # the texts have no n-grams of this kind, or none stands in enough of them
                continue
            terms[kind], arrays[f"{kind}.idf"] = vectorizer.get_feature_names_out().tolist(), vectorizer.idf_
        if not blocks:
            raise TrainingError(
                f"tfidf: no n-gram stands in min_texts={self.min_texts} of the {len(texts):,} training texts. Lower it "
                "(--strategy-args min_texts=1), or train on more examples."
            )
        features = hstack(blocks, format="csr")
        if targets.ndim == 2:
            layer = self._label(features, targets)
        else:
            layer = self._classify(features, targets, classes, weights) if classes else self._regress(features, targets)
        arrays |= {"weight": layer.weight.astype(np.float32), "bias": layer.bias.astype(np.float32)}
        return Learned(arrays, terms, _outputs(arrays, features))

    def _vectorizers(self, terms: Mapping[str, Sequence[str]] | None = None) -> Iterator[tuple[str, Any]]:
        """Name and vectorizer of each kind of n-grams: to be fitted, or for the n-grams that were found then."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        kinds: dict[str, dict[str, Any]] = {
            "words": {"analyzer": "word", "ngram_range": (1, self.word_ngrams), "token_pattern": _WORD},
            "characters": {"analyzer": "char_wb", "ngram_range": (_FEWEST_CHARACTERS, self.char_ngrams)},
        }
        for kind, options in kinds.items():
            shortest, longest = options["ngram_range"]
            if longest < shortest or (terms is not None and kind not in terms):
                continue
            chosen: dict[str, Any] = {"min_df": self.min_texts, "max_features": self.most_ngrams}
            if terms is not None:
                chosen = {"vocabulary": {term: column for column, term in enumerate(terms[kind])}}
            yield kind, TfidfVectorizer(sublinear_tf=True, **options, **chosen)

    def _classify(self, features: Any, targets: Targets, classes: int, weights: Weights) -> LinearLayer:
        import numpy as np
        from sklearn.linear_model import LogisticRegression

        if len(np.unique(targets)) < 2:
            raise TrainingError(
                "tfidf: all training examples are of one class, so nothing tells it from others. Train on more examples "
                "(--max-train-samples)."
            )
        fitted = LogisticRegression(C=self.C, max_iter=_MOST_ITERATIONS).fit(features, targets, weights)
        return LinearLayer.of_classifier(fitted, classes)

    def _label(self, features: Any, targets: Targets) -> LinearLayer:
        """One against rest: a label that all texts of train have, or none, has it whatever a text says."""
        import numpy as np
        from sklearn.linear_model import LogisticRegression

        shares = targets.mean(axis=0)
        weight, bias = np.zeros((len(shares), features.shape[1])), np.where(shares > 0, -NEVER, NEVER)
        iterations = 0
        for label in np.flatnonzero((shares > 0) & (shares < 1)).tolist():
            fitted = LogisticRegression(C=self.C, max_iter=_MOST_ITERATIONS).fit(features, targets[:, label])
            weight[label], bias[label] = fitted.coef_[0], fitted.intercept_[0]
            iterations += int(fitted.n_iter_.max())
        return LinearLayer(weight, bias, iterations)

    def _regress(self, features: Any, targets: Targets) -> LinearLayer:
        import numpy as np
        from sklearn.linear_model import Ridge

        fitted = Ridge(alpha=1 / self.C, solver="sparse_cg").fit(features, targets.astype(np.float64))
        return LinearLayer(fitted.coef_[None], np.array([fitted.intercept_]), 1)  # how many it took, this solver does not say

    def predictor(self, learned: Learned) -> Predictor:
        """The linear layer on the n-grams that were found in train."""
        from scipy.sparse import hstack

        vectorizers = dict(self._vectorizers(learned.terms))
        for kind, vectorizer in vectorizers.items():
            vectorizer.idf_ = learned.arrays[f"{kind}.idf"]

        def predict(texts: Sequence[str]) -> NDArray[np.float32]:
            features = hstack([vectorizer.transform(texts) for vectorizer in vectorizers.values()], format="csr")
            return _outputs(learned.arrays, features)

        return predict


def _outputs(arrays: Mapping[str, NDArray[Any]], features: Any) -> NDArray[np.float32]:
    """What the linear layer makes of the features, in the precision in which it is saved; shape [texts, outputs]."""
    import numpy as np

    weight, bias = (arrays[name].astype(np.float64) for name in ("weight", "bias"))
    outputs: NDArray[np.float32] = (features @ weight.T + bias).astype(np.float32)
    return outputs
