"""Files from elsewhere that would do more than be read: each is refused, or read as what it is, and nothing else happens."""

import io
import json
import os
import shlex
import shutil
import stat
import zipfile
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import SplitConfig
from pipeline.data.source import find_source
from pipeline.errors import ConfigError, DataError, ModelError, PipelineError
from pipeline.hashing import find_damage, list_sealed, seal
from pipeline.modeling.loading import check_weights, load_classifier, load_tokenizer
from pipeline.modeling.model_sources import check_files, find_model
from pipeline.modeling.pooling_config import read_pooling
from pipeline.recipes.recipe import load_recipe
from pipeline.training.saved_model import load_model_folder

TABLE = "text,label\na fine film,good\na dull film,bad\n"
LEAVES_A_TRACE = "from pathlib import Path\nPath({trace!r}).touch()\n"


def zipped(members: dict[str, str], mode: int = 0) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in members.items():
            member = zipfile.ZipInfo(name)
            member.external_attr = mode << 16
            archive.writestr(member, text)
    return content.getvalue()


def read(path: Path, **options: Any) -> Any:
    return find_source(str(path), SplitConfig(**options)).read().parts["all"]


def everything_below(folder: Path) -> set[Path]:
    return {*folder.rglob("*")}


@pytest.mark.parametrize("name", ["../../out.csv", "/out.csv", "C:\\out.csv", "a/../../out.csv"])
@pytest.mark.parametrize("beside", [{}, {"b.csv": TABLE}], ids=["alone", "of several"])
def test_a_zip_members_name_leads_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, beside: dict[str, str]
) -> None:
    inside = tmp_path / "one" / "two"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    monkeypatch.setattr("tempfile.tempdir", str(inside))
    (inside / "a.zip").write_bytes(zipped({name: TABLE, **beside}))
    before = everything_below(tmp_path)
    assert set(read(inside / "a.zip")["text"]) == {"a fine film", "a dull film"}
    assert everything_below(tmp_path) == before
    assert not Path("/out.csv").exists()


def test_a_zip_member_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "private.csv").write_text(TABLE)
    (tmp_path / "a.csv.zip").write_bytes(zipped({"a.csv": str(tmp_path / "private.csv")}, stat.S_IFLNK | 0o777))
    with pytest.raises(DataError) as caught:
        read(tmp_path / "a.csv.zip")
    assert "a fine film" not in str(caught.value)


@pytest.fixture(params=["pipe", "device"])
def no_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """What blocks, or never ends, when it is opened as a file."""
    if request.param == "device":
        return Path(os.devnull)
    os.mkfifo(tmp_path / "pipe.csv")
    return tmp_path / "pipe.csv"


def test_a_pipe_or_a_device_is_not_opened(no_file: Path, tiny: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is neither a file nor a folder\. Give one\."):
        find_source(str(no_file), SplitConfig())
    with pytest.raises(DataError, match=r"--train-file .*: no such file"):
        find_source("", SplitConfig(train_file=str(no_file)))
    with pytest.raises(ConfigError, match="Unknown recipe"):
        load_recipe(str(no_file))
    folder = Path(shutil.copytree(tiny.folder(), tmp_path / "model"))
    for name, said in (("model.safetensors", "no weights in"), ("config.json", "holds no config.json")):
        (folder / name).unlink()
        (folder / name).symlink_to(no_file)
        with pytest.raises(ModelError, match=said):
            check_files(find_model(str(folder)))
    (tmp_path / "sealed" / "modules.json").parent.mkdir()
    (tmp_path / "sealed" / "modules.json").symlink_to(no_file)
    assert read_pooling(tmp_path / "sealed") is None
    (tmp_path / "sealed" / "checksums.json").write_text(json.dumps({str(no_file): "0" * 64}))
    assert find_damage(tmp_path / "sealed", list_sealed(tmp_path / "sealed")) == str(no_file)


def test_pipes_and_devices_in_a_folder_of_texts_are_passed_over(no_file: Path, tmp_path: Path) -> None:
    for name in ("good", "bad"):
        (tmp_path / "texts" / name).mkdir(parents=True)
        (tmp_path / "texts" / name / "1.txt").write_text(f"a {name} film")
        (tmp_path / "texts" / name / "2.txt").symlink_to(no_file)
    assert sorted(read(tmp_path / "texts")["text"]) == ["a bad film", "a good film"]


def test_code_in_a_folder_of_data_is_not_run(tmp_path: Path) -> None:
    """As data sets of the hub once came: a card, the data, and a script of the folder's name that reads them."""
    folder = tmp_path / "reviews"
    (folder / "data").mkdir(parents=True)
    (folder / "README.md").write_text("---\nconfigs:\n- config_name: default\n  data_files: data/all.csv\n---\n")
    (folder / "data" / "all.csv").write_text(TABLE)
    for name in ("reviews.py", "__init__.py", "dataset.py"):
        (folder / name).write_text(LEAVES_A_TRACE.format(trace=str(tmp_path / "trace")))
    with pytest.raises(DataError, match=r"Dataset scripts are no longer supported, but found reviews\.py"):
        find_source(str(folder), SplitConfig()).read()
    (folder / "reviews.py").unlink()
    parts = find_source(str(folder), SplitConfig()).read().parts
    assert [sorted(table["text"]) for table in parts.values()] == [["a dull film", "a fine film"]]
    assert not (tmp_path / "trace").exists()


def change(file: Path, **changes: object) -> None:
    content = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**content, **changes}))


