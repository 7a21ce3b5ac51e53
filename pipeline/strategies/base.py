"""What a fine-tuning strategy is, and what it is told."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pipeline.code_version import how_to_install
from pipeline.config import TrainConfig
from pipeline.config.fields import as_dict, build, config_class, describe_fields
from pipeline.config.search_ranges import LogUniform, Range
from pipeline.errors import ConfigError, PluginError
from pipeline.modeling.encoder import EncoderSpec
from pipeline.registry import STRATEGIES
from pipeline.strategies.freezing import Phase

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import nn


@dataclass(frozen=True)
class StrategyContext:
    """What a strategy may depend on beside its own arguments."""

    encoder: EncoderSpec
    """With the head that was chosen."""
    epochs: int
    total_steps: int
    dropout: float
    newly_initialised: frozenset[str] = frozenset()
    """Names of the parameters that the checkpoint lacks; empty as long as its weights were not looked at."""
    peft_task: str = "SEQ_CLS"
    """What peft calls a model of this kind: with a classifier, or FEATURE_EXTRACTION without one of the family's own."""


NEVER = -20.0
"""Logit of a class without a training example: far below those of the others."""


@dataclass(frozen=True)
class LinearLayer:
    """Weights of a linear layer."""

    weight: NDArray[np.float64]
    """Shape [outputs, inputs]."""
    bias: NDArray[np.float64]
    """Shape [outputs]."""
    iterations: int
    """Passes over the examples that finding them took."""

    @classmethod
    def of_classifier(cls, fitted: Any, classes: int) -> LinearLayer:
        """What scikit-learn's fitted `LogisticRegression` says, with an output for each of `classes`.

        Of two classes it gives one output, the difference between their logits; a class without an example has none.
        """
        import numpy as np

        weight, bias, present = fitted.coef_, fitted.intercept_, fitted.classes_
        if len(present) == 2:
            weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
        layer = cls(np.zeros((classes, weight.shape[1])), np.full(classes, NEVER), int(fitted.n_iter_.max()))
        layer.weight[present], layer.bias[present] = weight, bias
        return layer


@dataclass(frozen=True)
class Pairs:
    """Pairs of training examples, and how alike those of each shall become."""

    rows: NDArray[np.int64]
    """Indices of both examples; shape [pairs, 2]."""
    targets: NDArray[np.float32]
    """Cosine similarity to train for; shape [pairs]."""

    def __len__(self) -> int:
        return len(self.targets)


class AnyStrategy:
    """One way of training: what strategies that train an encoder (`Strategy`) and those that train none (`Baseline`) share.

    Subclasses are `config_class` dataclasses; their fields are their hyperparameters. A strategy lives in a module in
    `pipeline/strategies/methods`, and the module's name is the strategy's name; of several in one module each is called as its
    class. None of the hooks may import torch at module level, so that `--help` stays quick.
    """

    options: ClassVar[Mapping[str, Any]] = {}
    """Options of training that it wants otherwise than all others; what is typed, or stands in a recipe's entry, beats them."""

    @property
    def name(self) -> str:
        """The strategy's name: that of its module, or of its class where the module holds several."""
        return STRATEGIES.name_of(type(self), AnyStrategy)

    @classmethod
    def summary(cls) -> str:
        """The first line of the class's docstring."""
        return (inspect.getdoc(cls) or "").partition("\n")[0]

    @property
    def packages(self) -> tuple[str, ...]:
        """Packages that the strategy needs and that are not installed with this project."""
        return ()

    def check_packages(self) -> None:
        """Called before anything is loaded.

        Raises:
            ConfigError: A package that the strategy needs is missing.
        """
        missing = [name for name in self.packages if importlib.util.find_spec(name) is None]
        if missing:
            raise ConfigError(
                f"{self.name} needs the package {' and '.join(missing)}. Run {how_to_install(*missing)}, or choose another "
                "strategy."
            )

    @property
    def is_solved(self) -> bool:
        """Whether training is one step of a solver, so that neither seeds nor the optimizer's options have a say."""
        raise NotImplementedError

    @property
    def is_tunable(self) -> bool:
        """Whether there is anything that a search could change."""
        return True


