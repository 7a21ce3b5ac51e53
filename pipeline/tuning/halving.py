"""Successive halving: trials that do badly at first are ended early."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.tuning.search import StudyAddress, storage_errors

_HALVES = 2


@dataclass(frozen=True)
class Halving:
    """Tells a training to end when it is not among the better half of the trials at its first, second, fourth, ... evaluation.

    Successive halving without waiting for one another (Li et al. 2020, arXiv:1810.05934). Holds no connection, so it can be
    sent to another process.
    """

    address: StudyAddress
    number: int
    metric: str

    def __call__(self, step: int, metrics: Mapping[str, float]) -> bool:
        """Whether to end after an evaluation at this training step."""
        import optuna

        pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=_HALVES)
        with storage_errors(self.address):
            study = optuna.load_study(study_name=self.address.name, storage=self.address.open_storage(), pruner=pruner)
            trial = optuna.trial.Trial(study, study.get_trials(deepcopy=False)[self.number]._trial_id)
            steps: list[int] = trial.user_attrs.get("evaluated", [])
            if step not in steps:  # one that goes on from a checkpoint comes by again
                steps = [*steps, step]
                trial.set_user_attr("evaluated", steps)
                trial.report(metrics[self.metric], steps.index(step) + 1)
            return trial.should_prune()
