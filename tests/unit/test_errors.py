import pytest

from pipeline.errors import ConfigError, DataError, PipelineError, TrainingError, hide_credentials, unknown


def test_one_message_stands_alone_and_several_are_listed() -> None:
    assert str(DataError("a.csv: empty.")) == "a.csv: empty."
    assert str(ConfigError("first", "second")) == "2 mistakes:\n  - first\n  - second"


@pytest.mark.parametrize(("error", "status"), [(ConfigError, 2), (DataError, 2), (TrainingError, 1), (PipelineError, 1)])
def test_a_mistake_of_input_exits_with_2_and_a_failure_with_1(error: type[PipelineError], status: int) -> None:
    assert error("x").exit_status == status


@pytest.mark.parametrize(
    ("name", "available", "message"),
    [
        ("lorra", ("lora", "full"), "Unknown strategy 'lorra'. Did you mean 'lora'? Available: full, lora."),
        ("zzz", ("lora", "full"), "Unknown strategy 'zzz'. Available: full, lora."),
        ("zzz", (), "Unknown strategy 'zzz'. Available: none."),
    ],
)
def test_unknown_suggests_the_nearest_name_only_where_one_is_near(name: str, available: tuple[str, ...], message: str) -> None:
    assert unknown("strategy", name, available) == message


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql+psycopg2://me:se/c@ret@host/runs cannot", "postgresql+psycopg2://...@host/runs cannot"),
        ("--storage=mysql://me@host/x and http://a:b@c", "--storage=mysql://...@host/x and http://...@c"),
        ("postgresql://h/db?user=me&password=secret&ssl=1", "postgresql://h/db?user=...&password=...&ssl=1"),
        *((text, text) for text in ("sqlite:////data/a.db, somebody@example.org", "hf://datasets/a/b@main/x.csv")),
        *(
            (text, text)
            for text in ("sqlite:////home/me@corp.example/mlflow.db", "file:///data/x@1.csv", "http://host:5000/a?b=c")
        ),
    ],
)
def test_names_and_passwords_in_addresses_are_hidden(text: str, shown: str) -> None:
    assert hide_credentials(text) == shown
