"""Every strategy and head in every format: what is written answers as the model did, and what has no place is refused."""

import json
from fnmatch import fnmatchcase

import numpy as np
import pytest

from pipeline.errors import ConfigError, DamagedModelError
from pipeline.evaluation.multi_label import MultiLabelTask
from pipeline.hashing import hash_file
from pipeline.modeling.model_sources import hash_files
from pipeline.stages import export
from pipeline.stages.exporting.format import find_format, list_written
from pipeline.stages.exporting.formats import onnx as onnx_format
from pipeline.stages.exporting.onnx_model import find_onnx_folder, load_onnx_folder
from pipeline.strategies.adapters import LinearAdapter
from pipeline.strategies.base import create_strategy, list_encoder_strategies
from pipeline.training.saved_model import load_model_folder

EXACT = 5e-6
"""Rounding: merged adapters, and sums in another order. Logits are of about 1."""
TEXTS = ["a fine film", "dull", "a plain story of a film " * 20]

ADAPTERS = [
    name
    for name in list_encoder_strategies()
    if isinstance(strategy := create_strategy(name, {}), LinearAdapter) and not strategy.packages
]
SMALLER = {
    "c3a": {"block_size": 8},
    "fourierft": {"n_frequency": 20},
    "oft": {"block_size": 8},
    "road": {"group_size": 8},
    "waveft": {"n_frequency": 20},
}
"""Arguments that fit tiny layers."""
UNLIKE_LORA = {"boft", "c3a", "pissa", "randlora", "shira"}
"""Whose updates are kept, or merged, otherwise; the others are tried by the slow tests."""
CHANGE_THE_BASE = {"pissa": "pissa changes the frozen weights, too, which no adapter holds"}


@pytest.mark.parametrize(
    "strategy", [pytest.param(name, marks=() if name in UNLIKE_LORA else pytest.mark.slow) for name in ADAPTERS]
)
def test_every_adapter_is_merged_and_handed_to_peft(save, exported, strategy):
    folder = save(strategy, SMALLER.get(strategy))
    assert exported(folder, "transformers", output="merged").difference <= EXACT
    if strategy in CHANGE_THE_BASE:
        with pytest.raises(ConfigError, match=CHANGE_THE_BASE[strategy]):
            exported(folder, "peft", output="adapter")
    else:
        assert exported(folder, "peft", output="adapter").difference <= EXACT


def not_listed(names):
    """Which of them an upload of another format would leave."""
    return [name for name in names if not any(fnmatchcase(name, pattern) for pattern in list_written())]


def test_what_an_upload_deletes_is_nobody_else_s():
    assert {"adapter_config.json", "model.safetensors", "model.onnx", "labels.json", "README.md"} <= set(list_written())
    assert not not_listed(["model-00001-of-00002.safetensors", "model.onnx.data"])
    others = ["notes.txt", "LICENSE", "model-of-mine.safetensors", "onnx/model.onnx", "plots/curve.png", "training_args.bin"]
    assert not_listed(others) == others


def test_adapters_were_found():
    assert {"lora"} | UNLIKE_LORA < set(ADAPTERS)


@pytest.mark.parametrize(
    ("strategy", "formats"),
    [
        ("full", ["transformers", "onnx"]),
        ("random_subset", ["transformers", "onnx"]),
        ("lora", ["transformers", "peft", "onnx"]),
        ("vera", ["transformers", "peft"]),
        ("ia3", ["transformers", "peft"]),
        ("prefix", ["peft", "onnx"]),
        ("prompt", ["peft", "onnx"]),
        ("bottleneck", ["onnx"]),
    ],
)
def test_what_is_written_answers_as_the_model(save, exported, strategy, formats):
    folder = save(strategy)
    before = load_model_folder(folder).predict(TEXTS)
    for form in formats:
        result = exported(folder, form, output=form)
        assert result.difference <= EXACT, form
        files = {path.name for path in result.output.iterdir()}
        assert {"README.md", "labels.json", "checksums.json", "tokenizer.json"} <= files
        assert not not_listed(files), "they would stay where another format is uploaded"
        assert len({path.stat().st_mode for path in result.output.iterdir()}) == 1, "all can be read by whom one can"
        if form == "onnx":
            assert find_onnx_folder(result.output) == result.output
            np.testing.assert_allclose(load_onnx_folder(result.output).predict(TEXTS), before, atol=EXACT)
    np.testing.assert_array_equal(load_model_folder(folder).predict(TEXTS), before)