class Strategy(AnyStrategy):
    """One way of fine-tuning an encoder. Only `phases` must be written."""

    @property
    def positions(self) -> int:
        """How many of the encoder's positions the strategy takes; texts are cut to what is left."""
        return 0

    @property
    def computes_layers_once(self) -> str:
        """Why the backward pass cannot compute layers anew (`--gradient-checkpointing`); empty where it can."""
        return ""

    def phases(self, context: StrategyContext) -> Sequence[Phase]:
        """From which epoch which parameters train, at which factor of the learning rate.

        Called before any weight is loaded, too: this is where arguments are checked against the encoder.

        Raises:
            ConfigError: An argument does not fit the encoder.
        """
        raise NotImplementedError

    def checked_phases(self, context: StrategyContext) -> Sequence[Phase]:
        """What `phases` says, unless the encoder's family declares that the strategy cannot work on it.

        Raises:
            ConfigError: It cannot, or an argument does not fit the encoder.
        """
        encoder = context.encoder
        if reason := encoder.family.refused.get(self.name):
            raise ConfigError(f"{self.name} cannot work on {encoder.model_type}: {reason}. Choose another strategy.")
        return self.phases(context)

    def search_space(self, context: StrategyContext) -> Mapping[str, Range]:
        """What a search changes for this strategy: learning rates that suit it, and its arguments where they matter.

        Epochs and batch size are not among them by default: they are part of what a trial costs.
        """
        return {"learning_rate": LogUniform(1e-5, 1e-3)}

    def adapt(self, model: nn.Module, context: StrategyContext) -> nn.Module:
        """The model with whatever the strategy puts into it; by default as it is.

        New weights are drawn from torch's global generator, which the caller has seeded.
        """
        return model

    def sizes(self, context: StrategyContext) -> Sequence[int]:
        """What `sized` takes, in the order of how many parameters train then; none where no argument sets that."""
        return ()

    def sized(self, size: int) -> dict[str, Any]:
        """The arguments that set how many parameters train, with values for one of the `sizes`."""
        raise NotImplementedError

    def begin(self, model: nn.Module, batches: Callable[[], Iterable[Mapping[str, torch.Tensor]]]) -> None:
        """Give what `adapt` has put in the values that come from the base's weights or from texts; by default none do.

        Called once a training, before its first step; a saved model is given `kept` instead. Draws are from torch's global
        generator, which the caller has seeded.

        Args:
            batches: Makes batches of some training texts, as keyword arguments of the model.
        """

    def kept(self, model: nn.Module) -> Mapping[str, torch.Tensor]:
        """What `begin` made beside the parameters that train, by name: it is saved with these."""
        return {}

    def keep(self, model: nn.Module, kept: Mapping[str, torch.Tensor]) -> None:
        """Put what `kept` returned into a model that `adapt` has made.

        Raises:
            ValueError: It is of another model or strategy.
        """
        if kept:
            raise ValueError(f"These are weights of another model or strategy; they hold {min(kept)}.")

    @property
    def adapts(self) -> bool:
        """Whether the model gets parameters beside its own."""
        return type(self).adapt is not Strategy.adapt

    def load_kwargs(self, context: StrategyContext) -> dict[str, Any]:
        """Further arguments to `from_pretrained` for the base model, such as a quantisation config."""
        return {}

    @property
    def solves_head(self) -> bool:
        """Whether `solve` finds the classifier, instead of gradient steps."""
        return type(self).solve is not Strategy.solve

    @property
    def contrasts(self) -> bool:
        """Whether steps train on `pairs`; the classifier is then solved for before each evaluation."""
        return type(self).pairs is not Strategy.pairs

    @property
    def is_solved(self) -> bool:
        """Whether `solve` is all of training, so that neither seeds nor the optimizer's options have a say."""
        return self.solves_head and not self.contrasts

    def pairs(self, labels: NDArray[np.int64], seed: int) -> Pairs:
        """The pairs of training examples of an epoch, on which steps train in place of the classifier's loss.

        What enters the classifier's linear layer is trained by cosine similarity; such a strategy must `solve`, too.

        Args:
            labels: Index of the class; shape [examples].

        Raises:
            TrainingError: The examples make none.
        """
        raise NotImplementedError

    def solve(
        self, features: NDArray[np.float32], labels: NDArray[np.int64], classes: int, weights: NDArray[np.float32] | None = None
    ) -> LinearLayer:
        """The classifier's linear layer from what frozen parts make of the texts, in place of gradient steps.

        Only for strategies that train a head of one linear layer (`EncoderSpec.linear_head`), nothing else by its loss.

        Args:
            features: What enters that layer; shape [examples, width].
            labels: Index of the class; shape [examples].
            weights: How much each example counts, 1 on average; all the same if not given. Shape [examples].

        Raises:
            TrainingError: The examples do not determine it.
        """
        raise NotImplementedError

    def penalty(self, model: nn.Module) -> torch.Tensor | None:
        """What the method adds to the loss of every batch, a function of the weights alone; None if nothing."""
        return None

    def after_step(self, model: nn.Module, step: int) -> None:
        """Called after every optimizer step, counted from 1, while its gradients are still there.

        For methods that change rank on the way, or what else they do depends on the gradients.
        """

    def state(self, model: nn.Module) -> dict[str, Any]:
        """What `after_step` has gathered beside the weights: tensors and plain values, which checkpoints keep."""
        return {}

    def restore(self, model: nn.Module, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned, so that a resumed training goes on as if uninterrupted."""


def list_strategies() -> list[str]:
    """Names of all strategies, sorted."""
    return STRATEGIES.names()


def list_encoder_strategies() -> list[str]:
    """Names of those that train an encoder, sorted."""
    return [name for name in list_strategies() if issubclass(strategy_class(name), Strategy)]


def strategy_class(name: str) -> type[AnyStrategy]:
    """The strategy's class.

    Raises:
        ConfigError: There is no strategy of that name.
        PluginError: The module defines no strategy, or an argument has the name of an option; a mistake of
            whoever wrote it.
    """
    STRATEGIES.check(name)
    cls = STRATEGIES.only_class(name, AnyStrategy)
    if "__pydantic_fields__" not in vars(cls):
        raise PluginError(
            f"{cls.__module__}: write @{config_class.__name__} above class {cls.__name__}, so that its arguments are read."
        )
    shadowed = set(describe_fields(cls)) & set(describe_fields(TrainConfig))
    if shadowed:
        raise PluginError(f"{cls.__module__}: {', '.join(sorted(shadowed))} shadows an option. Rename the field.")
    return cls


def strategy_options(name: str) -> Mapping[str, Any]:
    """Options of training that the strategy of that name wants otherwise than all others; none of one that there is not."""
    return strategy_class(name).options if name in list_strategies() else {}


def create_strategy(name: str, arguments: Mapping[str, Any]) -> AnyStrategy:
    """The strategy of that name with its arguments typed and checked.

    Raises:
        ConfigError: Unknown strategy or argument, or a value that does not fit; all mistakes together.
    """
    return build(strategy_class(name), arguments, label=lambda key: f"{name}: {key}", kind=f"argument of strategy {name!r}:")


def strategy_arguments(strategy: AnyStrategy) -> dict[str, Any]:
    """Every argument of a strategy with its value, ready for JSON; `create_strategy` takes it back."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in as_dict(strategy).items()}
