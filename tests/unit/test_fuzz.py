"""A short version of the fuzzer, without its engine: few changes by chance of the same contents; and what the fuzzer has found.

`python -m tests.fuzz` lets coverage guide it (CONTRIBUTING.md).
"""

import io
import json
import random
import re
import zipfile
from pathlib import Path

import pytest
from fuzz.__main__ import main
from fuzz.driver import Counts, render
from fuzz.reader import BrokenPromiseError, Reader, Room, judge
from fuzz.readers import READERS

from pipeline.config.search_ranges import parse_range
from pipeline.errors import ConfigError
from pipeline.given_paths import is_file, is_folder
from pipeline.json_text import parse_json_as
from pipeline.modeling.foreign_folders import describe_folder

CHANGES = 12
"""Of each reader's contents."""
DEEP = b"[" * 2000
LONG = b"a" * 3000
ADAPTER = b'adapter_config.json\n{"base_model_name_or_path": "%s", "revision": %s}\n\0\nadapter_model.safetensors\nx'
INDEX = (
    b'config.json\n{"model_type": "bert"}\n\0\nmodel.safetensors/x\n\n\0\n'
    b'model.safetensors.index.json\n{"weight_map": {"a": "%s"}}'
)


def change(content: bytes, others: list[bytes], words: list[str], chance: random.Random) -> bytes:
    start = chance.randrange(len(content) + 1)
    end = min(len(content), start + chance.choice([0, 1, 1, 4, 40]))
    word = chance.choice([b"", b"\xff", b"\0", *(word.encode("utf-8", "surrogatepass") for word in words)])
    other = chance.choice(others)
    piece = chance.choice([word, word, other[chance.randrange(len(other) + 1) :][:60]])
    return content[:start] + piece + content[end:] if chance.random() < 0.9 else content[:start]


@pytest.mark.parametrize("name", READERS)
def test_what_is_read_or_refused_in_one_sentence_by_chance(name: str, tmp_path: Path) -> None:
    reader, chance = READERS[name], random.Random(f"0:{name}")
    seeds, words = list(reader.seeds()), list(reader.words())
    for content in seeds:
        judge(reader, content, tmp_path / "room")
    for _ in range(CHANGES):
        content = chance.choice(seeds)
        for _ in range(chance.choice([1, 1, 2, 5])):
            content = change(content, seeds, words, chance)
        judge(reader, content, tmp_path / "room")


def zip_with_a_nameless_member() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo(""), "")
    return file.getvalue()