def test_code_in_a_folder_of_a_model_is_not_run(tiny: Any, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny.folder(), tmp_path / "model"))
    for name in ("modeling.py", "tokenization.py", "configuration.py", "__init__.py"):
        (folder / name).write_text(LEAVES_A_TRACE.format(trace=str(tmp_path / "trace")))
    change(folder / "config.json", auto_map={"AutoModel": "modeling.BertModel", "AutoConfig": "configuration.Config"})
    change(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["tokenization.Slow", "tokenization.Fast"]})
    (folder / "modules.json").write_text(json.dumps([{"path": "", "type": "modeling.Transformer"}]))
    for use in (load_tokenizer, check_weights, lambda address: load_classifier(address, ["a", "b"], dropout=0.0, seed=0)):
        with_error = None
        try:
            use(find_model(str(folder)))
        except PipelineError as error:  # refused or read: both are right
            with_error = error
        assert with_error is None or with_error.exit_status == 2
    assert not (tmp_path / "trace").exists()


@pytest.fixture
def trained(tiny: Any, tmp_path: Path) -> Path:
    """A folder that training wrote."""
    from pipeline.strategies.base import create_strategy
    from pipeline.training.saved_model import ModelRecord, write_model_folder

    base = tiny.folder()
    built = tiny.build(create_strategy("head_only", {}), base, tiny.config())
    record = ModelRecord(str(base), None, built.address.sha256(), "head_only", {}, list(tiny.classes), 64, 0.1, 1, 1)
    write_model_folder(tmp_path / "trained", built, record)
    return tmp_path / "trained"


@pytest.mark.parametrize("key", ["strategy", "objective", "head"])
@pytest.mark.parametrize("module", ["trace", "..trace", "../../trace", "trace.Trace"])
def test_a_record_names_plug_ins_and_no_modules(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, module: str
) -> None:
    (tmp_path / "trace.py").write_text(LEAVES_A_TRACE.format(trace=str(tmp_path / "imported")))
    monkeypatch.syspath_prepend(tmp_path)
    change(trained / "model.json", **{key: module})
    seal(trained)  # checksums tell damage from what was written; whoever wrote it can write them, too
    with pytest.raises(PipelineError, match=f"{module}'") as caught:
        load_model_folder(trained)
    assert caught.value.exit_status == 2
    assert not (tmp_path / "imported").exists()


def test_an_index_of_weights_does_not_lead_out_of_its_folder(tiny: Any, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny.folder(), tmp_path / "model"))
    (folder / "model.safetensors").rename(tmp_path / "private.safetensors")
    for name in ("../private.safetensors", str(tmp_path / "private.safetensors")):
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"bert.embeddings": name}}))
        with pytest.raises(ModelError, match=r"is not an index of weight files: .*private.safetensors does not lie beside it"):
            check_files(find_model(str(folder)))


@pytest.mark.parametrize("value", ["full; touch x", "$(touch x)", "`touch x`", "a b", "'; touch x; '", "\n touch x"])
@pytest.mark.parametrize("declared", [True, False])
def test_a_parameter_of_mlflow_run_stays_one_word_of_the_command(value: str, declared: bool) -> None:
    from mlflow.projects._project_spec import load_project

    name = "strategy" if declared else "learning_rate"
    command = load_project(str(Path(__file__).parents[2])).get_entry_point("train").compute_command({name: value}, None)
    words = shlex.split(command)
    assert words[:4] == ["python", "-m", "pipeline", "train"]
    assert words[words.index(f"--{name}") + 1] == value
    assert all(word.startswith("--") for word in words[4::2]), "an option and its value in turn"
