"""What `--fair` makes equal, and what it says of the rest."""

import bisect
import shutil

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from transformers import BertConfig, BertForSequenceClassification, EuroBertConfig, EuroBertForSequenceClassification

from pipeline.config import MainConfig
from pipeline.stages.configure import configure
from pipeline.stages.search.plan import plan_search, search_config
from pipeline.stages.study import fair
from pipeline.stages.study.fair import TOLERANCE, _nearest
from pipeline.stages.study.plan import find_doubts, plan_study
from pipeline.strategies.methods.sparse_updates import Fourierft

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture
def plan_of(tiny, tmp_path, monkeypatch):
    """Given options and entries of a recipe, the plan of the study on a tiny BERT."""
    rows = [f"{text} {number},{label}" for number in range(40) for label, text in enumerate(("dull", "fine"))]
    (tmp_path / "reviews.csv").write_text("\n".join(["text,label", *rows]))
    monkeypatch.chdir(tmp_path)

    def plan(strategies, **options):
        own = {"model": str(tiny.folder()), "dataset": "reviews.csv", "precision": "fp32", "epochs": 1}
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"options": own, "strategies": strategies}, sort_keys=False))
        return plan_study(configure(MainConfig, {"recipe": "mine.yaml", **options}))

    return plan


def arguments_of(plan):
    return {inputs.config.title: inputs.config.strategy_args for inputs in plan.strategies}


def test_all_adapters_are_put_on_the_layers_of_lora(plan_of):
    plan = plan_of({name: {} for name in ("lora", "dora", "hra", "full", "tfidf")}, fair="targets")
    targets = {name: arguments.get("targets") for name, arguments in arguments_of(plan).items()}
    assert targets == {"lora": ["all-linear"], "dora": ["all-linear"], "hra": ["all-linear"], "full": None, "tfidf": None}
    said = " ".join(plan.made_fair)
    assert "lora, dora, hra adapt all-linear, as lora does." in said
    assert "--fair leaves full, tfidf as they are" in said
    own = {"lora": {"strategy_args": {"targets": ["query"]}}, "hra": {}, "dora": {"strategy_args": {"targets": ["value"]}}}
    plan = plan_of(own, fair="targets")
    assert {name: arguments["targets"] for name, arguments in arguments_of(plan).items()} == {
        "lora": ["query"],
        "hra": ["query"],
        "dora": ["value"],
    }
    assert "dora (value, by the recipe)" in " ".join(plan.made_fair)


def test_as_many_parameters_train_as_of_lora(plan_of):
    names = ["lora", "dora", "loha", "miss", "adalora", "fourierft", "bottleneck", "ptuning", "vera", "full"]
    plan = plan_of({name: {} for name in names}, fair="both")
    (chosen,) = [note for note in plan.made_fair if "as many parameters train" in note]
    numbers = {}
    for part in chosen.partition(": as many parameters train as of lora, ")[2].partition(": ")[2].rstrip(".").split("; "):
        name, _, number = part.partition(" ")
        numbers[name] = int(number.rpartition(" ")[2].replace(",", ""))
    wanted = numbers["lora"]
    assert set(numbers) == set(names) - {"full"}
    off = {name for name, number in numbers.items() if abs(number / wanted - 1) > TOLERANCE}
    assert off == {"bottleneck", "vera"}, "which are small here at any size"
    first, second = plan.left_unfair
    assert first.startswith("--fair: bottleneck reduction_factor=1 trains ")
    assert second.startswith("--fair: vera r=32 trains ")
    assert second.endswith(f"of lora's {wanted:,}, the nearest that it can.")
    assert second in find_doubts(plan)
    assert "--fair leaves full as they are: none of their arguments sets" in " ".join(plan.made_fair)
    assert arguments_of(plan)["loha"]["r"] == 4, "which has two such products"


def test_sizes_that_some_layers_cannot_have_are_not_tried(plan_of, tiny, tmp_path):
    """As ModernBERT's: the feed-forward layers are one and a half times as wide, not four times."""
    folder = tmp_path / "odd"
    shutil.copytree(tiny.folder(), folder)
    config = BertConfig.from_pretrained(folder)
    config.intermediate_size = config.hidden_size * 3 // 2
    BertForSequenceClassification(config).save_pretrained(folder)
    sizes = {"c3a": {"block_size": 8}, "oft": {"block_size": 8}, "boft": {}}
    entries = {name: {"strategy_args": arguments} for name, arguments in sizes.items()}
    plan = plan_of({"lora": {}, **entries}, fair="both", model=str(folder))
    assert [inputs.config.title for inputs in plan.strategies] == ["lora", *sizes]
    plan = plan_of({"lora": {}, "boft": {}}, fair="both", model=str(folder))
    assert arguments_of(plan)["boft"]["block_size"] in (2, 4, 8, 16)