@pytest.mark.parametrize(
    ("family", "strategy", "formats"),
    [
        ("roberta", "lora", ["transformers", "peft", "onnx"]),
        ("deberta-v2", "lora", ["transformers", "peft", "onnx"]),
        ("distilbert", "full", ["transformers", "onnx"]),
        ("modernbert", "lora", ["transformers", "onnx"]),
        ("mpnet", "full", ["transformers", "onnx"]),
    ],
)
def test_of_other_families_too(save, exported, family, strategy, formats):
    folder = save(strategy, family=family)
    for form in formats:
        result = exported(folder, form, output=form)
        assert result.difference <= EXACT, form
        assert not not_listed(path.name for path in result.output.iterdir())


@pytest.mark.parametrize("head", ["mean", "attention", "mlp"])
def test_a_head_of_ours_goes_into_a_graph_alone(save, exported, head):
    folder = save("lora", head=head)
    for form in ("transformers", "peft"):
        message = f"--format {form}: .*--head {head} is none that transformers has. Give --format onnx or onnx-int8, which has"
        with pytest.raises(ConfigError, match=message):
            exported(folder, form)
    assert exported(folder, "onnx").difference <= EXACT


@pytest.mark.parametrize(
    ("strategy", "form", "reason", "ways"),
    [
        ("prefix", "transformers", "prefix puts virtual tokens before the text", "onnx or onnx-int8 or peft"),
        ("prompt", "transformers", "prompt puts virtual tokens before the text", "onnx or onnx-int8 or peft"),
        ("bottleneck", "transformers", "bottleneck puts layers of its own", "onnx or onnx-int8"),
        ("bottleneck", "peft", "bottleneck makes no adapter of peft", "onnx or onnx-int8"),
        ("bitfit", "peft", "bitfit makes no adapter of peft", "onnx or onnx-int8 or transformers"),
    ],
)
def test_what_has_no_place_is_refused_with_a_format_that_has(save, exported, tmp_path, strategy, form, reason, ways):
    with pytest.raises(ConfigError, match=rf"--format {form}: has no place for this model: {reason}.*Give --format {ways}, "):
        exported(save(strategy), form)
    assert not (tmp_path / "out").exists()


def test_what_trained_outside_the_adapter_is_not_left_out(save, exported):
    folder = save("lora", pooler=False)  # the pooler is new, so it trains as a whole
    with pytest.raises(
        ConfigError, match=r"bert.pooler.dense.\w+ trained, which stands outside the adapter. Give --format onnx"
    ):
        exported(folder, "peft")
    assert exported(folder, "transformers").difference <= EXACT


@pytest.mark.parametrize("objective", ["bi_encoder", "classification"])
def test_pairs_of_texts(save, exported, objective):
    folder = save("lora", objective=objective, pairs=True, validation={"threshold": 0.25} if objective == "bi_encoder" else {})
    if objective == "bi_encoder":
        with pytest.raises(ConfigError, match=r"--objective bi_encoder compares two texts.*Give --format onnx or onnx-int8"):
            exported(folder, "transformers")
    else:
        assert exported(folder, "transformers", output="plain").difference <= EXACT
    result = exported(folder, "onnx")
    assert result.difference <= EXACT
    about = json.loads((result.output / "labels.json").read_text())
    assert about["pairs"] is True
    assert about.get("threshold") == (0.25 if objective == "bi_encoder" else None)


def test_thresholds_stand_where_libraries_do_not_apply_them(save, exported):
    folder = save("full", multi=True, validation={"threshold_1": 0.3, "threshold_2": 0.5})
    assert isinstance(load_model_folder(folder).task, MultiLabelTask)
    output = exported(folder, "transformers").output
    config = json.loads((output / "config.json").read_text())
    assert config["problem_type"] == "multi_label_classification"
    assert config["id2label"] == {"0": "bad", "1": "good"}
    assert config["fairtune"]["thresholds"] == json.loads((output / "labels.json").read_text())["thresholds"] == [0.3, 0.5]
    assert "libraries do not apply them: `bad` 0.3, `good` 0.5" in (output / "README.md").read_text()


def test_a_threshold_between_two_classes_is_said_and_kept(save, exported):
    output = exported(save("full", validation={"threshold": 0.75}), "onnx").output
    assert "`good` is the answer from its probability of 0.75 on" in (output / "README.md").read_text()
    assert load_onnx_folder(output).task.threshold == 0.75


