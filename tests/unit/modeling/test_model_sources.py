"""Finding a model, and saying what is missing before anything is loaded."""

import json
import shutil
from types import SimpleNamespace

import huggingface_hub
import pytest
import transformers
from huggingface_hub import errors
from huggingface_hub.utils import filter_repo_objects

from pipeline.data.tokenization import identify_ids
from pipeline.errors import ModelError
from pipeline.hub import Snapshot, fetch_snapshot
from pipeline.modeling.family import list_model_types
from pipeline.modeling.loading import load_classifier, load_tokenizer
from pipeline.modeling.model_sources import check_files, find_model, tokenizer_files
from pipeline.modeling.restored_tokenizer import save_tokenizer


@pytest.fixture
def folder(tiny, tmp_path):
    """A copy of the tiny model that a test may damage."""
    return shutil.copytree(tiny.folder(), tmp_path / "model")


def remove(folder, *names):
    for name in names:
        (folder / name).unlink()


def change(path, **entries):
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))


def test_a_whole_folder_is_found(folder):
    address = find_model(str(folder))
    check_files(address)
    assert (address.folder, address.revision, address.encoder.depth) == (folder, None, 4)


def test_the_packaged_model_is_the_published_one():
    address = find_model("minilm")
    check_files(address)
    assert (address.encoder.depth, address.encoder.hidden_size) == (6, 384)


def test_hashes_tell_content_apart(folder):
    before = find_model(str(folder))
    hashes = [(before.sha256(), before.tokenizer_sha256())]
    for name in ("vocab.txt", "config.json", "model.safetensors"):
        with (folder / name).open("ab") as file:
            file.write(b" ")
        hashes.append((before.sha256(), before.tokenizer_sha256()))
    whole, tokenizers = zip(*hashes, strict=True)
    assert len(set(whole)) == 4, "weights, config and tokenizer all decide what the model computes"
    assert len(set(tokenizers)) == 3
    assert tokenizers[2] == tokenizers[3], "weights are nothing to a tokenizer"


def test_a_folder_without_config_is_refused(folder):
    remove(folder, "config.json")
    with pytest.raises(ModelError, match=r"holds no config\.json"):
        find_model(str(folder))


@pytest.mark.parametrize("text", ["{", "[]"], ids=["not_json", "no_object"])
def test_a_damaged_config_is_refused(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(ModelError, match="JSON"):
        find_model(str(folder))


@pytest.mark.parametrize(
    ("missing", "messages"),
    [
        (["model.safetensors"], ["no weights"]),
        (["tokenizer.json", "vocab.txt"], ["no tokenizer"]),
        (["model.safetensors", "tokenizer.json", "vocab.txt"], ["no weights", "no tokenizer"]),
    ],
    ids=["weights", "tokenizer", "both"],
)
def test_everything_that_is_missing_is_named(folder, missing, messages):
    remove(folder, *missing)
    with pytest.raises(ModelError) as caught:
        check_files(find_model(str(folder)))
    assert len(caught.value.messages) == len(messages)
    for message in messages:
        assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nobody/no-such-model", "hub cannot be reached"),
        ("no such name", "not a hub id"),
        ("./nowhere", "no such folder"),
    ],
)
def test_what_is_nowhere_is_said(name, message):
    with pytest.raises(ModelError, match=message):
        find_model(name)


@pytest.mark.parametrize(
    ("cause", "message"),
    [
        (errors.GatedRepoError, "the hub asks for an accepted licence. Accept it there and run `hf auth login`."),
        (errors.RevisionNotFoundError, "the hub has no revision 'v2' of it. Check --model-revision."),
        (errors.RepositoryNotFoundError, "the hub has no such model, or it is private (`hf auth login`)."),
        (errors.LocalEntryNotFoundError, "not in the local hub cache, and the hub cannot be reached"),
        (OSError, "could not be brought from the hub: why not."),
    ],
)
def test_what_the_hub_answers_is_said_soon_and_with_the_way_out(monkeypatch, cause, message):
    asked = {}

    def download(repo_id, **options):
        asked.update(options)
        is_answer = issubclass(cause, errors.HfHubHTTPError)
        response = SimpleNamespace(headers={}, request=None)
        raise cause("why not", response=response) if is_answer else cause("why not")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(ModelError) as caught:
        fetch_snapshot("someone/model", "v2", "model", ModelError)
    assert str(caught.value).startswith("--model someone/model: ")
    assert message in str(caught.value)
    assert asked["etag_timeout"] == 10, "seconds, after which the hub counts as out of reach"


