"""Any value of any option, any strategy arguments and any recipe end in a config or in a message."""

from pathlib import Path

import pytest
import yaml
from hypothesis import event, example, given
from hypothesis import strategies as st

from pipeline.config.fields import as_dict, describe_fields
from pipeline.config.options import STAGE_CONFIGS, is_typed
from pipeline.errors import PipelineError
from pipeline.recipes.recipe import load_recipe
from pipeline.stages.configure import configure, configure_strategy
from pipeline.strategies.base import list_strategies

NASTY = [
    "",
    " ",
    "-1",
    "0",
    "1",
    "1e999",
    "nan",
    "inf",
    "1_0",
    "٣",
    "0x10",
    "true",
    "no",
    "none",
    "None",
    "[]",
    "[",
    "=",
    ",",
    "\0",
]
NASTY += [
    "\ud800",
    "🙂",
    "\u202e",
    "a" * 5000,
    "1" * 5000,
    "random",
    "official",
    "full",
    "lora",
    "sst2",
    "quickstart",
    "x.csv",
    "../..",
]
VALUES = st.sampled_from(NASTY) | st.text(max_size=8)
ARGUMENTS = st.lists(
    st.sampled_from(["top_k", "r", "alpha", "targets", "num_virtual_tokens", "=", ",", "[", "]", "1", "-1", "x", "query", " "])
    | VALUES,
    max_size=8,
).map("".join)
STAGES = {stage: [name for name in describe_fields(cls) if is_typed(name)] for stage, cls in STAGE_CONFIGS.items()}
YAML = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["lora", "1e-4", "none", "random"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["options", "strategies", "space", "strategy_args", "description", "lora", "partial", "r", "top_k", "epochs"]
            )
            | st.sampled_from(
                ["learning_rate", "dataset", "train_file", "test_file", "labels", "split", "batch_size", "cache_dir"]
            )
            | st.text(max_size=3)
            | st.integers(),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recipes")


def configure_or_refuse(stage: str, given: dict[str, str]) -> None:
    try:
        config = configure(STAGE_CONFIGS[stage], given)
    except PipelineError as error:
        refused: PipelineError | None = error
    else:
        refused = None
    event("refused" if refused else "configured")
    if refused:
        assert refused.exit_status == 2
        assert refused.messages
        assert all(len(message) < 3000 for message in refused.messages)
        str(refused).encode()
        return
    assert type(config)(**as_dict(config)) == config
    if stage == "main":
        for strategy in list_strategies():
            try:
                configure_strategy(config, strategy)
            except PipelineError as error:
                event(f"{type(error).__name__} of a strategy")


def test_there_are_stages_with_options() -> None:
    assert {"train", "main"} <= set(STAGES)
    assert "train_file" in STAGES["train"]


@given(st.data())
def test_any_values_of_options(data: st.DataObject) -> None:
    stage = data.draw(st.sampled_from(sorted(STAGES)))
    configure_or_refuse(stage, data.draw(st.dictionaries(st.sampled_from(STAGES[stage]), VALUES, max_size=3)))


@given(st.sampled_from(list_strategies()), ARGUMENTS)
@example("lora", "r=" + "1" * 5000)
@example("lora", "targets=[[a],b]")
@example("partial", "top_k=1,top_k=2")
def test_any_strategy_arguments(strategy: str, arguments: str) -> None:
    configure_or_refuse("train", {"strategy": strategy, "strategy_args": arguments})


@given(
    content=YAML,
    stage=st.sampled_from(["train", "main", "tune", "prepare_data"]),
    strategy=st.sampled_from(["lora", "partial"]),
)
def test_any_recipe(folder: Path, content: object, stage: str, strategy: str) -> None:
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    configure_or_refuse(stage, {"recipe": str(path)} | ({"strategy": strategy} if "strategy" in STAGES[stage] else {}))


@given(st.binary(max_size=60) | st.text("{}[]:-&*!|>'\"%@`# \nab1\t\0", max_size=40).map(str.encode))
@example(b"a: &a [*a, *a]")
@example(b"[" * 2000)
@example(b"? {a: b}\n: c")
@example(b"options: !!python/object:os.system {}")
@example(b"options: {epochs: 2001-01-01}")
@example(b"a: 1\na: 2")
def test_any_recipe_file(folder: Path, content: bytes) -> None:
    path = folder / "bytes.yaml"
    path.write_bytes(content)
    try:
        load_recipe(str(path))
    except PipelineError as error:
        event(type(error).__name__)
    configure_or_refuse("main", {"recipe": str(path)})


@given(VALUES | st.text())
def test_any_recipe_name(name: str) -> None:
    configure_or_refuse("train", {"recipe": name, "strategy": name})
