"""What the families declare is in the models of transformers, and stands nowhere else."""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from plain_models import published_config
from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING, AutoModelForSequenceClassification

import pipeline
from pipeline.modeling.encoder import describe_encoder
from pipeline.modeling.family import find_family, list_model_types, list_unsupported
from pipeline.registry import FAMILIES
from pipeline.strategies.base import list_strategies

PACKAGE = Path(pipeline.__file__).parent


def test_a_family_may_describe_several_model_types() -> None:
    assert set(FAMILIES.names()) >= {"albert", "bert", "distilbert", "electra", "modernbert", "roberta"}
    assert len(list_model_types()) + len(list_unsupported()) > len(FAMILIES.names())
    assert find_family("roberta") == find_family("xlm-roberta") != find_family("bert")
    assert find_family("t5") is None
    assert find_family(["bert"]) is None


@pytest.mark.parametrize("model_type", list_model_types())
def test_the_names_are_in_the_model(model_type: str) -> None:
    config = published_config(model_type)
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(config)
    family, encoder = find_family(model_type), describe_encoder(config.to_dict(), "mine")
    assert family.base_prefix == MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[type(config)].base_model_prefix
    assert isinstance(model.get_submodule(family.logits), torch.nn.Linear)
    assert set(family.head) <= {name for name, _ in model.named_children()}
    code = inspect.getsource(sys.modules[type(model).__module__])
    for name in set(family.dropouts) - set(config.to_dict()):
        assert f'getattr(config, "{name}"' in code, "read where a config has it"
    assert set(family.refused) <= set(list_strategies())
    prefix = f"{encoder.layers}."
    lowest = f"{prefix}{min(1, encoder.layer_sets - 1)}."
    layer = model.get_submodule(lowest.rstrip("."))
    assert all(hasattr(layer, name) for name in family.layer_attributes)
    linear = {name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    first = {name.removeprefix(prefix) for name in linear if name.startswith(lowest)}
    for names in (family.query_value, family.key_value):
        assert set(names) <= set(family.linear)
        assert {name.rpartition(".")[2] for name in first} >= set(names)
    in_attention = {name for name in first if not set(family.attention).isdisjoint(name.split("."))}
    assert {name for name in first if name.endswith(family.attention_output)} <= in_attention
    assert len([name for name in first if name.endswith(family.attention_output)]) == 1
    assert len([name for name in first - in_attention if name.endswith(family.feed_forward_output)]) == 1


def test_they_are_listed_without_torch() -> None:
    code = (
        "import sys; from pipeline.modeling.family import list_model_types; print(*list_model_types());"
        "sys.exit(bool({'torch', 'transformers', 'numpy', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == list_model_types()


def spelled(tree: ast.AST) -> list[str]:
    """Identifiers and strings of a module, those that are only said to its reader left out."""
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    words: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            words.append(node.value)
        names = (getattr(node, field, None) for field in ("id", "attr", "name", "arg", "module"))
        words += [name for name in names if isinstance(name, str)]
    return words


def test_no_family_is_named_outside_its_file() -> None:
    names = {*FAMILIES.names(), *list_model_types(), *list_unsupported()}
    word = re.compile(rf"(?<![a-z])({'|'.join(map(re.escape, sorted(names, key=len, reverse=True)))})(?![a-z])", re.IGNORECASE)
    assert word.search("bert-base-uncased")
    assert word.search("is_xlm_roberta")
    own = {PACKAGE / "modeling" / "families" / f"{name}.py" for name in FAMILIES.names()}
    named = {path: spelled(ast.parse(path.read_text(encoding="utf-8"))) for path in PACKAGE.rglob("*.py")}
    named = {path: [text for text in texts if word.search(text)] for path, texts in named.items()}
    assert all(named[path] for path in own)
    # A module of transformers that is imported early says nothing of a family.
    elsewhere = {str(path): {t for t in texts if not t.startswith("transformers.models.")} for path, texts in named.items()}
    assert not {path: texts for path, texts in elsewhere.items() if texts and Path(path) not in own}