def test_damaged_weights_are_a_model_error(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"is damaged|cannot be loaded"):
        load_classifier(find_model(str(folder)), ["a", "b"], 0.1, seed=0)


def test_weights_of_another_shape_are_refused(folder):
    change(folder / "config.json", intermediate_size=48)
    with pytest.raises(ModelError, match="another shape"):
        load_classifier(find_model(str(folder)), ["a", "b"], 0.1, seed=0)


def test_a_classifier_for_other_classes_is_replaced(folder):
    address = find_model(str(folder))
    load_classifier(address, ["a", "b", "c"], 0.1, seed=0).model.save_pretrained(folder)
    kept = load_classifier(address, ["a", "b", "c"], 0.1, seed=1)
    replaced = load_classifier(address, ["a", "b"], 0.1, seed=1)
    assert kept.newly_initialised == frozenset()
    assert replaced.newly_initialised == {"classifier.weight", "classifier.bias"}
    assert replaced.model.classifier.weight.shape == (2, 32)


def test_half_precision_checkpoints_load_as_float32_with_the_dropout_asked_for(folder):
    import torch

    address = find_model(str(folder))
    load_classifier(address, ["a", "b"], 0.1, seed=0).model.half().save_pretrained(folder)
    model = load_classifier(address, ["a", "b"], 0.3, seed=0).model
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert {module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)} == {0.3}
    assert model.config.id2label == {0: "a", 1: "b"}


def test_the_padding_token_may_stand_in_either_config(folder):
    change(folder / "tokenizer_config.json", pad_token=None)
    assert load_tokenizer(find_model(str(folder))).pad_token_id == 0
    change(folder / "config.json", pad_token_id=None)
    with pytest.raises(ModelError, match="no padding token"):
        load_tokenizer(find_model(str(folder)))


TOKENIZERS = ("bert-japanese", "bertweet", "herbert", "phobert", "roc_bert", *list_model_types())
"""What transformers calls the tokenizers that an encoder may have."""
OF_ENTITIES = "entity_vocab.json"
"""A file of LUKE's tokenizer that decides nothing of words."""


def vocabulary_files():
    from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES

    classes = {name for kind in TOKENIZERS if (name := TOKENIZER_MAPPING_NAMES.get(kind))}
    files = {file for name in classes for file in getattr(transformers, name).vocab_files_names.values()}
    assert {"bpe.codes", "sentencepiece.model", "spm.model", "vocab.txt"} <= files
    return sorted(files - {OF_ENTITIES})


def test_every_file_of_a_tokenizer_is_brought_from_the_hub(monkeypatch, folder):
    asked = []

    def fetch(repo_id, revision, kind, error, patterns):
        asked.append(patterns)
        return Snapshot(folder, "c0ffee")

    monkeypatch.setattr("pipeline.modeling.model_sources.fetch_snapshot", fetch)
    assert find_model("vinai/bertweet-base").revision == "c0ffee"
    assert list(filter_repo_objects(vocabulary_files(), allow_patterns=asked[0])) == vocabulary_files()
    assert not list(filter_repo_objects(["pytorch_model.bin", "tf_model.h5", "code.py"], allow_patterns=asked[0]))


def test_every_file_of_a_tokenizer_is_hashed_and_copied(folder):
    hashes = [find_model(str(folder)).tokenizer_sha256()]
    for name in vocabulary_files():
        (folder / name).write_text("a 1\n")
        assert folder / name in tokenizer_files(folder)
        hashes.append(find_model(str(folder)).tokenizer_sha256())
    assert len(set(hashes)) == len(hashes)


def test_a_sentencepiece_model_of_which_transformers_makes_no_whole_tokenizer_is_not_enough(folder):
    """RemBERT's: of it alone texts would have no [CLS], which the classifier reads."""
    remove(folder, "tokenizer.json", "vocab.txt")
    (folder / "sentencepiece.model").write_bytes(b"pieces")
    with pytest.raises(ModelError, match="no tokenizer in"):
        check_files(find_model(str(folder)))


