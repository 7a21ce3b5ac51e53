"""Checkpoints that survive being killed: written beside, then renamed, so each is there whole or not at all.

A folder holds the newest checkpoint and the best one, which may be the same. Weights are safetensors; the optimizer's state
and the random generators' are read back by `torch.load(weights_only=True)`, so a checkpoint can run no code.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.atomic_io import synchronise, synchronise_below
from pipeline.errors import DamageError, PipelineError, refused_pickle
from pipeline.failures import is_exhausted, writing_to
from pipeline.hashing import find_damage, seal
from pipeline.json_text import parse_json
from pipeline.strategies.base import Strategy
from pipeline.strategies.parameter_plan import ParameterPlan

if TYPE_CHECKING:
    import torch
    from torch import nn

_PREFIX = "step-"
_WEIGHTS, _STATE, _PROGRESS = "trained.safetensors", "optimizer.pt", "progress.json"


@dataclass(frozen=True)
class CheckpointFolder:
    """Where one training keeps its checkpoints."""

    path: Path

    def steps(self) -> list[int]:
        """Steps of the checkpoints that are there, ascending."""
        if not self.path.is_dir():
            return []
        names = [entry.name.removeprefix(_PREFIX) for entry in self.path.glob(f"{_PREFIX}*")]
        return sorted(int(name) for name in names if name.isdigit())

    def save(
        self,
        step: int,
        best_step: int,
        model: nn.Module,
        plan: ParameterPlan,
        optimizer: Any,
        scaler: Any,
        progress: dict[str, Any],
        strategy: Strategy,
        generators: Sequence[Mapping[str, torch.Tensor]] = (),
    ) -> None:
        """Write the state after `step` and delete all others but the best one's.

        Args:
            optimizer: None after the last step: its state, twice as large as the weights that train, serves nothing any more.
            scaler: The gradient scaler of fp16; None in other precisions.
            generators: `generator_states()` of every process that trains, in order of rank; this one's if not given.
        """
        first, *others = generators or [generator_states()]
        state: dict[str, Any] = {"generators": first, "strategy": strategy.state(model)}
        if optimizer is not None:
            state["optimizer"] = optimizer.state_dict()
        if others:
            state["generators_of_others"] = others
        if scaler is not None:
            state["scaler"] = scaler.state_dict()
        with writing_to(self.path):
            self._write(step, trained_state(model, plan), state, progress)
        for other in self.steps():
            if other not in (step, best_step):
                shutil.rmtree(self._folder(other))

    def _write(self, step: int, weights: dict[str, torch.Tensor], state: dict[str, Any], progress: dict[str, Any]) -> None:
        """Write beside and rename; nothing is left where that fails, such as on a full disk."""
        import torch
        from safetensors.torch import save_file

        scratch = self.path / f".writing-{step}"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        try:
            save_file(weights, scratch / _WEIGHTS)
            with (scratch / _STATE).open("wb") as file:  # given a name, torch does not say that the disk is full
                torch.save(state, file)
            (scratch / _PROGRESS).write_text(json.dumps(progress))
            seal(scratch)
            synchronise_below(scratch)  # before it gets its name, and before older ones are deleted
            target = self._folder(step)
            shutil.rmtree(target, ignore_errors=True)
            scratch.replace(target)
            synchronise(self.path)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def find_usable(self) -> int | None:
        """The newest step from which training can go on: it is whole, and so is the best one that belongs to it."""
        return next((step for step in reversed(self.steps()) if self._damage_of(step) is None), None)

    def drop_damaged(self) -> list[str]:
        """Delete the checkpoints from which training cannot go on; what was damaged, a sentence each."""
        usable, said = self.find_usable(), []
        then = "training begins anew" if usable is None else f"training resumes from step {usable}"
        for step in self.steps():
            if usable is None or step > usable:
                if damaged := self._own_damage_of(step):
                    said.append(f"The checkpoint of step {step} is damaged ({self._folder(step) / damaged}): {then}.")
                shutil.rmtree(self._folder(step))
        return said

    def _damage_of(self, step: int) -> str | None:
        """The damaged file of a checkpoint, or of the best one that belongs to it."""
        if damaged := self._own_damage_of(step):
            return damaged
        best = _read_progress(self._folder(step)).get("best_step", step)
        return find_damage(self._folder(best), [_WEIGHTS]) if best not in (0, step) else None  # 0: none was evaluated yet

    def _own_damage_of(self, step: int) -> str | None:
        """The file of a checkpoint that is not what was written, or that this version cannot read."""
        if damaged := find_damage(self._folder(step), (_WEIGHTS, _STATE, _PROGRESS)):
            return damaged
        try:
            _read_progress(self._folder(step))
        except ValueError:
            return _PROGRESS
        return None

    def restore(
        self, model: nn.Module, plan: ParameterPlan, optimizer: Any, scaler: Any, strategy: Strategy, rank: int = 0
    ) -> dict[str, Any] | None:
        """Put model, optimizer, strategy and generators into the newest checkpoint's state.

        Args:
            rank: Which of the processes that train this is. Where fewer trained before, its generators stay as they are.

        Returns:
            The progress that was saved with it, None without a checkpoint.

        Raises:
            PipelineError: It is damaged, or of another model or strategy.
        """
        import torch

        steps = self.steps()
        if not steps:
            return None
        folder = self._folder(steps[-1])
        self.load_weights(steps[-1], model, plan)
        with self._readable(folder, _STATE, _PROGRESS):
            state = torch.load(folder / _STATE, map_location="cpu", weights_only=True)
            if "optimizer" in state:
                optimizer.load_state_dict(state["optimizer"])
            strategy.restore(model, state["strategy"])
            if scaler is not None:
                scaler.load_state_dict(state["scaler"])
            generators = [state["generators"], *state.get("generators_of_others", [])]
            if rank < len(generators):
                restore_generators(generators[rank])
            return _read_progress(folder)

    def history(self) -> list[tuple[int, dict[str, float]]]:
        """(step, metrics) of everything that had been reported when the newest checkpoint was written."""
        steps = self.steps()
        if not steps:
            return []
        with self._readable(self._folder(steps[-1]), _PROGRESS):
            progress = _read_progress(self._folder(steps[-1]))
            return [(int(step), metrics) for step, metrics in progress["history"]]

    def load_weights(self, step: int, model: nn.Module, plan: ParameterPlan) -> None:
        """Put the trained weights of one checkpoint into the model."""
        from safetensors.torch import load_file

        with self._readable(self._folder(step), _WEIGHTS):
            load_trained_state(model, plan, load_file(self._folder(step) / _WEIGHTS))

    @contextlib.contextmanager
    def _readable(self, folder: Path, *files: str) -> Iterator[None]:
        way_out = f"Delete {self.path} to train from the beginning."
        if damaged := find_damage(folder, files):
            raise DamageError(f"The checkpoint {folder} cannot be read ({damaged} is damaged). {way_out}")
        try:
            yield
        except Exception as error:  # safetensors, pickle, json and the optimizer each raise their own
            if is_exhausted(error):
                raise
            objects = refused_pickle(error)
            reason = f"it holds {objects}, which training does not write" if objects else " ".join(str(error).split())[:200]
            raise PipelineError(f"The checkpoint {folder} cannot be read ({reason}). {way_out}") from error

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder to write into that is gone after the block, or where that is killed with the checkpoints."""
        with writing_to(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self.path) as scratch:
                yield Path(scratch)

    def delete(self) -> None:
        """Remove the folder and all in it."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _folder(self, step: int) -> Path:
        return self.path / f"{_PREFIX}{step}"


def _read_progress(folder: Path) -> dict[str, Any]:
    """What a checkpoint says of how far it is.

    Raises:
        ValueError: It is no record of that, such as one of another version.
    """
    progress = parse_json((folder / _PROGRESS).read_text(encoding="utf-8"))
    if not isinstance(progress, dict) or not isinstance(progress.get("best_step", 0), int):
        raise ValueError(f"{_PROGRESS} holds something else")
    return progress


def generator_states() -> dict[str, torch.Tensor]:
    """State of torch's global generators in this process, by device."""
    import torch

    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def restore_generators(states: Mapping[str, torch.Tensor]) -> None:
    """Put torch's global generators back to such states."""
    import torch

    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])


def trained_state(model: nn.Module, plan: ParameterPlan) -> dict[str, torch.Tensor]:
    """Copies on the CPU of the parameters that ever train and of the head, by name."""
    names = {parameter.name for parameter in plan.saved}
    return {
        name: parameter.detach().cpu().clone().contiguous() for name, parameter in model.named_parameters() if name in names
    }


def load_trained_state(model: nn.Module, plan: ParameterPlan, state: dict[str, torch.Tensor]) -> None:
    """Put such copies back.

    Raises:
        ValueError: The names or shapes are not those of the plan.
    """
    import torch

    expected = {parameter.name: parameter.shape for parameter in plan.saved}
    actual = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if expected != actual:
        differing = sorted(set(expected.items()) ^ set(actual.items()))[:3]
        raise ValueError(f"These are weights of another model or strategy; they differ in {differing}.")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in state:
                parameter.copy_(state[name])
