"""Folders that are no encoder: what they are, and what to type instead. Looks at names, small JSON files and shapes alone."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from pipeline.config.fields import Count, LongTexts
from pipeline.errors import enumerate_some, shorten
from pipeline.failures import is_exhausted
from pipeline.given_paths import is_folder
from pipeline.json_text import parse_json, parse_json_as
from pipeline.modeling.weights import has_weights

RECORD, DELTA = "model.json", "delta.safetensors"
"""Files of a folder that training wrote."""
LABELS = "labels.json"
"""What the outputs mean, in every folder that `export` wrote."""
ADAPTER = "adapter_config.json"

_ARTIFACT = re.compile(r"/([0-9a-f]{32})/artifacts(/|$)")
_CHECKPOINT = re.compile(r"checkpoint-(\d+)$")
_OF_OTHERS = {
    "tf_model.h5": "TensorFlow",
    "flax_model.msgpack": "Flax",
    "*.gguf": "GGUF",
    "*.ckpt": "a training's own checkpoint",
    "*.pt": "a training's own checkpoint",
    "*.pth": "a training's own checkpoint",
}
_EXPORTED = {"ONNX": "*.onnx", "OpenVINO": "openvino*.xml", "CoreML": "*.mlpackage", "TensorFlow Lite": "*.tflite"}
_DATA = ("*.csv", "*.tsv", "*.jsonl", "*.parquet")
_MOST = 3  # in a message


@dataclass(frozen=True)
class ExportedOutputs:
    """What `labels.json` says of the outputs of a model that `export` wrote."""

    format: str
    label_type: Literal["class", "multi", "score"]
    labels: tuple[str, ...]
    """In the order of the outputs; none where they are scores."""
    max_length: Count
    """Tokens that texts are cut to."""
    long_texts: LongTexts
    """How longer ones were read, as `--long-texts` says it."""
    threshold: float | None = None
    """Of two classes: from which probability of the second on that is the answer; the highest decides if None."""
    thresholds: tuple[float, ...] = ()
    """Of each label the same, where a text has any number of them."""


def read_exported(folder: Path) -> ExportedOutputs | None:
    """What the outputs mean of a model that `export` wrote; None of any other folder."""
    known = {field.name for field in fields(ExportedOutputs)}
    content = {name: value for name, value in _read(folder / LABELS).items() if name in known}
    try:
        found: ExportedOutputs = parse_json_as(json.dumps(content), ExportedOutputs)
    except (ValueError, RecursionError):  # many tools have a file of that name, with anything in it
        return None
    return found


def describe_folder(folder: Path) -> str:
    """What a folder without a usable model is, and what to type instead, as sentences; empty if that cannot be seen."""
    return next((text for look in _LOOKS if (text := look(folder))), "")


def describe_adapter_beside(folder: Path, holds_classifier: bool) -> str:
    """The same of an adapter that lies beside the weights of a whole model.

    Args:
        holds_classifier: Whether the weights hold one.
    """
    adapter = _read(folder / ADAPTER)
    neither = "" if holds_classifier or count_adapter_classes(folder) else " Neither of them holds a trained classifier."
    return (
        f"{folder} holds the weights of a whole model and, beside them, {_name_adapter(adapter)}. Whether it was merged into "
        f"them cannot be seen, so neither is used.{neither} Move {ADAPTER} and adapter_model.* to a folder of their own; if "
        f"it was merged, that is all. If not: {_way_to_merge(folder, adapter, str(folder), 'THAT_FOLDER')}"
    )


def find_trained_model(folder: Path) -> Path | None:
    """The folder that training wrote: this one, or the only one up to three levels below, as in a run's artifacts."""
    if (folder / RECORD).is_file() and (folder / DELTA).is_file():
        return folder
    below = [file.parent for depth in ("*", "*/*", "*/*/*") for file in folder.glob(f"{depth}/{DELTA}")]
    whole = [each for each in below if (each / RECORD).is_file()]
    return whole[0] if len(whole) == 1 else None


