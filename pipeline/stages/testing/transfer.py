"""Transfer scores: a model on a second data set that it was not trained on, reported beside its own test scores."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.config import SplitConfig, TransferConfig
from pipeline.config.stage import flag
from pipeline.data.columns import LABEL, Problem
from pipeline.data.prepared import PreparedData
from pipeline.data.splits import choose_sample
from pipeline.errors import ConfigError, DataError, shorten
from pipeline.evaluation.metric import list_metrics, ranking
from pipeline.evaluation.metrics.macro import RECALL
from pipeline.evaluation.statistics.chance import SWAPPED, is_far_below_chance
from pipeline.evaluation.task import ClassificationTask
from pipeline.evaluation.testing.scoring import score_transfer
from pipeline.stages.progress import count_classes, say, say_scores
from pipeline.stages.testing.other_data import Naming, OtherData, count_repeated, read_other
from pipeline.tracking.runs import Run, RunLogger
from pipeline.tracking.tags import Tag
from pipeline.training.inference import TrainedModel

_OF_FIRST = re.compile(r"(?<![\w-])--(dataset|text-column|label-column|labels)(?![\w-])")
_OF_FIRST_ALONE = re.compile(
    r"(?<![\w-])--(label-type|encoding|delimiter|no-header|sheet|annotators|dataset-config-name)(?![\w-])"
)


@dataclass(frozen=True)
class TransferData:
    """A second data set, test-only."""

    asked: TransferConfig
    """As it was typed."""
    rows: OtherData
    classes: tuple[str, ...]
    """Of the first data set."""

    def measured_by(self, code: str) -> dict[str, str]:
        """The tags of a run that holds a result on these data: measured again, it is the same where they are equal.

        Args:
            code: Version of the code that measures.
        """
        return {**_tags(self.asked, code), Tag.TRANSFER_FINGERPRINT: self.rows.fingerprint(self.classes)}


def refuse_idle_transfer(asked: TransferConfig) -> None:
    """Refuse options of a second data set where there is none.

    Raises:
        ConfigError: They would say nothing.
    """
    idle = [flag(name) for name in asked.explicit if name.startswith("transfer_") and name != "transfer_dataset"]
    if idle and asked.transfer_dataset is None:
        raise ConfigError(f"{', '.join(idle)}: of which second data set? Give --transfer-dataset, or leave it out.")


def check_transfer(dataset: str, problem: Problem) -> None:
    """Hold that there is something that a second data set can be asked.

    Args:
        problem: Of the first data set.

    Raises:
        ConfigError: It is not classes of single texts.
    """
    if problem.pairs or problem.label_type != "class":
        raise ConfigError(
            f"--transfer-dataset {dataset}: a second data set is scored for classes of single texts, but the first one has "
            f"{problem.describe()}. Leave it out."
        )


def is_transferred(trained: Run, asked: TransferConfig, classes: Sequence[str], split_seed: int, code: str) -> bool:
    """Whether a run holds a result on the second data set as it is now, read in the same way, measured with the same code.

    Raises:
        DataError: The data cannot be read any more.
    """
    tags, headline = _tags(asked, code), f"transfer/{ranking('class').name}"
    if headline not in trained.metrics or any(trained.tags.get(name) != value for name, value in tags.items()):
        return False
    current = find_transfer(asked, classes, split_seed).measured_by(code)
    return trained.tags.get(Tag.TRANSFER_FINGERPRINT) == current[Tag.TRANSFER_FINGERPRINT]


def _tags(asked: TransferConfig, code: str) -> dict[str, str]:
    return {
        Tag.TRANSFER_DATASET: asked.transfer_dataset or "",
        Tag.TRANSFER_LABELS: json.dumps(list(asked.transfer_labels)),
        Tag.TRANSFER_TEXT_COLUMN: asked.transfer_text_column or "",
        Tag.TRANSFER_LABEL_COLUMN: asked.transfer_label_column or "",
        Tag.TRANSFER_CODE_VERSION: code,
    }


def find_transfer(asked: TransferConfig, classes: Sequence[str], split_seed: int) -> TransferData:
    """Read the second data set: all rows, or the test part where it comes in parts.

    Args:
        classes: Those of the first data set.
        split_seed: Of a validation part that has to be cut from train so that the other serves as test.

    Raises:
        DataError: It cannot be read, or has other classes.
    """
    dataset = asked.transfer_dataset or ""
    options = SplitConfig(
        cache_dir=asked.cache_dir,
        split_seed=split_seed,
        text_column=asked.transfer_text_column,
        label_column=asked.transfer_label_column,
    )
    naming = Naming(tuple(classes), asked.transfer_labels)
    try:
        rows = read_other(dataset, options, None, Problem(tuple(classes)), naming)
    except DataError as error:
        raise DataError(*(_name_second(message, dataset) for message in error.messages)) from error
    return TransferData(asked, rows, tuple(classes))


def _name_second(message: str, dataset: str) -> str:
    """What is wrong with data, said of the second data set and its options: those of the first would mend nothing."""
    named = _OF_FIRST.sub(r"--transfer-\1", message)
    if _OF_FIRST_ALONE.search(named):
        named += (
            " (Those are options of the first data set alone: save the second as one UTF-8 table of texts and classes, with a "
            "header.)"
        )
    return named if "--transfer-dataset" in named else f"--transfer-dataset {shorten(dataset)}: {named}"


def log_transfer(
    model: TrainedModel,
    data: TransferData,
    home: PreparedData,
    limit: int | None,
    logger: RunLogger,
    tags: Mapping[str, str],
) -> None:
    """Score the model on the second data set; scores, predictions and what overlaps the model's training texts go to the run.

    Args:
        home: What the model was trained on, or tested on before.
        limit: At most so many texts, the same for every model.
        tags: What `data.measured_by` says; on the run when all else is.
    """
    logger.set_tags({Tag.TRANSFER_CODE_VERSION: ""})  # until all is written, what the run holds is of two measurements
    table, classes = data.rows.table, list(data.classes)
    table = table.iloc[choose_sample(len(table), limit, 0)].reset_index(drop=True)
    gold = table[LABEL].to_numpy()
    assert isinstance(model.task, ClassificationTask)  # check_transfer takes single texts with classes
    decide = model.task.decide_in_order(classes)
    report = score_transfer(model.predict_texts, model.classes, table, classes, decide)
    scores = report.metrics
    repeated = count_repeated(table, home)
    for file, text in report.tables.items():
        logger.log_text(text, f"transfer_{file}")
    logger.log_metrics(
        {
            **{f"transfer/{name}": value for name, value in scores.items()},
            "transfer/examples": len(gold),
            "transfer/rows": len(data.rows.table),
            "transfer/overlap_train_exact": 100 * repeated / max(1, len(gold)),
        }
    )
    logger.set_tags(tags)
    prominent = [metric for metric in list_metrics("class") if metric.is_prominent]
    if is_far_below_chance(scores[RECALL.name], count_classes(gold, data.classes)):
        say(f"Transfer to {data.asked.transfer_dataset}: the scores are {SWAPPED}. --transfer-labels says which is which.")
    say(
        f"Transfer to {data.rows.describe(len(gold))}: {say_scores(scores, prominent)}; "
        f"{repeated:,} of them stand in the train part of the first data set"
    )
    for line in data.rows.describe_absent(table, classes):
        say(line)