def zip_with_a_broken_name(place: int) -> bytes:
    """The name stands before what is packed, and in the directory behind it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("ä.csv", "text,label\nfine,1\n")
    before, first, between, second, behind = re.split(b"(\xc3\xa4)", file.getvalue())
    names = [first, second]
    names[place] = b"\xc3("
    return b"".join([before, names[0], between, names[1], behind])


FOUND = [
    (
        "weights",
        b"pickle\nPK\3\4" + b"PK\6\7" + bytes(12) + b"\2\0\0\0PK\5\6" + bytes(18),
        r"pytorch_model\.bin is damaged: it breaks off",
    ),
    ("packed file", b".zip\n" + zip_with_a_nameless_member(), r"holds 0 files\. Give a \.zip with one file in it"),
    ("packed file", b".zip\n" + zip_with_a_broken_name(0), r"\(the name of a file in it is no text\)"),
    ("packed file", b".zip\n" + zip_with_a_broken_name(1), r"\(the name of a file in it is no text\)"),
    ("recipe", b"strategies:\n  ? " + LONG + b"\n  : 5", r"strategy 'a{100}\.\.\.' must hold key: value lines, not 5\.$"),
    ("recipe", b"strategies:\n  lora: {strategy_args: {r: 4, 5: 6}}", "Unknown argument of strategy 'lora': '5'"),
    ("search space", b"r: {integers: [1, 1" + b"0" * 400 + b"]}", r"'r': give \[low, high\], two numbers in ascending order"),
    ("search space", b"r: [1, 2001-01-01]", "holds what is no number, text or list, such as a date"),
    ("search space", b"r: {integers: [1, 9007199254740993]}", r"whole ones up to 2\^53, not \[1, 9007199254740993\]\.$"),
    ("folder of a model", b"config.json\n" + DEEP, r"config\.json is not JSON: its lists and objects are nested too deep\.$"),
    ("folder of a model", ADAPTER % (b"./" + LONG, b"null"), r"its base, \./a{98}\.\.\.: "),
    ("folder of a model", ADAPTER % (b"a/b", b"[1]"), r"adapter_config\.json names a revision of it that is no text"),
    ("folder of a model", ADAPTER % (b"~nobody", b"null"), r"its base, ~nobody: "),
    ("folder of a model", INDEX % LONG, "is missing, though the index of weight files names it"),
    (
        "saved model",
        b"sealed model.json\n" + DEEP,
        r"model\.json is missing or damaged: its lists and objects are nested too deep\.$",
    ),
    ("saved model", b'sealed terms.json\n{"words": 5}', r"do not fit model\.json"),
    (
        "config of a run",
        b"{",
        r"its config\.json cannot be read \(Expecting property name.*\), so how it was trained is not known",
    ),
    ("config of a run", b"[]", r"its config\.json cannot be read \(it holds no options\)"),
    ("config of a run", b"\xff", r"its config\.json cannot be read \('utf-8' codec can't decode"),
    (
        "tags and parameters",
        b"tag stage=main\ntag fairtune.planned=lunch",
        r"its tag fairtune\.planned says 'lunch', which no study writes",
    ),
    (
        "tags and parameters",
        b'tag stage=main\ntag fairtune.doubts={"a": 1}',
        r"its tag fairtune\.doubts says .*, which no study writes",
    ),
    ("tags and parameters", b"tag stage=train\ntag fairtune.num_processes=two", "says 'two' where a number is expected"),
    ("search record", b"attribute\n{", r"the record of the search failed: Expecting property name"),
    ("search record", b"checksum\n5", r"the record of the search failed"),
    ("search record", b"state\nASLEEP", r"the record of the search failed"),
]
"""Reader, content and what is said of it: a traceback before."""


@pytest.mark.parametrize(("name", "content", "said"), FOUND, ids=[f"{name}-{i}" for i, (name, *_) in enumerate(FOUND)])
def test_what_the_fuzzer_found_is_refused_in_one_sentence(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    reader = READERS[name]

    def read(given: bytes, room: Room) -> None:
        with pytest.raises(Exception, match=said) as caught:
            reader.read(given, room)
        raise caught.value

    assert judge(Reader(name, read, reader.seeds), content, tmp_path / "room") == "refused"


PASSED_OVER = [
    ("folder of a model", b'config.json\n%s\n\0\nmodules.json\n[{"path": "' + LONG + b'", "type": "a.Pooling"}]'),
    ("tags and parameters", b"tag stage=train\ntag planned/0=lunch\ntag planned/1=[1, 2]"),
    ("predictions", b"classes\n" + b"a" * 200_000),
    ("predictions", b"classes\nsentence,gold,pred\n"),
    ("predictions", b"sets\nsentence,gold,pred\n"),
    ("predictions", b"sets\nsentence,gold,pred\nx,[,[]\n"),
    ("predictions", b"sets\nsentence,gold,pred\nx,[[1]],[]\n"),
    ("predictions", b"classes\ngold,gold,pred\na,p,q\n"),
    ("predictions", b"sets\nsentence,gold,pred,score_a,score_b\nx,[],[],0.5,0\n"),
    ("predictions", b'sets\nsentence,gold,pred\nx,"[""a""]",[]\n\n\0\nclass\na\nb\na\nb\n'),
    ("checksums", b'{"' + LONG + b'": "0"}'),
    ("checksums", b"[{}]"),
    ("prepared data", b"sealed overlap.json\n{"),
    ("prepared data", b'sealed overlap.json\n{"train/test": 5}'),
    ("checkpoint", b"sealed progress.json\n[]"),
    ("checkpoint", b'sealed progress.json\n{"best_step": []}'),
    ("hidden states", b'sealed about.json\n{"width": 3, "dtype": "Tensor", "build_seconds": 0}'),
    ("hidden states", b"sealed states.bin\n\0"),
    ("notes", DEEP),
]
"""Reader and content that is damage of no weight, or somebody else's: a traceback before."""