def test_layers_that_a_config_does_not_describe_are_looked_at_too(plan_of, tiny, tmp_path):
    """EuroBERT's values are narrower than its queries in its larger models."""
    folder = tmp_path / "narrow"
    shutil.copytree(tiny.folder(), folder)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "max_position_embeddings": 64}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    config = EuroBertConfig(vocab_size=200, pad_token_id=0, **sizes, **heads)
    EuroBertForSequenceClassification(config).save_pretrained(folder)
    names = ("lora", "shira", "fourierft")
    chosen = arguments_of(plan_of({name: {} for name in names}, fair="parameters", model=str(folder)))
    assert set(chosen) == set(names)
    assert 1 <= chosen["shira"]["r"] <= 32 * 16 // (32 + 16)
    assert 1 <= chosen["fourierft"]["n_frequency"] <= 32 * 16


def test_a_number_that_hardly_decides_how_many_train_stays(plan_of):
    plan = plan_of({"lora": {}, "prefix": {}}, fair="parameters")
    assert arguments_of(plan)["prefix"].get("num_virtual_tokens", 20) == 20
    assert "--fair leaves prefix as they are" in " ".join(plan.made_fair)
    direct = {"prefix": {"strategy_args": {"projection": False}}}
    assert arguments_of(plan_of({"lora": {}, **direct}, fair="parameters"))["prefix"]["num_virtual_tokens"] > 20


def test_sizes_are_not_tried_one_by_one_where_they_are_very_many(plan_of, monkeypatch):
    asked, checked = [], Fourierft.checked_phases
    monkeypatch.setattr(Fourierft, "checked_phases", lambda self, context: asked.append(self) or checked(self, context))
    monkeypatch.setattr(fair, "_MANY", 100)
    assert arguments_of(plan_of({"lora": {}, "fourierft": {}}, fair="parameters"))["fourierft"]["n_frequency"] > 100
    assert len(asked) < 100


def test_the_number_of_lora_is_that_of_its_own_row(plan_of, tiny):
    """RoBERTa's own head trains more than the mean of tokens, which is what setfit takes."""
    options = {"fair": "parameters", "model": str(tiny.folder("roberta"))}
    first, last = (
        plan_of({name: {} for name in names}, **options) for names in (("setfit", "lora", "dora"), ("lora", "dora", "setfit"))
    )
    assert arguments_of(first)["dora"] == arguments_of(last)["dora"]
    assert (first.left_unfair, last.left_unfair) == ((), ())


def test_what_the_recipe_sets_stays_and_is_said_to_differ(plan_of):
    plan = plan_of({"lora": {}, "wide": {"strategy": "dora", "strategy_args": {"r": 2}}}, fair="parameters")
    assert arguments_of(plan)["wide"]["r"] == 2
    assert "wide r=2 trains" in plan.left_unfair[0]
    assert "as the recipe has it" in plan.left_unfair[0]


def test_what_was_chosen_is_not_searched(plan_of):
    plan = plan_of({"lora": {}, "dora": {}, "full": {}}, fair="parameters", tune="true", trials="2")
    spaces = {
        each.config.title: set(plan_search(search_config(plan.config, each.config)).space.ranges) for each in plan.strategies
    }
    assert spaces == {"lora": {"learning_rate"}, "dora": {"learning_rate"}, "full": {"learning_rate"}}


def test_nothing_is_changed_unless_asked(plan_of):
    plan = plan_of({"dora": {}}, fair="no")
    assert (plan.made_fair, plan.left_unfair) == ((), ())
    assert arguments_of(plan)["dora"]["targets"] == ["query-value"]


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=60, unique=True).map(sorted), st.integers(1, 10**6))
def test_the_nearest_size_is_found(counts, wanted):
    found = _nearest(range(len(counts)), wanted, counts.__getitem__)
    place = bisect.bisect(counts, wanted)
    nearest = min(abs(counts[near] - wanted) for near in (place - 1, place) if 0 <= near < len(counts))
    assert abs(counts[found] - wanted) == nearest
