"""Options of the command line and the text of MLproject, both derived from the classes in `config`."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Sequence
from typing import Any

import click

from pipeline import config as configs
from pipeline.config.fields import describe_fields
from pipeline.config.stage import flag

STAGE_CONFIGS: dict[str, type[configs.StageConfig]] = {
    "main": configs.MainConfig,
    "prepare_data": configs.PrepareDataConfig,
    "tune": configs.TuneConfig,
    "train": configs.TrainCommandConfig,
    "evaluate": configs.EvaluateConfig,
    "compare": configs.CompareConfig,
    "reproduce": configs.ReproduceConfig,
    "predict": configs.PredictConfig,
    "register": configs.RegisterConfig,
    "export": configs.ExportConfig,
}

# What the hub's libraries call an option, answered with "did you mean".
LONGER_SPELLINGS = {
    "num_train_epochs": "epochs",
    "num_epochs": "epochs",
    "per_device_train_batch_size": "batch_size",
    "train_batch_size": "batch_size",
    "max_seq_length": "max_length",
    "doc_stride": "window_overlap",
    "model_name_or_path": "model",
    "model_name": "model",
    "dataset_name": "dataset",
    "lr": "learning_rate",
    "optim": "optimizer",
    "lr_scheduler": "lr_scheduler_type",
    "hidden_dropout_prob": "dropout",
    "dropout_rate": "dropout",
    "validation_split": "split",
}

_UNGROUPED = "More"


def group_options(cls: type[configs.StageConfig], names: Iterable[str]) -> dict[str, list[str]]:
    """Heading -> the options of a stage below it, in the order in which they are shown; what is no field comes last."""
    groups = {name: field.group for name, field in describe_fields(cls).items()}
    grouped: dict[str, list[str]] = {heading: [] for heading in (*configs.HEADINGS, _UNGROUPED)}
    for name in sorted(names, key=lambda name: group.place if (group := groups.get(name)) else 0):
        group = groups.get(name)
        grouped[group.heading if group else _UNGROUPED].append(name)
    return {heading: options for heading, options in grouped.items() if options}


def translate_parameters(arguments: Sequence[str]) -> str:
    """What was typed as for `mlflow run`, in our spelling: `-P top_k=4` -> `--top-k 4`."""
    words: list[str] = []
    rest = iter(arguments)
    for word in rest:
        parameter = next(rest, "") if word == "-P" else word[2:] if word.startswith("-P") else None
        if parameter is None:
            words.append(word)
            continue
        name, _, value = parameter.partition("=")
        words += [flag(name), value]
    return shlex.join(words)


def is_typed(name: str) -> bool:
    """Whether a field is an option, as against one that the command line fills in by itself."""
    return name not in configs.INTERNAL


def click_options(cls: type[configs.StageConfig]) -> list[click.Option]:
    """One option per field. Values stay text, and an option that was not given stays None: a recipe may then set it."""
    options = []
    for field in describe_fields(cls).values():
        if not is_typed(field.name):
            continue
        default = f"  [default: {field.default_text}]" if field.default_text else ""
        help_text = field.help + default
        # `--dry-run` alone means `--dry-run true`; MLflow, which knows no flags, hands over the latter.
        alone: dict[str, Any] = {"is_flag": False, "flag_value": "true"} if field.metavar == "true|false" else {}
        options.append(click.Option([flag(field.name), field.name], metavar=field.metavar, help=help_text, **alone))
    return options


def render_mlproject() -> str:
    """The whole text of MLproject; a test holds the committed file against it."""
    lines = [
        "# Rendered from pipeline/config/ by `make project-files`; edit that file instead.",
        "name: fairtune",
        "conda_env: conda.yaml",
        "entry_points:",
    ]
    for stage, cls in STAGE_CONFIGS.items():
        declared = [field for name, field in describe_fields(cls).items() if name in configs.DECLARED]
        lines += [f"  {stage}:", "    parameters:"]
        lines += [f"      {f.name}: {{type: string, default: {json.dumps(f.default_text)}}}" for f in declared]
        placeholders = "".join(f" {flag(f.name)} {{{f.name}}}" for f in declared)
        lines += [f'    command: "python -m pipeline {stage}{placeholders}"']
    return "\n".join(lines) + "\n"
