"""MLflow's model registry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlflow.exceptions import MlflowException

from pipeline.errors import ConfigError, shorten
from pipeline.tracking.model_registry.logged_models import link_version
from pipeline.tracking.model_registry.versions import ModelVersion
from pipeline.tracking.retrying_client import RetryingClient, store_error, store_errors
from pipeline.tracking.tags import TEXT_LIMIT

_NOT_THERE = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # of an alias that no version has it says the latter
_THERE = "RESOURCE_ALREADY_EXISTS"


class MlflowModels:
    """A `ModelRegistry` in the tracking store, or where `MLFLOW_REGISTRY_URI` says."""

    def __init__(self, client: RetryingClient) -> None:
        """Use the client of a tracker."""
        self._client = client

    def versions(self, name: str) -> list[ModelVersion]:
        """The oldest first."""
        quote = '"' if "'" in name else "'"
        found: dict[int, ModelVersion] = {}  # a version that is made between two pages shifts the second one
        token: str | None = None
        with store_errors("read", self._client.tracking_uri):
            while True:
                page = self._client.search_model_versions(f"name={quote}{name}{quote}", page_token=token)
                found |= {version.number: version for version in map(_take, page)}
                token = page.token
                if not token:
                    break
        return [found[number] for number in sorted(found)]

    def aliased(self, name: str, alias: str) -> ModelVersion | None:
        """The version that has the alias."""
        if not self.versions(name):  # a server with users answers 403 where there is no such model
            return None
        try:
            return _take(self._client.get_model_version_by_alias(name, alias))
        except MlflowException as error:
            if error.error_code in _NOT_THERE:
                return None
            raise store_error("read", self._client.tracking_uri, error) from error

    def add(self, name: str, run_id: str, tags: Mapping[str, str]) -> ModelVersion:
        """A new version, which MLflow numbers in one transaction."""
        try:
            self._client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code == "INVALID_PARAMETER_VALUE":
                raise ConfigError(f"--name {shorten(name)}: MLflow refuses it: {error}") from error
            if error.error_code != _THERE:
                raise store_error("written", self._client.tracking_uri, error) from error
        with store_errors("written", self._client.tracking_uri):
            run = self._client.get_run(run_id)
            made = _take(self._client.create_model_version(name, f"{run.info.artifact_uri}/model", run_id, tags=_cut(tags)))
            link_version(self._client, run, name, made.number)
            return made

    def note(self, version: ModelVersion, tags: Mapping[str, str], description: str | None = None) -> None:
        """Put tags, and if given another description, on a version."""
        name, number = version.name, str(version.number)
        with store_errors("written", self._client.tracking_uri):
            if description is not None:
                self._client.update_model_version(name, number, description[:TEXT_LIMIT])
            for tag, value in _cut(tags).items():
                self._client.set_model_version_tag(name, number, tag, value)

    def remove(self, version: ModelVersion) -> None:
        """Delete a version."""
        with store_errors("written", self._client.tracking_uri):
            self._client.delete_model_version(version.name, str(version.number))
            link_version(self._client, self._client.get_run(version.run_id), version.name, version.number, there=False)

    def set_alias(self, version: ModelVersion, alias: str) -> None:
        """Give a version the alias."""
        with store_errors("written", self._client.tracking_uri):
            self._client.set_registered_model_alias(version.name, alias, str(version.number))


def _take(version: Any) -> ModelVersion:
    """A version as MLflow's client gives it."""
    return ModelVersion(version.name, int(version.version), version.run_id or "", dict(version.tags), version.description or "")


def _cut(tags: Mapping[str, str]) -> dict[str, str]:
    return {str(name): value[:TEXT_LIMIT] for name, value in tags.items()}