@pytest.mark.parametrize(("name", "content"), PASSED_OVER, ids=[f"{name}-{i}" for i, (name, _) in enumerate(PASSED_OVER)])
def test_what_the_fuzzer_found_is_passed_over(name: str, content: bytes, tmp_path: Path) -> None:
    if b"%s" in content:
        sound = next(seed for seed in READERS[name].seeds() if seed.startswith(b"config.json\n"))
        content = content.replace(b"config.json\n%s", sound.partition(b"\n\0\n")[0])
    assert judge(READERS[name], content, tmp_path / "room") == "read"


def test_a_name_that_is_too_long_for_a_file_names_none(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").touch()
    (tmp_path / "config.json").write_text(json.dumps({"_name_or_path": LONG.decode()}))
    assert "It holds ONNX alone (model.onnx)" in describe_folder(tmp_path)
    assert is_folder(tmp_path)
    assert not is_file(tmp_path / LONG.decode())
    assert not is_folder(tmp_path / LONG.decode())


def test_a_range_of_very_many_whole_numbers_fills_no_memory() -> None:
    values = parse_range("r", {"integers": [0, 2**50]}).values()
    assert len(values) == 2**50 + 1
    with pytest.raises(ConfigError, match="give"):
        parse_range("r", {"log_uniform": [1, float("nan")]})


def test_a_value_of_another_type_is_named_by_its_place() -> None:
    assert parse_json_as('{"a": [1, 2]}', dict[str, tuple[int, int]]) == {"a": (1, 2)}
    with pytest.raises(ValueError, match=r"^a\.1: Input should be a valid integer$"):
        parse_json_as('{"a": [1, "2"]}', dict[str, tuple[int, int]])


def test_without_its_engine_it_says_so_and_is_skipped(monkeypatch, capsys) -> None:
    monkeypatch.setattr("fuzz.driver.lacks_engine", lambda: True)
    monkeypatch.setattr("sys.argv", ["python -m tests.fuzz"])
    assert main() == 77
    assert capsys.readouterr().err == "Skipped: the fuzzer needs Atheris. Run `pip install '.[fuzz]'`.\n"


def test_counts_are_shown_by_reader_and_in_total() -> None:
    counts = {"a": Counts(1000, 250, 2.0, 5, 8, 0, {"ValueError at x": 3}), "b": Counts(executions=500)}
    lines = render(counts).splitlines()
    assert lines[2] == "| a | 1,000 | 25% | 5 | 8 | 2 | 0 | 1 |"
    assert lines[4] == "| all | 1,500 | | | | 2 | 0 | 1 |"
    assert lines[-1] == "- a: ValueError at x (3 times)"


def _broken(content: bytes, room: Room) -> None:
    if content == b"left":
        (room.kept / "file").write_bytes(b"")
        raise ConfigError("--option: no.")
    if content == b"slow":
        while True:
            pass
    if content == b"lines":
        raise ConfigError("")
    json.loads(content)


@pytest.mark.parametrize(
    ("content", "kind"), [(b"left", "left behind"), (b"slow", "too slow"), (b"lines", "no message"), (b"{", "JSONDecodeError")]
)
def test_a_broken_promise_is_seen(content: bytes, kind: str, tmp_path: Path) -> None:
    with pytest.raises(BrokenPromiseError) as caught:
        judge(Reader("broken", _broken, list, seconds=0.1), content, tmp_path)
    assert caught.value.kind == kind
    assert judge(Reader("sound", _broken, list), b"[]", tmp_path) == "read"
