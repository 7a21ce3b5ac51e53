"""A recipe: one YAML file that holds a study's options, its strategies with their arguments, and what to search."""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pipeline import config as configs
from pipeline.config.fields import describe_fields, split_names
from pipeline.config.identity import operational_options
from pipeline.config.search_ranges import Range, parse_range
from pipeline.config.stage import flag
from pipeline.errors import ConfigError, shorten, unknown
from pipeline.given_paths import is_file
from pipeline.recipes import FOLDER, list_recipes

# Keys under `strategies: ENTRY:` beside the options of the train stage.
_STRATEGY, _ARGUMENTS, _SPACE = "strategy", "strategy_args", "space"
_MOST_VALUES, _LONGEST_NAME = 100_000, 200


@dataclass(frozen=True)
class Recipe:
    """A study's settings, values as YAML gave them; typed and checked when a stage's options are resolved."""

    name: str
    description: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    strategies: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Entry -> its settings. An entry is called as its strategy, or by a name of its own with `strategy: NAME` inside."""
    space: Mapping[str, Range] = field(default_factory=dict)
    """What to search for every strategy."""
    own_spaces: Mapping[str, Mapping[str, Range]] = field(default_factory=dict)
    """What to search for one entry, over that."""

    def strategy_of(self, entry: str) -> str:
        """The strategy of an entry; a name that is no entry is one of a strategy itself."""
        return str(self.strategies.get(entry, {}).get(_STRATEGY) or entry)

    def options_for(self, entry: str) -> dict[str, Any]:
        """Options of the recipe with those of one entry over them; its strategy and arguments are not among them."""
        return {**self.options, **self.own_options_of(entry)}

    def own_options_of(self, entry: str) -> dict[str, Any]:
        """The options that the recipe sets for one entry only."""
        own = self.strategies.get(entry, {})
        return {key: value for key, value in own.items() if key not in (_STRATEGY, _ARGUMENTS, _SPACE)}

    def arguments_for(self, entry: str) -> dict[str, Any]:
        """The arguments that the recipe gives an entry's strategy."""
        return dict(self.strategies.get(entry, {}).get(_ARGUMENTS) or {})

    def space_for(self, entry: str) -> dict[str, Range]:
        """What to search for an entry: the recipe's space, with the entry's own ranges over it; empty if there is none."""
        return {**self.space, **self.own_spaces.get(entry, {})}


def load_recipe(name: str) -> Recipe:
    """The recipe of that name, or in the file of that path.

    Raises:
        ConfigError: No such recipe, not YAML, or keys that mean nothing.
    """
    path = FOLDER / f"{name}.yaml" if name in list_recipes() else Path(name)
    if not is_file(path):
        raise ConfigError("--recipe: " + unknown("recipe", name, list_recipes()) + " Or give the path of a YAML file.")
    try:
        text = path.read_text(encoding="utf-8")
        if _count(yaml.compose(text, Loader=yaml.SafeLoader), {}) > _MOST_VALUES:
            raise ConfigError(
                f"--recipe: {path} holds more than {_MOST_VALUES:,} values where its anchors (&name, *name) are written out, "
                "or one that holds itself. Write out what is meant."
            )
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError, OSError) as error:  # ValueError: of a date or number, or not UTF-8
        raise ConfigError(f"--recipe: {path} is not readable as YAML: {shorten(' '.join(str(error).split()), 300)}") from error
    return _parse(path, content)


def named_models(options: Mapping[str, Any]) -> list[object]:
    """What `model` and `models` say, as YAML or the user gave it."""
    several = split_names(options.get("models"))
    named = (options.get("model"), *(several if isinstance(several, list | tuple) else (several,)))
    return [model for model in named if model is not None]


def _count(node: yaml.Node | None, counted: dict[yaml.Node, float]) -> float:
    """The values below a node of YAML, each as often as it is referred to; infinite where one holds itself.

    A few anchors of anchors stand for millions of values, which fill the memory once something writes them out or merges them.

    Args:
        counted: Node -> count, of those that were seen.
    """
    if not isinstance(node, yaml.CollectionNode):
        return 1
    if node not in counted:
        counted[node] = math.inf  # until its own values are counted
        inside = itertools.chain(*node.value) if isinstance(node, yaml.MappingNode) else node.value
        counted[node] = 1 + sum(_count(part, counted) for part in inside)
    return counted[node]


