"""Resolve defaults, recipe and typed options into one config, and `strategy=auto` into a strategy."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

from pipeline import config as configs
from pipeline.config.fields import build, describe_fields, parse_arguments
from pipeline.config.imbalance import ImbalanceConfig
from pipeline.config.stage import flag
from pipeline.config.train_sizes import ALL
from pipeline.data.prepared import Manifest, prepare
from pipeline.data.source import named_datasets
from pipeline.errors import ConfigError, has_surrogate, shorten, unknown
from pipeline.evaluation.metric import LOSS, LabelType, list_metrics, list_ranking, ranking
from pipeline.modeling.head import check_head
from pipeline.modeling.merged_adapters import find_pretrained
from pipeline.modeling.model_sources import ModelAddress
from pipeline.recipes.recipe import Recipe, load_recipe, named_models
from pipeline.stages.auto.advice import Advice, advise
from pipeline.stages.progress import say
from pipeline.strategies.base import create_strategy, list_strategies, strategy_arguments, strategy_options
from pipeline.training.acceleration.base import check_acceleration

AUTO = "auto"
# Options that describe the recipe's own table, and no other.
_TABLE_OPTIONS = (
    "text_column",
    "text_pair_column",
    "label_column",
    "group_column",
    "labels",
    "encoding",
    "delimiter",
    "no_header",
    "sheet",
    "annotators",
)
_OF_HUB_DATA = ("dataset_revision", "dataset_config_name")
_OF_TRANSFER = ("transfer_text_column", "transfer_label_column", "transfer_labels")
_OF_MODEL = ("model_revision", "base_model", "model_labels")
# Options of which only one can be given: a typed one takes the place of the others in a recipe.
_RIVALS = {
    "model": ("models",),
    "train_size": ("train_sizes", "hold"),
    "epoch_size": ("train_sizes", "hold"),
    "train_sizes": ("train_size", "epoch_size"),
    "label_column": ("label_columns",),
    "label_separator": ("label_columns",),
    "label_columns": ("label_column", "label_separator", "labels"),
}


TrainT = TypeVar("TrainT", bound=configs.TrainConfig)
_ADVISED_FOR = ("epochs", "max_train_samples", "train_size", "validation_size", "epoch_size")


def resolve_strategy(config: TrainT) -> TrainT:
    """The config as it is, or with `auto` replaced by a strategy, its recipe's settings and the reason.

    The data are prepared where they are not yet: how many there are decides. No run is made.

    Raises:
        InputError: Model or data cannot be used.
    """
    if config.strategy != AUTO:
        return config
    address = find_pretrained(config.model, config.model_revision, config.base_model, config.cache_dir)
    prepared, _ = prepare(config.dataset, config)
    there = prepared.manifest.rows["train"]
    examples = min(there, config.max_train_samples or there, config.train_size or there)
    advised = _measured_advice(config, prepared.manifest, address, examples) if config.auto == "measured" else []
    for advice in advised:
        with contextlib.suppress(ConfigError):  # it cannot work on this encoder, or with what was typed
            return _taking(advice, config)
    return _taking(advise(examples, config.epochs, address.encoder), config)


def _measured_advice(config: configs.TrainConfig, manifest: Manifest, address: ModelAddress, examples: int) -> list[Advice]:
    """What was measured on the same data, else on other data, the best first; nothing where nothing was measured."""
    from pipeline.stages.auto.measured import advise_by_study, advise_by_table
    from pipeline.tracking import open_to_read

    metric = ranking(config.label_type)
    found = advise_by_study(open_to_read(), config, manifest.fingerprint, address.sha256(), examples, metric)
    of_table = config.label_type == "class" and config.objective == "classification"
    return found or (advise_by_table(examples, metric) if of_table else [])


def _taking(advice: Advice, config: TrainT) -> TrainT:
    """The config with the advised strategy in place of `auto`.

    Raises:
        ConfigError: The strategy cannot work here.
    """
    from pipeline.training.baselines.training import refuse_idle_encoder_options
    from pipeline.training.setup import find_strategy

    recipe = load_recipe(config.recipe)
    if advice.options is None:
        own = {**_own_options(recipe, advice.strategy), **recipe.arguments_for(advice.strategy)}
        stays = {*config.explicit, *_ADVISED_FOR}
    else:  # it was measured with settings of its own
        own, stays = {**strategy_options(advice.strategy), **advice.options}, set(config.explicit)
        if "epoch_size" in stays:
            stays.add("epochs")
        elif "epochs" in own and "epochs" not in stays:  # each of one pass
            own["epoch_size"] = None
    own = {name: value for name, value in own.items() if name not in stays}
    taken = dataclasses.replace(config, strategy=advice.strategy, strategy_args={}, strategy_reason=advice.reason)
    taken = replace_options(taken, {**own, **advice.arguments})
    refuse_idle_encoder_options(taken, [taken.strategy])
    find_strategy(taken)
    usual = strategy_arguments(create_strategy(advice.strategy, {}))
    named = "".join(f", {name}={value}" for name, value in taken.strategy_args.items() if value != usual[name])
    say(f"auto takes {advice.strategy}{named}: {advice.reason}.")
    return taken


C = TypeVar("C", bound=configs.StageConfig)


def configure(cls: type[C], given: Mapping[str, Any], of_study: Collection[str] = ()) -> C:
    """The stage's config: what was given beats the recipe, which beats the defaults. All mistakes are reported together.

    Args:
        of_study: Names of what was given to the study that this is for, if it is for one.

    Raises:
        ConfigError: Any option, recipe or strategy argument is wrong.
    """
    described = describe_fields(cls)
    values: dict[str, Any] = {}
    strange = {name: value for name, value in given.items() if isinstance(value, str) and has_surrogate(value)}
    messages = [
        f"{flag(name)}: got {shorten(value)!a}, which is not text in UTF-8. Name it otherwise."
        for name, value in strange.items()
    ]
    given = {name: value for name, value in given.items() if name not in strange}
    typed_arguments: tuple[str, ...] = ()
    if "recipe" in described:
        recipe = load_recipe(str(given.get("recipe") or described["recipe"].default))
        entry = str(given.get("strategy") or described["strategy"].default) if "strategy" in described else ""
        own = _own_options(recipe, entry)
        values = dict(recipe.options)
        _give_way(values, own)
        values |= own
        if entry:
            arguments, typed_arguments, complaints = _arguments(recipe, entry, given.get("strategy_args"))
            messages += complaints
            strategy = recipe.strategy_of(entry)
            values |= {"strategy": strategy, "strategy_args": arguments, "entry": entry if entry != strategy else ""}
    # Given as '' by `mlflow run` where the declared default is empty: not given.
    explicit = {name: value for name, value in given.items() if value != "" and name != "strategy_args"}
    _give_way(values, explicit, of_study)
    messages += _settle_data(values, explicit)
    values = {name: value for name, value in values.items() if name in described}
    values |= {name: value for name, value in explicit.items() if name != "strategy"}
    if "explicit" in described:
        values["explicit"] = (*explicit, *typed_arguments)

    def label(name: str) -> str:
        if name in explicit or "recipe" not in described:
            return flag(name)
        return f"recipe {recipe.name}: {f'{entry}: ' if name in recipe.own_options_of(entry) else ''}{name}"

    try:
        config = build(cls, values, label=label, kind="option")
        if isinstance(config, configs.FitConfig):
            check_acceleration(config.acceleration, label("acceleration"))
            check_head(config.head, label("head"))
    except ConfigError as error:
        messages += error.messages
    if messages:
        raise ConfigError(*messages)
    return config


def configure_strategy(config: configs.MainConfig, entry: str, model: str | None = None) -> configs.TrainConfig:
    """The train config of one entry or strategy of a study, with what was given to the study explicitly over it.

    Args:
        model: Which of several models; the study's own, or the entry's, if not given.

    Raises:
        ConfigError: The recipe's settings for it are wrong.
    """
    shared = set(config.explicit) & set(describe_fields(configs.TrainConfig))
    explicit = {name: getattr(config, name) for name in shared} | ({"model": model} if model else {})
    given = {**explicit, "recipe": config.recipe, "cache_dir": config.cache_dir, "strategy": entry}
    return configure(configs.TrainConfig, given, of_study=config.explicit)


def check_folders(config: configs.StageConfig) -> None:
    """Make the folders that a stage will write to, before anything is spent on what could not be kept.

    Raises:
        ConfigError: A folder cannot be made or written.
    """
    messages = []
    for name in ("cache_dir", "export_dir"):
        folder = getattr(config, name, None)
        if folder is not None:
            try:
                Path(folder).mkdir(parents=True, exist_ok=True)
                tempfile.TemporaryFile(dir=folder).close()
            except OSError as error:
                messages.append(f"{flag(name)} {folder}: cannot be written ({error.strerror}). Give another folder.")
    if messages:
        raise ConfigError(*messages)


def replace_options(config: TrainT, changes: Mapping[str, Any]) -> TrainT:
    """The config with some options or strategy arguments changed, checked anew.

    Raises:
        ConfigError: A name is neither an option nor an argument of the strategy, or a value does not fit.
    """
    options = describe_fields(type(config))
    own = {name: value for name, value in changes.items() if name in options}
    arguments = {name: value for name, value in changes.items() if name not in options}
    strategy = create_strategy(config.strategy, {**config.strategy_args, **arguments})
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    values |= own | {"strategy_args": strategy_arguments(strategy)}
    return build(type(config), values, label=flag, kind="option")


def _own_options(recipe: Recipe, entry: str) -> dict[str, Any]:
    """The options of one entry only: those that its strategy wants, with those that the recipe sets for it over them."""
    return {**strategy_options(recipe.strategy_of(entry)), **recipe.own_options_of(entry)}


def _give_way(values: dict[str, Any], typed: Mapping[str, Any], beside: Collection[str] = ()) -> None:
    """Take from a recipe's values what cannot stand beside what was typed, or beside what one of its entries says.

    Args:
        values: Option -> value, as YAML gave them; changed.
        typed: Options that beat these.
        beside: Names of further ones, which were typed for the study.
    """
    replaced = named_models(values)
    if replaced and not all(model in replaced for model in named_models(typed)):
        _drop(values, _OF_MODEL)
    for name in (*typed, *beside):
        _drop(values, _RIVALS.get(name, ()))
    second = typed.get("transfer_dataset")
    if second and second != values.get("transfer_dataset") and second in named_datasets():
        _drop(values, _OF_TRANSFER)
    if "train_size" in typed and str(typed["train_size"]).strip() in (ALL, "none", "None"):
        _drop(values, ("validation_size", "epoch_size"))  # which are of a number of texts
    size, examples = str(typed.get("train_size", "")).strip(), str(values.get("epoch_size"))
    if size.isdecimal() and examples.isdecimal() and int(examples) < int(size):
        values.pop("epoch_size")
    if typed.get("split") in ("random", "official"):
        values.pop("group_column", None)
    if "loss" in typed and typed["loss"] not in (values.get("loss"), "focal"):
        values.pop("focal_gamma", None)
    if typed.get("label_type") in get_args(LabelType):
        _settle_labels(values, typed["label_type"])


def _settle_labels(values: dict[str, Any], label_type: LabelType) -> None:
    """What labels are called, how they are written, metrics, and what errors count, are of labels of one type."""
    if label_type != "multi":
        _drop(values, ("label_columns", "label_separator"))
    if label_type != values.get("label_type", "class"):
        _drop(values, describe_fields(ImbalanceConfig))
    if label_type == "score":
        values.pop("labels", None)
        if values.get("annotators") == "majority":
            values.pop("annotators")
    measured = {
        "metric_for_best_model": [*(metric.name for metric in list_metrics(label_type)), LOSS],
        "ranking_metric": [metric.name for metric in list_ranking(label_type)],
    }
    _drop(values, [name for name, metrics in measured.items() if values.get(name) not in metrics])


def _drop(values: dict[str, Any], names: Collection[str]) -> None:
    for name in names:
        values.pop(name, None)


def _settle_data(values: dict[str, Any], explicit: Mapping[str, Any]) -> list[str]:
    """Take from a recipe's values what was typed otherwise: data are named either as a whole or file by file.

    Returns:
        What is wrong with the options that were typed.
    """
    files = [name for name in configs.PART_FILES if name in explicit]
    if files and "dataset" in explicit:
        names = [f"{flag(name)} {shorten(str(explicit[name]))}" for name in ("dataset", *files)]
        return [f"{' and '.join(names)}: which data? Give a data set or files, not both."]
    if files:
        _drop(values, ("dataset", *_OF_HUB_DATA))
    if "dataset" in explicit:
        if explicit["dataset"] != values.get("dataset", explicit["dataset"]):
            _drop(values, _OF_HUB_DATA)
        _drop(values, configs.PART_FILES)
        if explicit["dataset"] in named_datasets() and explicit["dataset"] != values.get("dataset"):
            _drop(values, (*_TABLE_OPTIONS, *_OF_HUB_DATA))
    parts = [name for name in files if name != "train_file"]
    if parts and explicit.get("split", "official") != "official":
        return [
            f"--split {shorten(str(explicit['split']))}: would leave {' and '.join(map(flag, parts))} unused. "
            "Leave --split out, or give --train-file alone."
        ]
    if parts or explicit.get("split") == "official":
        values.pop("split_ratios", None)  # which are refused beside parts that are there
    if parts:
        _drop(values, ("split", "group_column"))
    return []


def _arguments(recipe: Recipe, entry: str, given: object) -> tuple[dict[str, Any], tuple[str, ...], list[str]]:
    """All arguments of an entry's strategy, the names of those that were typed, and what is wrong with them."""
    try:
        strategy = _find_strategy(recipe, entry)
        explicit = parse_arguments(given)
        if strategy == AUTO:
            _refuse_own_of_auto(recipe, entry, explicit)
            return {}, (), []
        if not isinstance(explicit, dict):
            raise ConfigError(f"--strategy-args: got {given!r}. Write for example top_k=4.")
        merged = {**recipe.arguments_for(entry), **explicit}
        return strategy_arguments(create_strategy(strategy, merged)), tuple(explicit), []
    except ConfigError as error:
        where = f"{entry}: " if recipe.strategy_of(entry) != entry else ""
        return {}, (), [message if message.startswith(("recipe ", "--")) else where + message for message in error.messages]


