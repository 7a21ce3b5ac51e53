"""The card of an exported model, README.md, with its metadata as the Hugging Face hub reads it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from pipeline.evaluation.metric import Metric, list_metrics
from pipeline.evaluation.statistics.intervals import Interval
from pipeline.hub import CARD
from pipeline.stages.exporting.format import Exportable, Format
from pipeline.stages.exporting.licence import Licence
from pipeline.tracking.runs import Run

_UNKNOWN_LICENCE = "That of the base and of the data, which export does not know."


@dataclass(frozen=True)
class Tested:
    """What is known of a model's test."""

    run: Run
    intervals: Mapping[str, Interval]
    repository: str = ""
    """Of its data on the hub; empty where they are from elsewhere."""

    @property
    def scores(self) -> list[tuple[Metric, float]]:
        """The metrics that were measured, with their values."""
        known = ((metric, self.run.metrics.get(f"test/{metric.name}")) for metric in list_metrics())
        return [(metric, value) for metric, value in known if value is not None]

    @property
    def dataset(self) -> str:
        """Its name; of a file the last part of its path."""
        return Path(self.run.params.get("dataset") or self.run.params.get("train_file") or "").name

    @property
    def rows(self) -> list[tuple[str, str, str]]:
        """Name, value and interval of each, the last empty where there is none."""
        return [(metric.label, metric.form.format(value), self._interval(metric)) for metric, value in self.scores]

    def _interval(self, metric: Metric) -> str:
        interval = self.intervals.get(metric.name)
        return f"{metric.form.format(interval.low)} to {metric.form.format(interval.high)}" if interval else ""


def write_card(
    folder: Path, form: Format, model: Exportable, tested: Tested | None, difference: float, compared: int, place: str
) -> None:
    """Write README.md.

    Args:
        tested: None where the model's run is not known.
        difference: The largest difference of an output to the original's, over `compared` texts.
        place: Where the folder will be, as its example shall name it.
    """
    from huggingface_hub import ModelCard, ModelCardData

    record = model.record
    scores = tested.scores if tested else []
    title = f"{model.base_name.rpartition('/')[2]}-{record.strategy}"
    licence = Licence.of_base(model)
    task = "sentence-similarity" if record.objective == "bi_encoder" else "text-classification"
    data = ModelCardData(
        base_model=model.base_id,
        base_model_relation=form.relation if model.base_id else None,
        **licence.as_metadata(),
        library_name=form.library,
        pipeline_tag=task,
        tags=["fairtune", record.strategy, *(["onnx"] if form.library == "onnx" else [])],
        model_name=title,
        # What was measured before quantisation is no result of this file.
        eval_results=[_result(metric, value, tested, task) for metric, value in scores] if tested and form.is_exact else None,
    )
    card = ModelCard.from_template(
        data,
        template_str=files(__package__).joinpath("card.md").read_text(encoding="utf-8"),
        title=title,
        base_name=model.base_name,
        strategy=record.strategy,
        problem=model.trained.problem.describe(),
        dataset=tested.dataset if tested else "",
        format=form.name,
        example=form.example(model, place),
        notes=list(describe_reading(form, model)),
        examples=f"{int(tested.run.metrics.get('test/examples', 0)):,}" if tested else "",
        scores=tested.rows if tested else [],
        is_exact=form.is_exact,
        difference=f"{difference:.2g}",
        compared=compared,
        licence=f"That of the base: {licence.name}." if licence.name else _UNKNOWN_LICENCE,
    )
    card.save(folder / CARD)


def describe_reading(form: Format, model: Exportable) -> Iterator[str]:
    """What whoever loads the folder must do by themselves to get the answers of this project, as sentences."""
    about, record = model.describe_outputs(), model.record
    yield (
        f"Texts are cut to {about['max_length']} tokens{', the longer of a pair first' if record.pairs else ''}, and read "
        "without spaces at both ends."
    )
    if record.long_texts != "head":
        yield (
            f"Long texts were read by `--long-texts {record.long_texts}`; the tokenizer here takes their beginning. Only of "
            f"texts up to {about['max_length']} tokens are the answers the same."
        )
    if (threshold := about.get("threshold")) is not None and record.problem.label_type == "class":
        of = "an output" if "probabilities" not in about else "its probability"
        yield (
            f"`{record.classes[1]}` is the answer from {of} of {threshold:.6g} on, and not by the highest one: the threshold "
            "was chosen on validation data, or given. It stands in `labels.json`; libraries do not apply it."
        )
    if thresholds := about.get("thresholds"):
        listed = ", ".join(f"`{name}` {value:.4g}" for name, value in zip(record.classes, thresholds, strict=True))
        yield (
            "A text has any number of labels: each from a probability (sigmoid) on that was chosen on validation data. They "
            f"stand in `labels.json`; libraries do not apply them: {listed}."
        )
    if scale := about.get("score_range"):
        yield f"The output is 0 for a score of {scale[0]:g} and 1 for one of {scale[1]:g}."
    if form.library == "peft" and model.base_id is None:
        yield f"The base is a folder, {model.base}: who has it elsewhere changes `base_model_name_or_path`."


def _result(metric: Metric, value: float, tested: Tested, task: str) -> Any:
    from huggingface_hub import EvalResult

    params = tested.run.params
    return EvalResult(
        task_type=task,
        dataset_type=tested.repository or tested.dataset,
        dataset_name=tested.dataset,
        dataset_config=params.get("dataset_config_name") or None,
        dataset_split="test",
        metric_type=metric.hub_name or metric.name,
        metric_value=round(value, 6),
        metric_name=metric.label,
    )
