"""Scores on a second data set: measured once, and again as soon as anything is different that decides them."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from pipeline.config import EvaluateConfig
from pipeline.errors import DataError
from pipeline.stages import evaluate
from pipeline.stages.testing import test
from pipeline.tracking.tags import Tag

pytestmark = pytest.mark.usefixtures("blank_pictures")


@pytest.fixture(scope="module")
def trained(workspace):
    return workspace.train(strategy="head_only", epochs=1, max_train_samples=64)


@pytest.fixture
def measured(monkeypatch):
    """Grows by one whenever the second data set is scored."""
    made, plain = [], evaluate.log_transfer

    def count(*arguments, **keywords):
        made.append(arguments)
        plain(*arguments, **keywords)

    monkeypatch.setattr(evaluate, "log_transfer", count)
    return made


def test_a_transfer_score_counts_as_done_only_while_data_labels_and_code_are_the_same(
    workspace, tiny, trained, measured, monkeypatch
):
    shutil.copy(tiny.csv(), "second.csv")
    version = test.code_version

    def ask(**options):
        before = len(measured)
        config = EvaluateConfig(run_id=trained, transfer_dataset="second.csv", **options)
        done = evaluate.is_done(config, workspace.tracker.get(trained), workspace.tracker)
        evaluate.run(config)
        assert done == (len(measured) == before), "what is done is not done again, and all else is"
        return len(measured) - before

    assert ask() == 1
    first = workspace.tracker.get(trained)
    assert ask() == 0
    assert ask(transfer_labels=("good", "bad")) == 1
    assert workspace.tracker.get(trained).tags[Tag.TRANSFER_LABELS] == '["good", "bad"]'
    assert ask(transfer_labels=("good", "bad")) == 0
    assert ask() == 1
    second = Path("second.csv")
    second.write_text(second.read_text() + "one more text,good\n")
    assert ask() == 1
    assert workspace.tracker.get(trained).tags[Tag.TRANSFER_FINGERPRINT] != first.tags[Tag.TRANSFER_FINGERPRINT]
    assert ask() == 0

    monkeypatch.setattr(test, "code_version", lambda *used, **options: version(*used, **options) + "-edited")
    assert ask() == 1
    assert ask() == 0
    tags = workspace.tracker.get(trained).tags
    assert tags[Tag.TRANSFER_CODE_VERSION] == tags[Tag.TEST_CODE_VERSION]
    assert tags[Tag.TEST_CODE_VERSION].endswith("-edited")


def test_a_measurement_that_was_broken_off_is_made_again(workspace, tiny, trained, measured, monkeypatch):
    shutil.copy(tiny.csv(), "third.csv")
    config = EvaluateConfig(run_id=trained, transfer_dataset="third.csv")
    evaluate.run(config)
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.stages.testing.transfer.score_transfer", lambda *arguments: pytest.fail("killed"))
        with pytest.raises(pytest.fail.Exception):
            evaluate.run(EvaluateConfig(run_id=trained, transfer_dataset="third.csv", force=True))
    assert not evaluate.is_done(config, workspace.tracker.get(trained), workspace.tracker)


def test_columns_of_the_second_data_set_have_options_of_their_own(workspace, tiny, trained, measured):
    table = pd.read_csv(tiny.csv()).rename(columns={"text": "body", "label": "verdict"})
    table.assign(copy=table["body"]).to_csv("fourth.csv", index=False)
    asked = {"run_id": trained, "transfer_dataset": "fourth.csv"}
    with pytest.raises(DataError) as refused:
        evaluate.run(EvaluateConfig(**asked))
    assert [message.split(".csv: ")[0] for message in refused.value.messages] == ["--transfer-dataset fourth"] * 2
    for option in ("--transfer-text-column.", "--transfer-label-column."):
        assert f"Pass {option}" in str(refused.value)
    columns = {"transfer_text_column": "body", "transfer_label_column": "verdict"}
    assert workspace.cli("evaluate", **asked, **columns).exit_code == 0

    def is_done(**changes):
        config = EvaluateConfig(**asked, **columns | changes)
        return evaluate.is_done(config, workspace.tracker.get(trained), workspace.tracker)

    assert len(measured) == 1
    assert is_done()
    assert not is_done(transfer_text_column="copy"), "though its texts are the same"


def test_validation_stands_for_a_test_part_that_hides_its_labels(workspace, tiny, trained, measured):
    table = pd.read_csv(tiny.csv())
    Path("hidden").mkdir()
    hidden = table[50:60].assign(label=-1)
    dev = pd.concat([table[40:50], table[:1].assign(text="")])
    for part, rows in {"train": table[:40], "dev": dev, "test": hidden}.items():
        rows.to_csv(f"hidden/{part}.csv", index=False)
    result = workspace.cli("evaluate", run_id=trained, transfer_dataset="hidden")
    assert result.exit_code == 0, result.output
    assert "Transfer to 10 texts of the validation part of hidden: " in result.output
    assert "Dropped rows of hidden: 1 in all, 1 with missing text." in result.output
    assert (len(measured), workspace.tracker.get(trained).metrics["transfer/examples"]) == (1, 10)


def test_columns_of_packaged_data_are_not_named_otherwise(workspace, trained):
    with pytest.raises(DataError, match=r"--transfer-text-column body: imdb has text and label only\. Leave --transf"):
        evaluate.run(EvaluateConfig(run_id=trained, transfer_dataset="imdb", transfer_text_column="body"))


def test_options_of_a_second_data_set_need_one(workspace, trained):
    result = workspace.cli("evaluate", run_id=trained, transfer_label_column="verdict")
    assert result.exit_code == 2
    assert "--transfer-label-column: of which second data set? Give --transfer-dataset" in result.output
    result = workspace.cli("main", strategies="head_only", transfer_labels="a,b")
    assert result.exit_code == 2
    assert "--transfer-labels: of which second data set?" in result.output


def test_options_that_the_second_data_set_lacks_are_said_to_be_of_the_first(workspace, trained):
    Path("latin.csv").write_bytes("text,label\nfin\u00e9,good\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"--encoding .*options of the first data set alone: save the second as one UTF-8"):
        evaluate.run(EvaluateConfig(run_id=trained, transfer_dataset="latin.csv"))