def _trained_here(folder: Path) -> str:
    saved = find_trained_model(folder)
    if saved is None:
        return ""
    record, run = _read(saved / RECORD), _ARTIFACT.search(f"{saved}/")
    base = shorten(str(record.get("base", "")))
    test = f"--run-id {run[1]}" if run else f"--model {saved} --dataset DATA"
    if not base:
        return (
            f"It is a model that fairtune trained ({shorten(str(record.get('strategy', '')))}), without an encoder. "
            f"To test it, run `python -m pipeline evaluate {test}`."
        )
    return (
        f"It is a model that fairtune trained ({shorten(str(record.get('strategy', '')))} on {base}): what training "
        f"changed, without the encoder below it. To test it, run `python -m pipeline evaluate {test}`. To train on the same "
        f"encoder, give --model {base}."
    )


def is_adapter(folder: Path) -> bool:
    """Whether it holds an adapter of peft, and no weights of a whole model."""
    return (folder / ADAPTER).is_file() and not has_weights(folder)


def _adapter(folder: Path) -> str:
    if not (folder / ADAPTER).is_file():
        return ""
    adapter = _read(folder / ADAPTER)
    base = str(adapter.get("base_model_name_or_path") or "BASE")
    return f"It is {_name_adapter(adapter)}, without the model below it. {_way_to_merge(folder, adapter, base, str(folder))}"


def _name_adapter(adapter: Mapping[str, Any]) -> str:
    base = shorten(str(adapter.get("base_model_name_or_path") or "a base that it does not name"))
    return f"a peft adapter ({shorten(str(adapter.get('peft_type')))}) of {base}"


def _way_to_merge(folder: Path, adapter: Mapping[str, Any], base: str, place: str) -> str:
    """What to type to merge it.

    Args:
        base: Where the model below it is.
        place: Where the adapter is when that is done: beside its base, transformers would put it on top unasked.
    """
    if is_prompt(str(adapter.get("peft_type"))):
        return (
            "An adapter of this kind puts virtual tokens before the text and cannot be merged. Train one here, with --strategy "
            "prefix, prompt or ptuning."
        )
    classes = count_adapter_classes(folder)
    exported = read_exported(folder)
    count = f", num_labels={classes}" if classes else ""
    if classes and exported and len(exported.labels) == classes:  # by number the base's own names would stay, in their order
        count = f", id2label={dict(enumerate(exported.labels))}"
    auto = "AutoModelForSequenceClassification" if adapter.get("task_type") == "SEQ_CLS" else "AutoModel"
    return (
        f'Merge it in Python: base = {auto}.from_pretrained("{shorten(base)}"{count}); '
        f'PeftModel.from_pretrained(base, "{place}").merge_and_unload().save_pretrained("merged"). Save the tokenizer there, '
        "too, and give --model merged."
    )


def is_prompt(peft_type: str) -> bool:
    """Whether an adapter of that kind puts virtual tokens before the text."""
    from peft import PEFT_TYPE_TO_CONFIG_MAPPING, PromptLearningConfig

    known = {str(getattr(kind, "value", kind)): config for kind, config in PEFT_TYPE_TO_CONFIG_MAPPING.items()}
    return peft_type in known and issubclass(known[peft_type], PromptLearningConfig)


def count_adapter_classes(folder: Path) -> int | None:
    """How many classes a classifier has that was saved with the adapter; None where there is none to be seen."""
    ends = ("classifier.weight", "classifier.out_proj.weight", "score.weight")
    try:
        return next((int(shape[0]) for name, shape in _read_shapes(folder).items() if name.endswith(ends)), None)
    except Exception as error:  # a pickle may hold anything, and torch raises as many errors of its own
        if is_exhausted(error):
            raise
        return None


def _read_shapes(folder: Path) -> dict[str, Sequence[int]]:
    """Of the adapter's tensors by name; those of a pickle where there is nothing else, as peft reads it."""
    tensors, pickled = folder / "adapter_model.safetensors", folder / "adapter_model.bin"
    if tensors.is_file():
        from safetensors import safe_open

        with safe_open(tensors, "numpy") as opened:
            return {name: opened.get_slice(name).get_shape() for name in opened.keys()}  # noqa: SIM118  # it is no mapping
    if pickled.is_file():
        import torch

        return {name: tensor.shape for name, tensor in torch.load(pickled, map_location="meta", weights_only=True).items()}
    return {}


