"""Options of how models are tested: on which second data set, and how long answers are timed."""

from __future__ import annotations

from typing import Annotated

from pipeline.config.fields import Names, NonNegative, Operational, config_class
from pipeline.config.stage import Data, Files, StageConfig


@config_class
class TransferConfig(StageConfig):
    """Which second data set models are tested on, too."""

    transfer_dataset: Annotated[str | None, Data(21)] = None
    """A second data set, test-only: every model is scored on all its rows, too, or on its test part if it comes in parts."""
    transfer_labels: Annotated[Names, Data(22)] = ()
    """Classes of --transfer-dataset in the order of the first data set's, where their names differ."""
    transfer_text_column: Annotated[str | None, Data(23)] = None
    """Column of --transfer-dataset that holds the text; found by its usual names if not given."""
    transfer_label_column: Annotated[str | None, Data(24)] = None
    """Column of --transfer-dataset that holds the class; found by its usual names if not given."""


@config_class
class MeasuringConfig(TransferConfig):
    """How a model is tested beside its scores."""

    latency_seconds: Annotated[NonNegative, Operational(), Files(4)] = 2.0
    """About how long answers to single texts are timed, and as long again batches; then the same of adapters merged into the
    model. 0: what answering costs is not measured."""
