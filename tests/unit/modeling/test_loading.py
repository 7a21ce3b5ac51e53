"""Model folders as they come, and what is wrong with those that cannot be used."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from sentencepiece import SentencePieceProcessor
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification

from pipeline.data.tokenization import clamp_length
from pipeline.errors import ModelError
from pipeline.modeling.family import list_model_types
from pipeline.modeling.loading import LoadedModel, check_weights, load_classifier, load_tokenizer
from pipeline.modeling.model_sources import check_files, find_model

FAMILIES = list_model_types()
ENCODER = ("embeddings", "layer", "pooler")
TEXT = "the film was great"


@pytest.fixture
def copy(tiny, tmp_path: Path) -> Callable[..., Path]:
    """A copy of a tiny checkpoint, to be changed."""

    def make(family: str = "bert", pooler: bool = True) -> Path:
        return Path(shutil.copytree(tiny.folder(family, pooler), tmp_path / f"my-{family}"))

    return make


def load(folder: Path) -> LoadedModel:
    return load_classifier(find_model(str(folder)), ["bad", "good"], dropout=0.0, seed=0)


def encoder_weights(folder: Path) -> dict[str, torch.Tensor]:
    encoder = find_model(str(folder)).encoder
    return {name: value for name, value in load(folder).model.state_dict().items() if encoder.locate(name).part in ENCODER}


def assert_equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert len(found) > 10
    assert all(torch.equal(found[name], expected[name]) for name in found)


def keep(folder: Path, *names: str) -> None:
    for file in folder.iterdir():
        if file.name not in names:
            file.unlink()


@pytest.mark.parametrize("family", FAMILIES)
def test_only_the_head_of_a_base_checkpoint_is_new(tiny, family: str) -> None:
    folder = tiny.folder(family)
    encoder = find_model(str(folder)).encoder
    loaded = load(folder)
    assert {encoder.locate(name).part for name in loaded.newly_initialised} == {"head"}
    checkpoint = AutoModel.from_pretrained(folder).state_dict()  # some are saved under their first names
    state = loaded.model.state_dict()
    found = {
        name: next(key for key in state if key.endswith(name)) for name in checkpoint if any(k.endswith(name) for k in state)
    }
    assert len(found) >= 0.9 * len(checkpoint), "names without the prefix of the family"
    assert all(torch.equal(state[key], checkpoint[name]) for name, key in found.items())


@pytest.mark.parametrize("family", FAMILIES)
def test_pytorch_weights_and_safetensors_are_the_same(copy, family: str) -> None:
    folder = copy(family)
    expected = encoder_weights(folder)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert_equal(encoder_weights(folder), expected)
    torch.save(torch.load(folder / "pytorch_model.bin"), folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    assert_equal(encoder_weights(folder), expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_head_of_another_size_is_replaced(copy, tmp_path: Path, family: str) -> None:
    folder = copy(family)
    expected = encoder_weights(folder)
    with_head = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=5, ignore_mismatched_sizes=True)
    with_head.save_pretrained(folder)
    loaded = load(folder)
    assert any(name.startswith("classifier") for name in loaded.newly_initialised)
    assert loaded.model(input_ids=torch.tensor([[5, 6, 7]])).logits.shape == (1, 2)
    assert_equal(encoder_weights(folder), expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_checkpoint_from_language_modelling_gives_its_encoder(copy, family: str) -> None:
    folder = copy(family)
    expected = {name: value for name, value in encoder_weights(folder).items() if "pooler" not in name}
    AutoModelForMaskedLM.from_pretrained(folder).save_pretrained(folder)
    found = {name: value for name, value in encoder_weights(folder).items() if "pooler" not in name}
    assert_equal(found, expected)


def test_the_old_names_of_layer_norms_are_understood(copy) -> None:
    folder = copy()
    expected = encoder_weights(folder)
    weights = load_file(folder / "model.safetensors")
    old = {
        n.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): w
        for n, w in weights.items()
    }
    assert old.keys() != weights.keys()
    save_file({f"bert.{name}": value for name, value in old.items()}, folder / "model.safetensors", {"format": "pt"})
    assert_equal(encoder_weights(folder), expected)


def test_half_precision_weights_become_float32(copy) -> None:
    folder = copy()
    weights = {name: value.half() for name, value in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(content | {"dtype": "float16"}))
    assert {parameter.dtype for parameter in load(folder).model.parameters()} == {torch.float32}


@pytest.mark.parametrize("family", ["bert", "distilbert", "electra"])
@pytest.mark.parametrize("files", [("vocab.txt",), ("tokenizer.json",)], ids=str)
def test_one_tokenizer_file_is_enough(copy, tiny, family: str, files: tuple[str, ...]) -> None:
    folder = copy(family)
    keep(folder, "config.json", "model.safetensors", *files)
    tokenizer = load_tokenizer(find_model(str(folder)))
    assert tokenizer(TEXT)["input_ids"] == load_tokenizer(find_model(str(tiny.folder(family))))(TEXT)["input_ids"]
    assert tokenizer.model_max_length > 1e29
    assert clamp_length(10_000, tokenizer, find_model(str(folder)).encoder.max_positions) == 64


@pytest.mark.parametrize("family", ["albert", "modernbert", "roberta", "xlm-roberta"])
def test_tokenizer_json_alone_is_enough(copy, tiny, family: str) -> None:
    folder = copy(family)
    keep(folder, "config.json", "model.safetensors", "tokenizer.json")
    tokenizer, whole = load_tokenizer(find_model(str(folder))), load_tokenizer(find_model(str(tiny.folder(family))))
    assert tokenizer(TEXT)["input_ids"] == whole(TEXT)["input_ids"]
    assert tokenizer.pad_token_id == whole.pad_token_id
    assert clamp_length(10_000, tokenizer, 64) == 64


def test_vocab_json_and_merges_are_enough_for_roberta(copy, tiny) -> None:
    folder = copy("roberta")
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    keep(folder, "config.json", "model.safetensors")
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{' '.join(pair)}\n" for pair in model["merges"]))
    expected = load_tokenizer(find_model(str(tiny.folder("roberta"))))(TEXT)["input_ids"]
    assert load_tokenizer(find_model(str(folder)))(TEXT)["input_ids"] == expected


@pytest.mark.parametrize("family", ["albert", "roberta", "xlm-roberta"])
def test_a_tokenizer_of_another_family_is_refused_until_it_is_named(copy, tiny, family: str) -> None:
    folder = copy(family)
    keep(folder, "config.json", "model.safetensors")
    shutil.copy(tiny.folder("bert") / "vocab.txt", folder)
    with pytest.raises(
        ModelError, match=r"its tokenizer knows 5 tokens, but config.json says that the model has .*tokenizer_class"
    ):
        load_tokenizer(find_model(str(folder)))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    assert load_tokenizer(find_model(str(folder)))(TEXT)["input_ids"] == [2, 115, 107, 117, 94, 3]


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(copy) -> None:
    folder = copy()
    keep(folder, "config.json", "model.safetensors", "vocab.txt")
    with (folder / "vocab.txt").open("a") as file:
        file.write("\none\nmore")
    with pytest.raises(ModelError, match=r"its tokenizer knows 202 tokens, but config.json says that the model has 200"):
        load_tokenizer(find_model(str(folder)))


@pytest.mark.parametrize("length", ["512", True, 0, -5, [1], {}])
def test_a_longest_input_that_is_no_length_is_refused(copy, length: object) -> None:
    folder = copy()
    content = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(content | {"model_max_length": length}))
    with pytest.raises(ModelError, match=r"model_max_length=.* such as 512, or leave it out|cannot be loaded from"):
        load_tokenizer(find_model(str(folder)))


@pytest.mark.parametrize(("family", "offset"), [("albert", 0), ("deberta-v2", 0), ("xlm-roberta", 1)])
def test_a_sentencepiece_model_alone_is_enough(copy, tiny, family: str, offset: int) -> None:
    folder = copy(family)
    keep(folder, "config.json", "model.safetensors")
    file = tiny.write_sentencepiece(folder, family)
    tokenizer = load_tokenizer(find_model(str(folder)))
    encoded = SentencePieceProcessor(str(file)).encode(TEXT)
    assert len(encoded) >= 3
    # XLM-RoBERTa's numbers are those of SentencePiece and one more, for its vocabulary has a padding token.
    assert tokenizer(TEXT)["input_ids"][1:-1] == [piece + offset for piece in encoded]
    assert tokenizer.convert_ids_to_tokens(tokenizer.pad_token_id) in ("<pad>", "[PAD]")
    check_weights(find_model(str(folder)))


@pytest.mark.parametrize("family", ["albert", "deberta-v2", "xlm-roberta"])
@pytest.mark.parametrize("text", ["the ﬁlm", "ｔｈｅ film", "the\u00a0film…", "the film\u200b is", " the  film\n", "the fiłm"])
def test_characters_are_mapped_as_sentencepiece_does(copy, tiny, family: str, text: str) -> None:
    folder = copy(family)
    keep(folder, "config.json", "model.safetensors")
    processor = SentencePieceProcessor(str(tiny.write_sentencepiece(folder, family)))
    tokenizer, pieces = load_tokenizer(find_model(str(folder))), processor.encode(text, out_type=str)
    assert [piece if processor.piece_to_id(piece) != processor.unk_id() else tokenizer.unk_token for piece in pieces] == (
        tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"])[1:-1]
    )
    tokenizer.save_pretrained(folder)
    keep(folder, "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
    assert load_tokenizer(find_model(str(folder)))(text)["input_ids"] == tokenizer(text)["input_ids"]


@pytest.mark.parametrize(
    ("family", "name"),
    [("albert", "spiece.model"), ("deberta-v2", "spm.model"), ("xlm-roberta", "sentencepiece.bpe.model")],
)
@pytest.mark.parametrize("content", [b"", b"pieces", b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n"])
def test_a_damaged_sentencepiece_model_is_refused(copy, family: str, name: str, content: bytes) -> None:
    folder = copy(family)
    keep(folder, "config.json", "model.safetensors")
    (folder / name).write_bytes(content)
    with pytest.raises(ModelError, match=rf"--model .*{family}.*(cannot be loaded from|its tokenizer knows)"):
        load_tokenizer(find_model(str(folder)))


def truncate(folder: Path) -> None:
    os.truncate(folder / "model.safetensors", 20_000)


def as_pytorch(folder: Path) -> Path:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return folder / "pytorch_model.bin"


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (truncate, r"model.safetensors is damaged: .* Download or copy it again"),
    "truncated pytorch": (lambda f: os.truncate(as_pytorch(f), 20_000), "pytorch_model.bin is damaged: it breaks off"),
    "empty": (lambda f: os.truncate(f / "model.safetensors", 0), "model.safetensors is empty"),
    "noise": (lambda f: (f / "model.safetensors").write_bytes(os.urandom(9000)), "model.safetensors is damaged"),
    "a pointer": (
        lambda f: (f / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n"),
        "is a Git LFS pointer, not the weights. Run `git lfs pull`",
    ),
    "none": (lambda f: (f / "model.safetensors").unlink(), "no weights in .* Needed: one of model.safetensors"),
    "a shard missing": (
        lambda f: (
            (f / "model.safetensors").rename(f / "model.safetensors.index.json").write_text('{"weight_map": {"a": "b.bin"}}')
        ),
        "b.bin is missing, though the index",
    ),
    "a broken index": (
        lambda f: (f / "model.safetensors").rename(f / "model.safetensors.index.json").write_text("[]"),
        "is not an index of weight files",
    ),
    "no tokenizer": (lambda f: keep(f, "config.json", "model.safetensors"), "no tokenizer in .* Needed: one of tokenizer.json"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_folders_are_refused_before_anything_is_loaded(copy, damage: str) -> None:
    folder = copy()
    check_files(find_model(str(folder)))
    apply, message = DAMAGES[damage]
    apply(folder)
    with pytest.raises(ModelError, match=f"--model .*{message}"):
        check_files(find_model(str(folder)))


def as_older_pickle(folder: Path) -> Path:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    (folder / "model.safetensors").unlink()
    return folder / "pytorch_model.bin"


def describe(folder: Path, **changes: object) -> None:
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(content | changes))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["safetensors", "pickle", "older pickle"])
def test_whole_weights_pass(copy, family: str, kind: str) -> None:
    folder = copy(family)
    {"safetensors": lambda f: f, "pickle": as_pytorch, "older pickle": as_older_pickle}[kind](folder)
    check_weights(find_model(str(folder)))


@pytest.mark.parametrize("missing", [4, 100, 150_000])
def test_an_older_pickle_that_breaks_off_is_refused(copy, missing: int) -> None:
    file = as_older_pickle(copy())
    os.truncate(file, file.stat().st_size - missing)
    with pytest.raises(ModelError, match=r"cannot be loaded from .* Download or copy the folder again"):
        check_weights(find_model(str(file.parent)))
    with pytest.raises(ModelError, match="cannot be loaded from"):
        load(file.parent)


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def test_weights_can_run_no_code(copy, tmp_path: Path) -> None:
    folder, trace = copy(), tmp_path / "trace"
    (folder / "model.safetensors").unlink()
    with (folder / "pytorch_model.bin").open("wb") as file:
        pickle.dump(Evil(trace), file)
    for use in (check_weights, lambda address: load(address.folder)):
        with pytest.raises(ModelError, match="hold Python objects"):
            use(find_model(str(folder)))
    assert not trace.exists()


@pytest.mark.parametrize("kind", ["safetensors", "pickle", "older pickle"])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_hidden_layers": 5}, r"its weights lack 16 parameters of the bert .* such as bert.encoder.layer.4"),
        ({"hidden_size": 64}, r"has another shape in the weights than in config.json"),
        ({"vocab_size": 210}, r"embeddings.word_embeddings.weight has another shape"),
    ],
    ids=["layers", "width", "vocabulary"],
)
def test_weights_that_do_not_fit_the_config_are_refused(copy, kind: str, changes: dict[str, object], message: str) -> None:
    folder = copy()
    {"safetensors": lambda f: f, "pickle": as_pytorch, "older pickle": as_older_pickle}[kind](folder)
    describe(folder, **changes)
    for use in (check_weights, lambda address: load(address.folder)):
        with pytest.raises(ModelError, match=rf"{message}[^\n]* Put the config.json beside the weights"):
            use(find_model(str(folder)))


@pytest.mark.parametrize(
    ("text", "message"), [("{", "is not JSON"), ("[]", "holds no JSON object"), (None, "holds no config.json")]
)
def test_a_folder_without_a_readable_config_is_refused(copy, text: str | None, message: str) -> None:
    folder = copy()
    (folder / "config.json").unlink()
    if text is not None:
        (folder / "config.json").write_text(text)
    with pytest.raises(ModelError, match=message):
        find_model(str(folder))


def test_the_tiny_models_are_read_as_transformers_reads_them(tiny) -> None:
    for family in FAMILIES:
        folder = tiny.folder(family)
        assert AutoConfig.from_pretrained(folder).num_hidden_layers == find_model(str(folder)).encoder.depth == tiny.depth


def test_the_head_is_the_same_however_the_rest_is_loaded(tiny):
    """A quantised model is loaded straight onto its device, whose generator is another one."""
    address = find_model(str(tiny.folder()))
    plain = load_classifier(address, ["a", "b"], dropout=0.0, seed=3)
    torch.manual_seed(1)
    placed = load_classifier(address, ["a", "b"], dropout=0.0, seed=3, load_kwargs={"device_map": {"": "cpu"}})
    lacking = plain.newly_initialised
    assert "classifier.weight" in lacking
    found = dict(placed.model.named_parameters())
    assert all(torch.equal(found[name], parameter) for name, parameter in plain.model.named_parameters() if name in lacking)


def test_what_the_checkpoint_lacked_is_taken_from_the_plainly_loaded_model(tiny, monkeypatch):
    from pipeline.modeling import loading

    address = find_model(str(tiny.folder()))
    load = loading._load

    def load_elsewhere(address, settings, seed, load_kwargs, rows):
        return load(address, settings, seed + len(load_kwargs), {}, rows)  # another generator draws

    monkeypatch.setattr(loading, "_load", load_elsewhere)
    monkeypatch.setattr(loading, "_was_drawn_elsewhere", lambda loaded: True)
    heads = [load_classifier(address, ["a", "b"], 0.0, 3, kwargs).model.classifier.weight for kwargs in ({}, {"x": 1})]
    assert torch.equal(*heads)