@pytest.fixture
def bertweet(tiny, tmp_path):
    """A folder with BERTweet's tokenizer, and the tokens of `film of`."""
    folder = shutil.copytree(tiny.folder("roberta"), tmp_path / "bertweet")
    remove(folder, "tokenizer.json")
    pieces = ["f@@", "fi@@", "lm", "film", "of", *(f"word{number}" for number in range(200))]
    (folder / "vocab.txt").write_text("".join(f"{piece} 1\n" for piece in pieces))
    (folder / "bpe.codes").write_text("f i 9\nl m</w> 8\no f</w> 7\n")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertweetTokenizer"}')
    return folder, [0, 4 + pieces.index("fi@@"), 4 + pieces.index("lm"), 4 + pieces.index("of"), 2]


def test_a_tokenizer_of_bpe_codes_is_read(bertweet):
    folder, ids = bertweet
    assert load_tokenizer(find_model(str(folder)))("film of")["input_ids"] == ids
    remove(folder, "bpe.codes")
    with pytest.raises(ModelError, match="cannot be loaded from"):
        load_tokenizer(find_model(str(folder)))


def test_a_tokenizer_whose_codes_transformers_wrote_as_pairs_is_read_as_before(bertweet):
    """It leaves out a column which it cuts off when it reads, so that it joins nothing any more."""
    folder, ids = bertweet
    load_tokenizer(find_model(str(folder))).save_pretrained(folder)
    assert (folder / "bpe.codes").read_text().splitlines() == ["f i", "l m</w>", "o f</w>"], "written otherwise now"
    as_it_is = transformers.AutoTokenizer.from_pretrained(folder)
    assert as_it_is("film of")["input_ids"] != ids
    restored = load_tokenizer(find_model(str(folder)))
    assert restored("film of")["input_ids"] == ids
    of_before, of_now = (identify_ids(tokenizer, "files", 64, "texts") for tokenizer in (as_it_is, restored))
    assert of_before != of_now, "ids that are cached would be taken"
    as_it_is.save_pretrained(folder)
    with pytest.raises(ModelError, match=r"bpe\.codes holds halves of pairs"):
        load_tokenizer(find_model(str(folder)))


def test_what_we_write_of_a_tokenizer_of_bpe_codes_transformers_reads_alike(bertweet, tmp_path):
    folder, ids = bertweet
    save_tokenizer(load_tokenizer(find_model(str(folder))), tmp_path / "written")
    assert transformers.AutoTokenizer.from_pretrained(tmp_path / "written")("film of")["input_ids"] == ids


JINA = {"AutoConfig": "jinaai/jina-bert-implementation--configuration_bert.JinaBertConfig"}
JINA["AutoModel"] = "jinaai/jina-bert-implementation--modeling_bert.JinaBertModel"


@pytest.mark.parametrize(
    ("model_type", "auto_map", "named"),
    [
        ("bert", JINA, "modeling_bert.JinaBertModel"),
        ("new", {"AutoModel": "Alibaba-NLP/new-impl--modeling.NewModel"}, "modeling.NewModel"),
        ("NeoBERT", {"AutoConfig": "model.NeoBERTConfig", "AutoModel": "model.NeoBERT"}, "model.NeoBERT"),
        ("other", {"AutoConfig": "model.OtherConfig"}, "model.OtherConfig"),
    ],
    ids=str,
)
def test_a_model_with_code_of_its_own_is_refused_by_its_name(folder, model_type, auto_map, named):
    change(folder / "config.json", model_type=model_type, auto_map=auto_map)
    with pytest.raises(ModelError) as caught:
        find_model(str(folder)).encoder  # noqa: B018
    assert f"is computed by code of its own ({named}, auto_map in config.json), and no code of a model" in str(caught.value)
    assert ("The same architecture without: " in str(caught.value)) == (named == "modeling.NewModel")
    assert ("Supported: albert, bert," in str(caught.value)) != (named == "modeling.NewModel")


@pytest.mark.parametrize("auto_map", [{"AutoModel": "modeling.BertModel"}, {"AutoTokenizer": ["t.T", None]}, [], None], ids=str)
def test_code_that_is_not_needed_is_left_alone(folder, auto_map):
    change(folder / "config.json", auto_map=auto_map)
    assert find_model(str(folder)).encoder.depth == 4


def test_the_native_alternative_is_named(folder, monkeypatch):
    monkeypatch.setattr("pipeline.modeling.families.bert.Bert.native_of", {"NewModel": "somebody/native"})
    change(folder / "config.json", model_type="new", auto_map={"AutoModel": "new-impl--modeling.NewModel"})
    with pytest.raises(ModelError, match=r"The same architecture without: somebody/native\."):
        find_model(str(folder)).encoder  # noqa: B018
