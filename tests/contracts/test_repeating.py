"""The same configuration gives the same run, whether or not it was interrupted."""

import dataclasses
import json

import pytest
from pairs import OWN_HEADS, PAIRS, STRATEGIES, WITH_MEAN, fewest_epochs, in_tiers, make, moved
from plain_models import UNLIKE

from pipeline.config import TrainConfig
from pipeline.config.identity import identify
from pipeline.stages.configure import configure
from pipeline.strategies.base import create_strategy, strategy_arguments
from pipeline.training.checkpoints import trained_state

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

ROWS, STEPS_PER_EPOCH = 16, 2


class InterruptedTrainingError(Exception):
    """Stands for a process that is killed."""


CASES = [
    *((*pair, True, "pooler") for pair in PAIRS),
    *((*pair, True, "mean") for pair in WITH_MEAN),
    *(("bert", "lora", True, head) for head in OWN_HEADS),
]


@pytest.mark.parametrize(("family", "name", "pooler", "head"), in_tiers(CASES, UNLIKE))
def test_the_seed_decides_the_result_and_an_interruption_does_not(tiny, family, name, pooler, head, tmp_path, watch):
    epochs, steps_per_epoch = max(3, fewest_epochs(name)), STEPS_PER_EPOCH
    if make(name).is_solved:  # in one step, so an interruption leaves nothing, and nothing is drawn
        epochs = steps_per_epoch = 1
    if make(name).contrasts:  # on so many pairs as make one batch
        steps_per_epoch = 1
    last = epochs * steps_per_epoch

    def train(seed, folder, interrupted_at=None):
        config = tiny.config(seed=seed, epochs=epochs, head=head)
        built = tiny.build(make(name), tiny.folder(family, pooler), config, total_steps=last)
        states = {}

        def after_step(step):
            if step == interrupted_at:
                raise InterruptedTrainingError
            states[step] = trained_state(built.model, built.parameters)

        tiny.fit(built, config, tmp_path / folder, rows=ROWS, watcher=watch(after_step=after_step))
        return states

    first = train(1, "first")[last]
    interrupted_at = max(1, last - 1)
    with pytest.raises(InterruptedTrainingError):
        train(1, "again", interrupted_at=interrupted_at)
    resumed = train(1, "again")
    assert min(resumed) == (interrupted_at - 1) // steps_per_epoch * steps_per_epoch + 1
    again, other = resumed[last], train(2, "other")[last]
    assert first
    assert not moved(first, again)
    assert moved(first, other) == (set() if make(name).is_solved else set(first))


@pytest.mark.parametrize("name", STRATEGIES)
def test_arguments_and_config_survive_json(name):
    strategy = make(name)
    arguments = json.loads(json.dumps(strategy_arguments(strategy)))
    assert create_strategy(name, arguments) == strategy
    config = configure(TrainConfig, {"strategy": name, "head": "mean", "learning_rate": "3e-4", "max_train_samples": "100"})
    again = TrainConfig(**json.loads(json.dumps(dataclasses.asdict(config))))
    assert again == config
    assert identify(again) == identify(config)
