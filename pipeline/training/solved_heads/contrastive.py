"""Steps on pairs of training texts by cosine similarity, and the classifier that is solved for in between (SetFit).

Tunstall et al. 2022, arXiv:2209.11055; the loss is that of sentence-transformers' `CosineSimilarityLoss`.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pipeline.config import FitConfig
from pipeline.data.batching import TokenExamples
from pipeline.data.pair_tokenization import TextPairs
from pipeline.data.tokenization import TokenTable
from pipeline.errors import ConfigError
from pipeline.strategies.base import Pairs, Strategy
from pipeline.training.plan import FitPlan
from pipeline.training.seeding import Seeds, derive
from pipeline.training.solved_heads.closed_form import head_layer, solve_head, without_layer

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn


def check_contrast(config: FitConfig, strategy: Strategy) -> None:
    """Refuse what a strategy that makes pairs cannot work with: inputs that are pairs already, and several processes.

    Each process would wait for gradients of a classifier that has none.

    Raises:
        ConfigError: It was asked for.
    """
    if strategy.contrasts and config.objective == "bi_encoder":
        raise ConfigError(
            f"--strategy {strategy.name}: makes pairs of single texts, and --objective bi_encoder reads pairs. Choose another "
            "strategy, or --objective classification, which reads both texts as one input."
        )
    if strategy.contrasts and config.num_processes > 1:
        raise ConfigError(
            f"--num-processes {config.num_processes}: --strategy {strategy.name} trains in one process. "
            "Leave --num-processes out."
        )


def draw_pairs(strategy: Strategy, labels: NDArray[Any], config: FitConfig) -> Pairs:
    """The pairs that a strategy makes of training examples: a function of labels and seed alone, so a run can resume.

    Args:
        labels: Index of the class; shape [examples].

    Raises:
        TrainingError: The examples make none.
    """
    return strategy.pairs(labels, derive(Seeds.of(config).order, "pairs"))


def count_pairs(strategy: Strategy, labels: NDArray[Any], config: FitConfig, passes: float) -> int:
    """How many pairs an epoch has: as many as there were of so many times the examples, with the same shares of the classes.

    So with `--hold steps` few texts train for as many steps as many, also where the number of pairs is bounded.

    Args:
        labels: Index of the class; shape [examples].
        passes: Over the examples in an epoch, of other strategies.

    Raises:
        TrainingError: The examples make none.
    """
    import numpy as np

    return len(draw_pairs(strategy, np.resize(labels, round(passes * len(labels))), config))


def pair_up(plan: FitPlan) -> FitPlan:
    """The plan as it is, or of a strategy that trains on pairs with those as what is trained on."""
    if not plan.strategy.contrasts:
        return plan
    texts = plan.train
    assert isinstance(texts, TokenTable)
    pairs = draw_pairs(plan.strategy, texts.piece_labels, plan.config)
    pieces = replace(texts, labels=texts.piece_labels, text_index=None, losses=None)
    passes = max(len(texts), plan.config.epoch_size or 0) / len(texts)
    return replace(
        plan,
        train=TextPairs(pieces.subset(pairs.rows.ravel()), pairs.targets),
        labelled=texts,
        pairs_per_epoch=count_pairs(plan.strategy, texts.piece_labels, plan.config, passes),
    )


def trained_outputs(plan: FitPlan) -> contextlib.AbstractContextManager[None]:
    """Within the block the plan's model puts out what steps train: of pairs what enters its classifier's linear layer."""
    if plan.labelled is None:
        return contextlib.nullcontext()
    return without_layer(plan.model, head_layer(plan.strategy, plan.parameters))


def fit_classifier(plan: FitPlan, model: nn.Module, device: Any, max_tokens: int | None = None) -> None:
    """Solve for the classifier on the training texts' vectors as they are now; nothing to do where steps train it.

    Args:
        max_tokens: At most so many in a batch of texts.
    """
    if plan.labelled is not None:
        loss = replace(plan, train=plan.labelled, labelled=None).build_loss()
        texts = TokenExamples(plan.labelled, plan.pad_id)
        solve_head(plan.strategy, model, plan.parameters, texts, loss, device, max_tokens)