def _trainer_output(folder: Path) -> str:
    """The Trainer's `output_dir`: checkpoints are below it, and it holds a model only where `save_model` was called."""
    numbered = {int(match[1]): path for path in folder.iterdir() if (match := _CHECKPOINT.search(path.name)) and path.is_dir()}
    if not numbered:
        return ""
    steps = sorted(numbered)
    whole = [step for step in steps if has_weights(numbered[step]) or (numbered[step] / ADAPTER).is_file()]
    names = enumerate_some([numbered[step].name for step in steps], _MOST)
    if not whole:
        return f"It is the output folder of a Trainer, and none of its checkpoints ({names}) holds weights."
    newest = numbered[whole[-1]]
    best = Path(str(_read(newest / "trainer_state.json").get("best_model_checkpoint") or newest)).name
    by_score = f" The Trainer's best one is {folder / best}." if best != newest.name and is_folder(folder / best) else ""
    adapter = " It holds an adapter." if not has_weights(newest) else ""
    return (
        f"It is the output folder of a Trainer; the models are in its checkpoints ({names}). Give the newest, --model "
        f"{newest}.{adapter}{by_score}"
    )


def _model_below(folder: Path) -> str:
    """Of a download or an archive that put the model one or two folders further down."""
    below = [file.parent for depth in ("*", "*/*") for file in sorted(folder.glob(f"{depth}/config.json"))]
    models = [path for path in below if has_weights(path)]
    if not models:
        return ""
    newest = max(models, key=lambda path: (path / "config.json").stat().st_mtime)
    what = "a model below" if len(models) == 1 else f"{len(models)} models below, such as"
    return f"It holds {what} {newest.relative_to(folder)}. Give --model {newest}."


def _sharded_training(folder: Path) -> str:
    if (folder / "zero_to_fp32.py").is_file():
        return "It is a checkpoint of DeepSpeed. Run `python zero_to_fp32.py . .` in it, which writes the weights as one."
    if any(folder.glob("*_fsdp_*")):
        return "It is a sharded checkpoint of FSDP. Run `accelerate merge-weights`, which writes the weights as one."
    return ""


def _exported(folder: Path) -> str:
    """Of a model that was exported to run and not to train."""
    config = _read(folder / "config.json")
    named = str(config.get("_name_or_path") or "")
    origin = f", {shorten(named)} by its config.json" if named and not is_folder(Path(named)) else ""
    for kind, pattern in _EXPORTED.items():
        files = [file for at in (pattern, f"*/{pattern}") for file in sorted(folder.glob(at))]
        if files:
            names = enumerate_some([file.relative_to(folder).as_posix() for file in files], _MOST)
            return (
                f"It holds {kind} alone ({names}), which cannot be trained. Give the model that it was exported from{origin}."
            )
    return ""


def _other_format(folder: Path) -> str:
    for pattern, kind in _OF_OTHERS.items():
        if file := next(iter(sorted(folder.glob(pattern))), None):
            return f"{file.name} is {kind}, which is not read. Load it with what wrote it, and save it with save_pretrained."
    return ""


def _data(folder: Path) -> str:
    files = [file.name for pattern in _DATA for file in sorted(folder.glob(pattern))]
    return f"It holds data ({enumerate_some(files, _MOST)}): was it meant for --dataset?" if files else ""


def _empty(folder: Path) -> str:
    return "It is empty." if not any(folder.iterdir()) else ""


_LOOKS: tuple[Callable[[Path], str], ...] = (
    _trained_here,
    _adapter,
    _trainer_output,
    _sharded_training,
    _model_below,
    _exported,
    _other_format,
    _data,
    _empty,
)


def _read(path: Path) -> dict[str, Any]:
    """A JSON object; an empty one where there is none: what is said of a folder is a help only."""
    try:
        content = parse_json(path.read_text(encoding="utf-8")) if path.is_file() else {}  # a pipe would be waited for
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