def _parse(path: Path, content: object) -> Recipe:
    where = f"--recipe: {path.name}:"
    if not isinstance(content, dict):
        raise ConfigError(f"{where} holds no mapping. Give at least 'options:' or 'strategies:'.")
    messages = [
        f"{where} " + unknown("key", str(key), ("description", "options", "strategies", "space"))
        for key in content
        if key not in ("description", "options", "strategies", "space")
    ]
    sections = {}
    for key in ("options", "strategies", "space"):
        value = content.get(key) or {}
        if not isinstance(value, dict):
            messages.append(f"{where} {key!r} must hold key: value lines, not {shorten(repr(value))}.")
            value = {}
        sections[key] = value
    messages += _misnamed(where, sections["options"], configs.MainConfig)
    for name, own in sections["strategies"].items():
        entry = shorten(str(name))
        if own is not None and not isinstance(own, dict):
            messages.append(f"{where} strategy {entry!r} must hold key: value lines, not {shorten(repr(own))}.")
            continue
        messages += [f"{where} {entry!r} cannot name an entry: {reason}. Name it otherwise." for reason in _flaws(str(name))]
        strategy = (own or {}).get(_STRATEGY, "")
        if not isinstance(strategy, str):
            messages.append(f"{where} 'strategy' of {entry!r} must be a strategy's name, not {shorten(repr(strategy))}.")
        messages += _misnamed(where, own or {}, configs.TrainConfig)
        for part in (_ARGUMENTS, _SPACE):
            if not isinstance((own or {}).get(part) or {}, dict):
                messages.append(f"{where} {part!r} of strategy {entry!r} must hold key: value lines.")
    if messages:
        raise ConfigError(*messages)
    spaces = {name: (own or {}).get(_SPACE) or {} for name, own in sections["strategies"].items()}
    try:
        space = _parse_space(sections["space"])
        own_spaces = {str(name): _parse_space(own) for name, own in spaces.items() if own}
    except ConfigError as error:
        raise ConfigError(*(f"{where} {message}" for message in error.messages)) from error
    return Recipe(
        name=path.stem,
        description=" ".join(str(content.get("description", "")).split()),
        options=sections["options"],
        strategies={str(name): own or {} for name, own in sections["strategies"].items()},
        space=space,
        own_spaces=own_spaces,
    )


def _flaws(name: str) -> list[str]:
    """Why an entry cannot be called so; empty where it can."""
    if "," in name or not name.strip():
        return ["--strategies separates names by commas"]
    if not any(character.isalnum() for character in name):  # of `!?` no file name is left, and `..` names another folder
        return ["files are called after it, so it needs a letter or a digit"]
    if len(name) > _LONGEST_NAME:
        return [f"it has {len(name):,} characters, and tables and pictures have room for {_LONGEST_NAME}"]
    return []


def _parse_space(given: Mapping[Any, object]) -> dict[str, Range]:
    return {str(name): parse_range(str(name), values) for name, values in given.items()}


def _settable(cls: type[configs.StageConfig]) -> set[str]:
    return set(describe_fields(cls)) - configs.DECLARED - operational_options(cls)


def _misnamed(where: str, given: Mapping[Any, Any], cls: type[configs.StageConfig]) -> list[str]:
    """What cannot stand among the options of a study, or of one of its entries.

    Args:
        cls: Of a study, or of a training, which an entry is.
    """
    of_entry = cls is configs.TrainConfig
    available = _settable(cls) | ({_STRATEGY, _ARGUMENTS, _SPACE} if of_entry else set())
    return [f"{where} {_why_misnamed(str(key), available, of_entry)}" for key in given if key not in available]


def _why_misnamed(name: str, available: set[str], of_entry: bool) -> str:
    if of_entry and name in _settable(configs.MainConfig):
        return f"{name!r} is of the whole study: write it below 'options:'."
    if not of_entry and name in (_STRATEGY, _ARGUMENTS):
        return f"{name!r} is of one entry: write it below 'strategies:'."
    if name == "strategies":
        return f"{name!r} stands beside 'options:', not below it."
    if name in describe_fields(configs.MainConfig).keys() - configs.INTERNAL:
        return f"{name!r} is no part of a study: give it on the command line ({flag(name)})."
    return unknown("option", name, available)
