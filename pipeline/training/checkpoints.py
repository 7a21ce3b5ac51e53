"""Checkpoints that survive being killed: written beside, then renamed, so each is there whole or not at all.

A folder holds the newest checkpoint and the best one, which may be the same. Weights are safetensors; the optimizer's state
and the random generators' are read back by `torch.load(weights_only=True)`, so a checkpoint can run no code.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import PipelineError
from pipeline.strategies.base import Strategy
from pipeline.strategies.freezing.parameter_plan import ParameterPlan

if TYPE_CHECKING:
    import torch
    from torch import nn

_PREFIX = "step-"


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
            scaler: The gradient scaler of fp16; None in other precisions.
            generators: `generator_states()` of every process that trains, in order of rank; this one's if not given.
        """
        import torch
        from safetensors.torch import save_file

        scratch = self.path / f".writing-{step}"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        save_file(trained_state(model, plan), scratch / "trained.safetensors")
        first, *others = generators or [generator_states()]
        state = {"optimizer": optimizer.state_dict(), "generators": first, "strategy": strategy.state(model)}
        if others:
            state["generators_of_others"] = others
        if scaler is not None:
            state["scaler"] = scaler.state_dict()
        torch.save(state, scratch / "optimizer.pt")
        (scratch / "progress.json").write_text(json.dumps(progress))
        target = self._folder(step)
        shutil.rmtree(target, ignore_errors=True)
        scratch.replace(target)
        for other in self.steps():
            if other not in (step, best_step):
                shutil.rmtree(self._folder(other))

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
        with self._readable(folder):
            state = torch.load(folder / "optimizer.pt", map_location="cpu", weights_only=True)
            optimizer.load_state_dict(state["optimizer"])
            strategy.restore(model, state["strategy"])
            if scaler is not None:
                scaler.load_state_dict(state["scaler"])
            generators = [state["generators"], *state.get("generators_of_others", [])]
            if rank < len(generators):
                torch.set_rng_state(generators[rank]["cpu"])
                if "cuda" in generators[rank] and torch.cuda.is_available():
                    torch.cuda.set_rng_state(generators[rank]["cuda"])
            progress: dict[str, Any] = json.loads((folder / "progress.json").read_text())
        return progress

    def history(self) -> list[tuple[int, dict[str, float]]]:
        """(step, metrics) of everything that had been reported when the newest checkpoint was written."""
        steps = self.steps()
        if not steps:
            return []
        with self._readable(self._folder(steps[-1])):
            progress = json.loads((self._folder(steps[-1]) / "progress.json").read_text())
            return [(int(step), metrics) for step, metrics in progress["history"]]

    def load_weights(self, step: int, model: nn.Module, plan: ParameterPlan) -> None:
        """Put the trained weights of one checkpoint into the model."""
        from safetensors.torch import load_file

        with self._readable(self._folder(step)):
            load_trained_state(model, plan, load_file(self._folder(step) / "trained.safetensors"))

    @contextlib.contextmanager
    def _readable(self, folder: Path) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # safetensors, pickle, json and the optimizer each raise their own
            reason = " ".join(str(error).split())[:200]
            raise PipelineError(
                f"The checkpoint {folder} cannot be read ({reason}). Delete {self.path} to train from the beginning."
            ) from error

    def delete(self) -> None:
        """Remove the folder and all in it."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _folder(self, step: int) -> Path:
        return self.path / f"{_PREFIX}{step}"


def generator_states() -> dict[str, torch.Tensor]:
    """State of torch's global generators in this process, by device."""
    import torch

    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


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
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if expected != found:
        differing = sorted(set(expected.items()) ^ set(found.items()))[:3]
        raise ValueError(f"These are weights of another model or strategy; they differ in {differing}.")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in state:
                parameter.copy_(state[name])