def test_long_texts_are_read_in_windows_by_us_and_that_is_said(save, exported):
    folder = save("full", long_texts="windows")
    output = exported(folder, "onnx").output
    np.testing.assert_allclose(load_onnx_folder(output).predict(TEXTS), load_model_folder(folder).predict(TEXTS), atol=EXACT)
    assert "Long texts were read by `--long-texts windows`" in (output / "README.md").read_text()


def test_int8_is_smaller_and_near(save, exported):
    folder = save("lora")
    whole, small = exported(folder, "onnx", output="whole"), exported(folder, "onnx-int8", output="small")
    sizes = [(result.output / "model.onnx").stat().st_size for result in (whole, small)]
    assert sizes[1] < sizes[0]
    assert 0 < small.difference < 0.5
    loaded = load_onnx_folder(small.output)
    assert loaded.name == "lora (onnx-int8)"
    assert loaded.size_metrics["cost/artifact_mb"] == pytest.approx(sizes[1] / 2**20)


def test_weights_in_hundreds_of_files_become_one_beside_the_graph(save, exported, monkeypatch):
    """As the exporter writes them of more than 2 GB."""
    import onnx

    folder, write = save("lora"), onnx_format._write_graph
    plain = exported(folder, "onnx", output="plain").output
    assert load_onnx_folder(plain).sha256 == hash_file(plain / "model.onnx"), "as it was before there were others"

    def write_many(model, batch, file, paired):
        write(model, batch, file, paired)
        graph = onnx.load(file)
        onnx.save_model(graph, file, save_as_external_data=True, all_tensors_to_one_file=False, size_threshold=0)
        assert len([*file.parent.iterdir()]) > 20

    monkeypatch.setattr(onnx_format, "_write_graph", write_many)
    sizes = []
    for form in ("onnx", "onnx-int8"):
        result = exported(folder, form, output=form)
        assert result.difference <= (EXACT if form == "onnx" else 0.5)
        paths = [*result.output.iterdir()]
        assert all(path.is_file() for path in paths)
        assert not not_listed(path.name for path in paths)
        files = [result.output / "model.onnx", result.output / "model.onnx.data"]
        loaded = load_onnx_folder(result.output)
        assert loaded.sha256 == hash_files(files)
        sizes.append(sum(path.stat().st_size for path in files) / 2**20)
        assert loaded.size_metrics["cost/artifact_mb"] == pytest.approx(sizes[-1])
    assert sizes[1] < sizes[0]


def test_nothing_of_this_machine_stands_in_a_graph_s_folder(save, exported, tiny):
    output = exported(save("lora"), "onnx").output
    assert not [path.name for path in output.iterdir() if str(tiny.root).encode() in path.read_bytes()]


def test_what_stands_there_is_only_replaced_if_export_wrote_it(save, exported, tmp_path):
    folder = save("bitfit")
    (tmp_path / "out").mkdir()
    exported(folder, "transformers")
    with pytest.raises(ConfigError, match=r"holds an exported model already\. Name another folder, or add --force true"):
        exported(folder, "transformers")
    exported(folder, "onnx", force=True)
    assert not (tmp_path / "out" / "model.safetensors").exists()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="holds files that export did not write"):
        exported(folder, "onnx", force=True)
    (tmp_path / "out" / "notes.txt").unlink()
    (tmp_path / "out" / "labels.json").write_text("{}")
    with pytest.raises(ConfigError, match="or that were changed since"):
        exported(folder, "onnx", force=True)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="--output link: is a link"):
        exported(folder, "onnx", output="link")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".cache", "link", "out"]


def test_a_failure_leaves_what_was_there(save, exported, tmp_path, monkeypatch):
    folder = save("bitfit")
    exported(folder, "transformers")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}

    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(export, "write_card", stop)
    with pytest.raises(KeyboardInterrupt):
        exported(folder, "transformers", force=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [".cache", "out"]


def test_a_damaged_graph_is_not_run(save, exported):
    output = exported(save("bitfit"), "onnx").output
    with (output / "model.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(DamagedModelError, match=r"model\.onnx is missing or damaged"):
        load_onnx_folder(output)


def test_a_format_whose_package_is_missing_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    message = r"--format onnx: needs onnx and onnxruntime\. Run `pip install '\.\[onnx\]'` in the project's folder, or choose"
    with pytest.raises(ConfigError, match=message):
        find_format("onnx")
