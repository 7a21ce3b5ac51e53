"""Every strategy's own search space holds points that the strategy takes, on every architecture that it works on."""

import pytest
from plain_models import in_tiers

from pipeline.config import TrainConfig
from pipeline.config.search_ranges import LogUniform
from pipeline.errors import ConfigError
from pipeline.modeling.family import list_model_types
from pipeline.modeling.model_sources import find_model
from pipeline.stages.configure import replace_options
from pipeline.strategies.base import StrategyContext, create_strategy, list_encoder_strategies
from pipeline.tuning.space import Space


@pytest.mark.parametrize("family", in_tiers(list_model_types()))
def test_strategies_take_what_their_spaces_hold(tiny, family):
    encoder = find_model(str(tiny.folder(family))).encoder
    context = StrategyContext(encoder, 5, 100, 0.1)
    searched = []
    for name in list_encoder_strategies():
        strategy = create_strategy(name, {})
        try:
            strategy.checked_phases(context)
        except ConfigError:
            continue
        space = Space(strategy.search_space(context))
        space.check_names(name)
        solves = strategy.is_solved  # without a rate
        assert isinstance(space.ranges["C" if solves else "learning_rate"], LogUniform), name
        assert not (solves and "learning_rate" in space.ranges), name
        assert not set(space.ranges) & {"epochs", "batch_size"}, "what a trial costs is the same for all by default"
        for number in range(20):
            candidate = replace_options(TrainConfig(strategy=name), space.draw(number, 0))
            create_strategy(name, candidate.strategy_args).phases(context)
        searched.append(name)
    assert len(searched) >= 10