def _refuse_own_of_auto(recipe: Recipe, entry: str, typed: object) -> None:
    """Refuse arguments beside `auto`, whoever gave them, and a space of what it takes, which is called otherwise.

    Raises:
        ConfigError: As said.
    """
    if typed:
        raise ConfigError("--strategy-args: --strategy auto finds its arguments itself. Name a strategy, or leave them out.")
    where = f"recipe {recipe.name}: {entry}: "
    if recipe.arguments_for(entry):
        raise ConfigError(f"{where}strategy_args: auto finds its arguments itself. Name a strategy, or leave them out.")
    if entry == AUTO and recipe.own_spaces.get(entry):
        raise ConfigError(
            f"{where}space: the row is called as the strategy that auto takes, and has its space. Give the entry a name of its "
            f"own, with strategy: {AUTO} in it, or leave the space out."
        )


def _find_strategy(recipe: Recipe, entry: str) -> str:
    """The name of an entry's strategy, which is known.

    Raises:
        ConfigError: There is no such strategy or entry, or the entry is called as a strategy that is not its own.
    """
    known = (*list_strategies(), AUTO)
    strategy = recipe.strategy_of(entry)
    if strategy == entry and entry not in known:
        raise ConfigError(unknown("strategy", entry, {*list_strategies(), *recipe.strategies} - {entry}))
    where = f"recipe {recipe.name}: {shorten(entry)}: "
    if strategy not in known:
        raise ConfigError(where + unknown("strategy", strategy, list_strategies()))
    if strategy != entry and entry in known:
        raise ConfigError(f"{where}is the name of a strategy, and its strategy is {strategy}. Give the entry another name.")
    return strategy
