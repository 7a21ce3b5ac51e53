"""The stage `export`: write a trained model as a folder that other libraries load, and hold it against the original."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import config as configs
from pipeline.comparison.predictions import read_record as read_json
from pipeline.comparison.statistics import intervals_of
from pipeline.config.identity import identify
from pipeline.data.columns import Input
from pipeline.errors import ConfigError, ModelError, PipelineError
from pipeline.hashing import CHECKSUMS, digest, hash_file
from pipeline.hub import check_push, parse_dataset_address, push_folder
from pipeline.modeling.foreign_folders import DELTA, LABELS
from pipeline.modeling.merged_adapters import find_pretrained
from pipeline.stages.exporting.card import Tested, describe_reading, write_card
from pipeline.stages.exporting.format import Exportable, Format, check_place, find_format, list_written, quietly
from pipeline.stages.exporting.output_folder import check_output, writing_output
from pipeline.stages.processes.workers import hold_lock
from pipeline.stages.progress import say
from pipeline.stages.run_record import open_trained, origin_tags
from pipeline.tracking import open_tracker
from pipeline.tracking.run_kinds import has_test_result
from pipeline.tracking.runs import Run, Tracker, closing
from pipeline.training.acceleration.base import OFF
from pipeline.training.meters import MIB
from pipeline.training.saved_model import FineTunedModel, load_model_folder, read_record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_WORDS = ("a gripping film", "two hours of nothing", "Rain.", "não é bom", "五つ星", "ﬁne print: 1,000 %")
_TEXTS = (*_WORDS, *(" ".join(_WORDS * count) for count in (2, 5, 20, 100)))
"""What the folder is asked beside the original: of few and many tokens, none of the data."""
_AS_GOOD_AS_EQUAL = 1e-3
"""Rounding is a hundredth of it; a head that was not loaded a thousand times as much."""


@dataclass(frozen=True)
class ExportResult:
    """What was written."""

    run_id: str
    output: Path
    difference: float
    """The largest of an output to the original model's."""
    address: str = ""
    """Of the repository that it was uploaded to."""


def run(config: configs.ExportConfig, tracker: Tracker | None = None, parent_id: str | None = None) -> ExportResult:
    """Write the model to `--output`.

    Raises:
        InputError: There is no such model, or the format has no place for it, or the folder may not be written.
    """
    began = time.perf_counter()
    if bool(config.run_id) == bool(config.model):
        given = "both" if config.run_id else "neither"
        raise ConfigError(f"export takes either --run-id or --model, and got {given}. Give one.")
    target = check_output(config.output, config.force)
    form = find_format(config.format)
    if config.push:
        check_push(config.push)
    tracker = tracker or open_tracker()
    with open_trained(config.run_id, config.model, tracker) as (folder, trained), hold_lock(_lock_of(target, config), "export"):
        model = _load(folder, config)
        check_place(form, model)
        if config.push and form.library == "peft" and model.base_id is None:
            raise ConfigError(
                f"--push {config.push}: the adapter's base is a folder of this machine, {model.base}, which nobody else has. "
                "Give --format transformers."
            )
        name = f"export-{trained.name if trained else folder.name}-{form.name}"
        content = (
            trained.tags["data_fingerprint"]
            if trained
            else hash_file(sums if (sums := folder / CHECKSUMS).is_file() else folder / DELTA)
        )
        with closing(tracker.start(name, parent_id, origin_tags("export", config, content))) as logger:
            logger.log_params(identify(config))
            tested = _find_test(trained, tracker) if trained else None
            with writing_output(target, config.force) as scratch:
                about = {"format": form.name, "strategy": model.record.strategy, **model.describe_outputs()}
                (scratch / LABELS).write_text(json.dumps(about, indent=1, ensure_ascii=False), encoding="utf-8")
                difference = _write(form, model, scratch)
                place = config.push or str(config.output)
                write_card(scratch, form, model, tested, difference, len(_TEXTS), place)
            megabytes = sum(file.stat().st_size for file in target.iterdir()) / MIB
            logger.log_outcome(
                {
                    "export/largest_difference": difference,
                    "export/folder_mb": megabytes,
                    "cost/wall_seconds": time.perf_counter() - began,
                }
            )
            say(
                f"Wrote {form.name} to {config.output}: {megabytes:.1f} MB; the largest difference of an output to the "
                f"original's is {difference:.2g}."
            )
            for note in describe_reading(form, model):
                say(f"  {note}")
            message = f"Export by fairtune ({form.name})"
            address = push_folder(target, config.push, message, list_written()) if config.push else ""
    if address:
        say(f"Uploaded to {address}.")
    return ExportResult(logger.run_id, target, difference, address)


def _lock_of(target: Path, config: configs.ExportConfig) -> Path:
    return Path(config.cache_dir).absolute() / "exports" / f"{digest(str(target))[:16]}.lock"


def _find_test(trained: Run, tracker: Tracker) -> Tested | None:
    """What is known of the test of a run; None where it has none."""
    if not has_test_result(trained):
        return None
    repository = parse_dataset_address(str(read_json(trained, "manifest.json", tracker).get("address", "")))
    return Tested(trained, intervals_of(trained, tracker), repository[0] if repository else "")


def _load(folder: Path, config: configs.ExportConfig) -> Exportable:
    """The model, without what makes it faster here.

    Raises:
        ConfigError: It has no encoder.
    """
    from safetensors import safe_open

    record = read_record(folder)
    if not record.base:
        raise ConfigError(
            f"--format {config.format}: {record.strategy} trains no encoder, and no format has a place for it. Label files by "
            "`python -m pipeline predict`, or serve it with MLflow."
        )
    trained = load_model_folder(folder, (OFF,), config.cache_dir)
    if not isinstance(trained, FineTunedModel):
        raise ModelError(f"{folder}: holds no encoder.")
    below = record.adapter_base
    address = find_pretrained(record.base, record.base_revision, below, config.cache_dir, record.adapter_base_revision)
    with safe_open(folder / DELTA, "numpy") as file:
        delta = frozenset(file.keys())
    return Exportable(trained, record, address, delta)


def _write(form: Format, model: Exportable, folder: Path) -> float:
    """Write the files, and ask them what the model was asked before.

    Returns:
        The largest difference of an output.

    Raises:
        PipelineError: They answer as another model would.
    """
    import numpy as np

    inputs: list[Input] = list(_TEXTS)
    if model.record.pairs:
        inputs = [(text, other) for text, other in zip(_TEXTS, _TEXTS[::-1], strict=True)]
    expected = model.answer(inputs)
    with quietly():
        form.write(model, folder)
        answers: NDArray[np.float32] = form.load_and_answer(model, folder, inputs)
    difference = float(np.abs(answers - expected).max())
    if form.is_exact and not difference <= _AS_GOOD_AS_EQUAL:
        raise PipelineError(
            f"--format {form.name}: what {form.library} loads answers otherwise than the model (by {difference:.2g}), so "
            "nothing was written. Give another format, such as onnx."
        )
    return difference
