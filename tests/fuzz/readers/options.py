"""Options as they are typed, recipes, and the spaces in them."""

from __future__ import annotations

import json

from pipeline.config.fields import as_dict, describe_fields
from pipeline.config.identity import settings_hash
from pipeline.config.options import STAGE_CONFIGS, is_typed
from pipeline.config.search_ranges import find_end
from pipeline.errors import PipelineError
from pipeline.recipes import FOLDER, list_recipes
from pipeline.recipes.recipe import load_recipe
from pipeline.stages.configure import configure, configure_strategy
from pipeline.strategies.base import list_strategies
from pipeline.tuning.space import SEARCHABLE, Space

from ..reader import Reader, Room

_STAGES = sorted(STAGE_CONFIGS)
_NAMES = {stage: [name for name in describe_fields(STAGE_CONFIGS[stage]) if is_typed(name)] for stage in _STAGES}


def _read_options(content: bytes, room: Room) -> None:
    """A stage in the first line, an option and its value in each other; bytes that are no UTF-8 come as from a terminal."""
    stage, *lines = content.decode("utf-8", "surrogateescape").split("\n")
    stage = stage if stage in STAGE_CONFIGS else _STAGES[len(stage) % len(_STAGES)]
    given = {name: value for name, _, value in (line.partition("=") for line in lines) if name in _NAMES[stage]}
    config = configure(STAGE_CONFIGS[stage], given)
    assert type(config)(**as_dict(config)) == config
    settings_hash(config)


def _option_seeds() -> list[bytes]:
    return [
        b"main\nstrategies=full,lora\nseeds=5\ntune=true\nbudget_train_seconds=60\nsplit_ratios=0.7,0.1,0.2",
        b"train\nstrategy=lora\nstrategy_args=r=16,alpha=32,targets=[query,value]\nlearning_rate=1e-4\nclass_weights=balanced",
        b"train\ndataset=a.csv\nlabels=neg,pos\ndelimiter=tab\nacceleration=off\nwindow_overlap=0.5\nlong_texts=windows",
        b"tune\nsampler=tpe\ntrials=4\nspace=study\nmetric_for_best_model=f1_macro",
        b"evaluate\nrun_id=0123456789abcdef0123456789abcdef\nforce=True",
        b"compare\nstudy=all\nranking_metric=kappa",
        b"train\nloss=focal\nfocal_gamma=2\nlabel_smoothing=0.1\nthreshold=f1\nmodel_labels=a,b",
    ]


def _option_words() -> list[str]:
    names = sorted({name for stage in _STAGES for name in _NAMES[stage]})
    return [*_STAGES, *(f"\n{name}=" for name in names), *list_strategies(), "1e999", "nan", "none", "[", "]", "\ud800", "٣"]


def _read_recipe(content: bytes, room: Room) -> None:
    """A recipe, the study and every training that it asks for, and what it would search."""
    file = room.given / "recipe.yaml"
    file.write_bytes(content)
    recipe = load_recipe(str(file))
    for entry in list(recipe.strategies)[:2]:
        _walk(Space(recipe.space_for(entry)))
    config = configure(STAGE_CONFIGS["main"], {"recipe": str(file)})
    refused = None
    for entry in list(recipe.strategies)[:2]:
        try:
            configure_strategy(config, entry)
        except PipelineError as error:
            refused = error
    if refused:
        raise refused


def _recipe_seeds() -> list[bytes]:
    shipped = [(FOLDER / f"{name}.yaml").read_bytes() for name in list_recipes()]
    return [
        *(content for content in shipped if len(content) < 3000),
        b"options: {dataset: a.csv, epochs: 2, labels: [a, b]}\n"
        b"strategies:\n  lora: {strategy_args: {r: 4}, learning_rate: 1e-4}\n"
        b"  half: {strategy: partial, strategy_args: {top_k: 2}}\n",
        b"&a a: &b [*b]\n",
        b'{"options": {"epochs": 2, "split_ratios": [0.8, 0.1, 0.1]}, "strategies": {"full": null}}',
    ]


def _recipe_words() -> list[str]:
    names = sorted(describe_fields(STAGE_CONFIGS["train"]))
    return [*names, "options:", "strategies:", "space:", "strategy_args:", "integers", "log_uniform", "!!", "&a", "*a", "<<:"]


def _read_space(content: bytes, room: Room) -> None:
    """The space of a recipe, and the points of it."""
    file = room.given / "recipe.yaml"
    file.write_bytes(b"space:\n  " + content.replace(b"\n", b"\n  "))
    _walk(Space(load_recipe(str(file)).space))


def _walk(space: Space) -> None:
    json.dumps(space.describe())
    size = space.size
    for number in range(min(4, 4 if size is None else size)):
        point = space.draw(number, 0)
        for name, value in point.items():
            find_end(space.ranges[name], value)
    for ends in space.ranges.values():
        ends.probes()
    if size:
        space.point(size - 1)
    space.check_names("lora")


def _space_seeds() -> list[bytes]:
    return [
        b"learning_rate: [1e-5, 2e-5, 5e-5]\nepochs: {integers: [1, 4]}\nweight_decay: {log_uniform: [1e-4, 1e-1]}",
        b"r: [4, 8]\ntargets: [[query], [query, value]]\ndropout: [0.1, 0.2, 0.3]",
        b"learning_rate: {log_uniform: [0.1, 0.1]}\nbatch_size: [8, 8.0]",
        b'{"r": {"integers": [0, 0]}, "alpha": ["1e5", true, null]}',
    ]


def _space_words() -> list[str]:
    return [*sorted(SEARCHABLE), "{integers: [", "{log_uniform: [", "]}", "1e308", ".inf", ".nan", "0x", "2001-01-01", "- "]


def _read_recipe_name(content: bytes, room: Room) -> None:
    load_recipe(content.decode("utf-8", "surrogateescape"))


READERS = (
    Reader("options", _read_options, _option_seeds, _option_words),
    Reader("recipe", _read_recipe, _recipe_seeds, _recipe_words),
    Reader("search space", _read_space, _space_seeds, _space_words),
    Reader("recipe name", _read_recipe_name, lambda: [b"sst2", b"a/b.yaml", b"\0", b"/dev/null"], lambda: list(list_recipes())),
)
