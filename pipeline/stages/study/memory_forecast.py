"""What a dry run says of memory: each training's peak by kind, and what fits into a device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tabulate import tabulate

from pipeline.errors import in_one_line
from pipeline.stages.resume_training import find_interrupted
from pipeline.training.activation_cache import GIB
from pipeline.training.baselines.inputs import TrainingInputs
from pipeline.training.memory.forecast import Memory, NotForecastError, forecast_training, largest_batch
from pipeline.training.meters import MIB
from pipeline.training.precision import Precision, choose_precision
from pipeline.training.setup import EncoderInputs, Texts, put_together, read_texts

NOTHING_WAS_RUN = "Nothing was run (--dry-run)."
_NOT_IN_IT = (
    "Not in it: what a process holds before it trains (about 500 MB), and what the C library keeps of freed memory. "
    "A GPU needs less for activations. See docs/how-to/bigger-models.md."
)


def describe_training(inputs: TrainingInputs, device_memory_gb: float | None) -> Iterator[str]:
    """Lines of a dry run of `train`: what would be trained, and its memory."""
    precision = choose_precision(inputs.config.precision)
    yield f"Would train {inputs.config.title} on {inputs.describe(precision)}."
    yield from inputs.notes
    if isinstance(inputs, EncoderInputs):
        plan = put_together(inputs).parameters
        counts = f"{plan.trainable_count:,} of {plan.total_count:,} parameters train, {plan.trainable_percent:.4g} %"
        yield f"{counts}, in {inputs.total_steps:,} steps."
    step = find_interrupted(inputs)
    if step is not None:
        yield f"An interrupted training of it goes on from step {step}."
    yield from describe_memory({inputs.config.title: inputs}, precision, device_memory_gb, inputs.config.num_processes)
    yield NOTHING_WAS_RUN


def describe_memory(
    trainings: Mapping[str, TrainingInputs], precision: Precision, device_memory_gb: float | None, at_once: int = 1
) -> Iterator[str]:
    """Lines with the forecast of every training that has one, and why the others have none.

    Args:
        trainings: By the names of their rows.
        device_memory_gb: GiB into which they shall fit; None where nobody asked.
        at_once: How many processes train at the same time.
    """
    rows: list[dict[str, str]] = []
    without: dict[str, str] = {}
    for name, inputs in trainings.items():
        try:
            rows.append({"strategy": name, **_describe(inputs, precision, device_memory_gb)})
        except NotForecastError as error:
            without[name] = in_one_line(error)
    if rows:
        yield f"Forecast of peak memory in MB, {precision}, on a CPU, where all texts of a batch are as long as the longest:"
        sides = ["left"] + ["right"] * (len(rows[0]) - 1)
        yield from tabulate(rows, headers="keys", disable_numparse=True, colalign=sides).splitlines()
        yield _NOT_IN_IT
        if at_once > 1:
            yield f"All figures are of one process; {at_once} train at once, and share what they run on."
    for name, reason in without.items():
        yield f"Not forecast: {name}: {reason}."


def _describe(inputs: TrainingInputs, precision: Precision, device_memory_gb: float | None) -> dict[str, str]:
    """Column -> what stands in it of a training."""
    if not isinstance(inputs, EncoderInputs):
        raise NotForecastError("it trains no encoder")
    texts = read_texts(inputs)
    memory = forecast_training(inputs, texts, precision)
    row = {"batch": f"{inputs.config.batch_size:,}", "tokens": f"{int(texts.train.lengths.max()):,}"}
    row |= {kind: f"{size / MIB:,.0f}" for kind, size in memory.at_peak.items()}
    row["together"] = f"{memory.total / MIB:,.0f}"
    if device_memory_gb is not None:
        limit = int(device_memory_gb * GIB)
        row[f"fits into {device_memory_gb:g} GiB"] = "yes" if memory.total <= limit else "no"
        largest = _largest(inputs, texts, precision, memory, limit)
        row["largest batch that fits"] = f"{largest:,}" if largest else "none"
    return row


def _largest(inputs: EncoderInputs, texts: Texts, precision: Precision, memory: Memory, limit: int) -> int:
    """The largest batch that is forecast to fit, of no more examples than there are; 0 if none does."""
    config = inputs.config

    def total_of(batch_size: int) -> int:
        return (memory if batch_size == config.batch_size else forecast_training(inputs, texts, precision, batch_size)).total

    least = config.gradient_accumulation_steps * config.num_processes
    most = max(len(texts.train.lengths), config.batch_size)
    return largest_batch(total_of, limit, config.batch_size, least, most)
