import pytest

from pipeline import config as configs
from pipeline.config.identity import SEEDS, identify, operational_options, settings_hash
from pipeline.config.options import STAGE_CONFIGS
from pipeline.hashing import digest

# Another hash makes every finished training anew. An option that says how a run is carried out is marked Operational.
HASHES = {
    "main": "2eb3ee62595e6e22",
    "prepare_data": "75a821a740ade180",
    "tune": "4e4ce6985cb4c134",
    "train": "c10137779dbc2848",
    "evaluate": "823ce2c510a60fa3",
    "compare": "1d5ad771ca39a786",
    "reproduce": "5e1f1455e1b67372",
    "predict": "987e3b6340aa0d6d",
    "register": "fc8e0b02d463546a",
    "export": "6c3027dadd26ddfe",
}


@pytest.mark.parametrize("stage", STAGE_CONFIGS)
def test_the_hash_of_a_default_config_stays(stage: str) -> None:
    assert digest(identify(STAGE_CONFIGS[stage]()))[:16] == HASHES[stage]


def test_the_hash_of_typed_values_stays() -> None:
    arguments = "r=4,targets=[query,value]"
    config = configs.TrainConfig(strategy="lora", strategy_args=arguments, seed=7, split_ratios="0.7,0.1,0.2", labels="a,b")  # type: ignore[arg-type]
    typed = configs.TrainConfig(**{**config.__dict__, "cache_dir": "x", "precision": "bf16"})
    assert digest(identify(typed))[:16] == "757dade8fb8d1c5e"
    assert settings_hash(typed) == settings_hash(config)
    assert settings_hash(config)[:16] == "a8378bf30e28ceb1"


def test_a_former_name_of_an_objective_is_the_same_configuration() -> None:
    former, today = (configs.TrainConfig(objective=name) for name in ("siamese", "bi_encoder"))
    assert former == today
    assert settings_hash(former) == settings_hash(today) != settings_hash(configs.TrainConfig())


def test_what_is_marked_in_a_class_is_so_in_those_below_it() -> None:
    assert operational_options(configs.CompareConfig) == {"cache_dir", "explicit", "export_dir", "store_patience_seconds"}
    assert operational_options(configs.MainConfig) > {
        "cache_dir",
        "export_dir",
        "dry_run",
        "workers",
        "storage",
        "num_processes",
    }


def test_identity_leaves_out_how_a_run_is_carried_out() -> None:
    config = configs.TrainConfig(strategy="partial", strategy_args={"top_k": 2})
    same = configs.TrainConfig(strategy="partial", strategy_args={"top_k": 2}, cache_dir="elsewhere", recipe="other")
    assert identify(config) == identify(same)
    assert identify(config) != identify(configs.TrainConfig(strategy="partial", strategy_args={"top_k": 3}))
    assert identify(configs.CompareConfig(run_ids=("a", "b")))["run_ids"] == ["a", "b"]


@pytest.mark.parametrize("differs", [*({seed: 7} for seed in SEEDS), {"precision": "bf16"}, {"cache_dir": "x"}], ids=str)
def test_repetitions_have_the_same_settings(differs: dict[str, object]) -> None:
    config, other = configs.TrainConfig(), configs.TrainConfig(**differs)  # type: ignore[arg-type]
    assert settings_hash(config) == settings_hash(other)
    assert (identify(config) == identify(other)) == ("cache_dir" in differs)


@pytest.mark.parametrize(
    "differs", [{"learning_rate": 1e-4}, {"strategy": "bitfit"}, {"strategy_args": {"top_k": 2}}, {"split_seed": 7}], ids=str
)
def test_what_is_no_repetition_has_other_settings(differs: dict[str, object]) -> None:
    other = configs.TrainConfig(**differs)  # type: ignore[arg-type]
    assert settings_hash(configs.TrainConfig()) != settings_hash(other)


@pytest.mark.parametrize(
    "option",
    [
        {"optimizer": "adafactor"},
        {"lr_scheduler_type": "cosine"},
        {"gradient_accumulation_steps": 2},
        {"gradient_checkpointing": True},
        {"auto_batch": True},
    ],
    ids=str,
)
def test_what_changes_a_result_or_what_it_costs_is_another_run(option: dict[str, object]) -> None:
    config = configs.TrainConfig(**option)  # type: ignore[arg-type]
    assert settings_hash(config) != settings_hash(configs.TrainConfig())
    assert {**identify(config), **option} == identify(config)


def test_a_choice_of_accelerations_is_another_run_in_whatever_order_it_was_typed() -> None:
    off = configs.TrainConfig(acceleration="off")  # type: ignore[arg-type]
    assert settings_hash(off) != settings_hash(configs.TrainConfig())
    assert configs.TrainConfig(acceleration=False) == off, "as YAML reads it"  # type: ignore[arg-type]
    some = configs.TrainConfig(acceleration="fused_lora,first_token,fused_lora")  # type: ignore[arg-type]
    assert some == configs.TrainConfig(acceleration=("first_token", "fused_lora"))
    assert identify(some)["acceleration"] == ["first_token", "fused_lora"]
    assert "acceleration" not in identify(configs.TrainConfig(acceleration="auto", cuda_graphs="off"))  # type: ignore[arg-type]
