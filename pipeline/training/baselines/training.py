"""Train a baseline: find its data, let it learn from train, score it on validation."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pipeline import config as configs
from pipeline.code_version import code_version
from pipeline.config.identity import encoder_options, identify, without_encoder
from pipeline.config.stage import flag
from pipeline.csv_text import write_rows
from pipeline.data.columns import LABEL, PAIR, TEXT
from pipeline.data.prepared import prepare
from pipeline.data.splits import SplitName
from pipeline.errors import ConfigError
from pipeline.evaluation.metric import LOSS
from pipeline.modeling.encoder import FAMILY_HEAD
from pipeline.objectives.base import create_objective
from pipeline.objectives.class_weights import check_weights, weigh_examples
from pipeline.registry import STRATEGIES
from pipeline.strategies.baseline import Baseline, Learned, is_baseline
from pipeline.training.baselines.inputs import ConfigT, TrainingInputs
from pipeline.training.baselines.model import BaselineModel, join_texts
from pipeline.training.meters import Stopwatch
from pipeline.training.plan import Callback, FitResult, Progress, note_evaluation, report
from pipeline.training.precision import Precision
from pipeline.training.saved_model import ModelRecord

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LIBRARIES = ("scikit-learn", "scipy", "numpy")
_OBJECTIVE, _POOLING = "classification", "mean"
"""Whose task outputs are read by, also beside encoders of another objective; nothing is pooled."""


@dataclass(frozen=True, kw_only=True)
class BaselineInputs(TrainingInputs):
    """Data and strategy of a training without an encoder."""

    strategy: Baseline

    @property
    def code_version(self) -> str:
        """Equal where the code that decides what this training computes is the same."""
        return code_version((STRATEGIES.module_name(self.config.strategy),), (*_LIBRARIES, *self.strategy.packages))

    @property
    def total_steps(self) -> int:
        """Learning is one."""
        return 1

    def settle(self, config: ConfigT) -> ConfigT:
        """Without what no encoder reads."""
        return without_encoder(config)

    def describe(self, precision: Precision) -> str:
        """The data set: nothing else decides."""
        return f"{self.config.dataset} without an encoder (seed {self.config.seed})"

    def options(self, config: configs.TrainConfig) -> dict[str, Any]:
        """Those of data and seeds."""
        unread = encoder_options(type(config))
        return {name: value for name, value in identify(config).items() if name not in unread}

    def computation(self, precision: Precision) -> dict[str, str]:
        """None: it is scikit-learn's."""
        return {}

    def work(self, precision: Precision) -> dict[str, str]:
        """The data set."""
        return {"dataset": self.config.dataset}

    def read(self, split: SplitName) -> Examples:
        """The split's used rows."""
        table = self.prepared.read(split).iloc[self.sample(split)]
        columns = [table[name].tolist() for name in (TEXT, PAIR) if name in table]
        inputs = columns[0] if len(columns) == 1 else [join_texts(pair) for pair in zip(*columns, strict=True)]
        return Examples(inputs, self.objective.task.targets(table[LABEL].to_numpy()))


@dataclass(frozen=True)
class Examples:
    """Texts, both of a pair as one, with what is to be predicted."""

    texts: Sequence[str]
    labels: NDArray[np.int64] | NDArray[np.float32]
    """As the task's `targets` has them."""

    def __len__(self) -> int:
        return len(self.texts)


def find_baseline_inputs(config: configs.TrainConfig, strategy: Baseline) -> BaselineInputs:
    """Find the data, preparing what is not prepared yet.

    Raises:
        InputError: The data cannot be used, or the metric is not measured of them.
    """
    prepared, _ = prepare(config.dataset, config)
    objective = create_objective(_OBJECTIVE, prepared.manifest.problem, _POOLING)
    objective.check_metric(config.metric_for_best_model)
    objective = replace(objective, task=objective.task.deciding_by(config.decision_threshold))
    check_weights(config.class_weights, prepared.manifest.problem)
    return BaselineInputs(config=without_encoder(config), strategy=strategy, prepared=prepared, objective=objective)


def refuse_idle_encoder_options(config: configs.StageConfig, strategies: Collection[str]) -> None:
    """Refuse options of an encoder that were typed where none is trained.

    Raises:
        ConfigError: They would say nothing.
    """
    idle = [flag(name) for name in config.explicit if name in encoder_options(type(config))]
    if idle and strategies and all(map(is_baseline, strategies)):
        names = sorted(set(strategies))
        train = "train" if len(names) > 1 else "trains"
        raise ConfigError(
            f"{', '.join(idle)}: --strategy {' and '.join(names)} {train} no encoder, so nothing would read that. Leave it "
            "out, or choose a strategy that trains one."
        )


@dataclass(frozen=True)
class TrainedBaseline:
    """What a training came to, and the model that it made."""

    model: BaselineModel
    result: FitResult


def train_baseline(inputs: BaselineInputs, train: Examples, validation: Examples, callback: Callback) -> TrainedBaseline:
    """Learn from train in one step, and score what was learned on validation.

    Raises:
        TrainingError: Nothing can be learned from the examples.
    """
    objective, progress, watch = inputs.objective, Progress(), Stopwatch()
    classes = objective.problem.classes
    with watch.running():
        weights = weigh_examples(inputs.config.class_weights, classes, train.labels)
        learned = inputs.strategy.learn(train.texts, train.labels, len(classes), weights)
    model = BaselineModel(inputs.strategy, learned, objective, objective.task)
    progress.step, progress.train_seconds, progress.examples = 1, watch.seconds, len(train)
    fitted = model.predict(train.texts) if learned.fitted is None else learned.fitted
    progress.loss_sum = objective.task.score(train.labels, fitted)[LOSS]
    callback.on_step(1, 1)
    report(progress, callback, {"train/loss": progress.loss_sum})
    note_evaluation(inputs.config, progress, callback, objective.task.score(validation.labels, model.predict(validation.texts)))
    return TrainedBaseline(model, progress.result(total_steps=1))


def learned_table(learned: Learned) -> str:
    """CSV with a row per array of what was learned, as `parameter_table` has it of an encoder's parameters."""
    rows = [(name, "x".join(map(str, array.shape)), array.size, True) for name, array in sorted(learned.arrays.items())]
    return write_rows(["name", "shape", "size", "trains"], rows)


def describe_baseline(inputs: BaselineInputs, trained: TrainedBaseline) -> ModelRecord:
    """What a saved baseline says of itself: there is no base, and nothing is cut."""
    config, problem = inputs.config, inputs.prepared.manifest.problem
    return ModelRecord(
        base="",
        base_revision=None,
        base_sha256="",
        strategy=config.strategy,
        strategy_args=config.strategy_args,
        classes=list(problem.classes),
        max_length=0,
        text_column=config.text_column,
        dropout=0.0,
        epochs=1,
        total_steps=1,
        head=FAMILY_HEAD,
        objective=inputs.objective.name,
        pooling=inputs.objective.pooling,
        score_range=list(problem.score_range) if problem.score_range else None,
        pairs=problem.pairs,
        multi=problem.multi,
        validation=dict(trained.result.best),
    )
