"""Any model folder ends in a model with a tokenizer or in a message."""

import json
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st

from pipeline.errors import ModelError
from pipeline.modeling.loading import check_weights, load_tokenizer
from pipeline.modeling.model_sources import find_model

LAYERS = 17.5 / 23
"""Where `num_hidden_layers` stands among the sorted entries of the tiny BERT's config.json."""
VALUES = st.sampled_from(
    [None, True, -1, 0, 1, 3, 2.5, 1e308, 2**40, "", "gelu", "nonsense", [], {}, [1], {"0": "a"}, "\ud800", "../../etc"]
)
FILES = ["config.json", "tokenizer_config.json", "tokenizer.json", "vocab.txt", "model.safetensors", "special_tokens_map.json"]


@st.composite
def damages(draw: st.DrawFn) -> tuple[str, str, object, object]:
    kind = draw(st.sampled_from(["entry", "entry", "entry", "bytes", "cut", "gone"]))
    name = draw(st.sampled_from(FILES))
    if kind == "entry":
        return (
            kind,
            draw(st.sampled_from(["config.json", "tokenizer_config.json", "tokenizer.json"])),
            draw(st.floats(0, 1)),
            draw(VALUES),
        )
    return kind, name, draw(st.floats(0, 1)), draw(st.binary(min_size=1, max_size=9))


def apply(folder: Path, kind: str, name: str, place: float, value: object) -> None:
    path = folder / name
    if not path.is_file():
        path.write_bytes(value if isinstance(value, bytes) else b"{}")
    if kind == "gone":
        path.unlink()
    elif kind == "entry":
        content = json.loads(path.read_text())
        keys = sorted(content)
        content[keys[int(place * (len(keys) - 1))]] = value
        path.write_text(json.dumps(content))
    else:
        content = path.read_bytes()
        # The beginning of a file of weights is its header, where most harm is done.
        at = int(place * min(len(content), 10_000))
        path.write_bytes(content[:at] if kind == "cut" else content[:at] + value + content[at + len(value) :])


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("any")


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(family=st.sampled_from(["bert", "roberta", "xlm-roberta", "albert"]), damage=damages())
@example(family="bert", damage=("entry", "tokenizer_config.json", 0.4375, ""))  # model_max_length
@example(family="bert", damage=("entry", "config.json", LAYERS, 2**40))
def test_a_folder_with_any_damage(tiny, room: Path, family: str, damage: tuple[str, str, float, object]) -> None:
    with tempfile.TemporaryDirectory(dir=room) as scratch:
        folder = Path(shutil.copytree(tiny.folder(family), Path(scratch) / "model"))
        apply(folder, *damage)
        refused: ModelError | None = None
        try:
            address = find_model(str(folder))
            check_weights(address)
            ids = load_tokenizer(address)("a fine film")["input_ids"]
        except ModelError as error:
            refused = error
        event("refused" if refused else "loaded")
        if refused:
            assert all(message.startswith("--model ") and len(message) < 2000 for message in refused.messages), refused
        else:
            assert all(0 <= token < address.encoder.vocabulary_size for token in ids)
