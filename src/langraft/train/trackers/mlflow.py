"""MLflow: the server that MLFLOW_TRACKING_URI names, or files in the run's folder."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from typing import Any, ClassVar

from langraft.train.tracking.credentials import without_credentials
from langraft.train.tracking.tracker import PROJECT, AbstractTracker, TrackedRun

_ID = "langraft.id"
_MOST_PARAMS, _MOST_METRICS = 100, 1000  # that a server takes in one request


class MLflow(AbstractTracker):
    """A run of the experiment MLFLOW_EXPERIMENT_NAME, or ``langraft``."""

    package: ClassVar[str] = "mlflow"

    def __init__(self, run: TrackedRun) -> None:
        """Begin the run, or go on with the one that has its id."""
        import mlflow

        if mlflow.is_tracking_uri_set():
            address = mlflow.get_tracking_uri()
        else:
            # The extra has MLflow without a database; it then writes files only when told to.
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
            address = (run.folder / "mlflow").absolute().as_uri()
        self.where = without_credentials(address)
        self._client = mlflow.MlflowClient(tracking_uri=address)
        experiment = self._experiment()
        found = self._client.search_runs([experiment], f"tags.`{_ID}` = '{run.id}'")
        if found:
            self._id = found[0].info.run_id
            self._client.update_run(self._id, status="RUNNING")
            return
        made = self._client.create_run(experiment, run_name=run.name, tags={_ID: run.id})
        self._id = made.info.run_id
        self._log_params(run.config)

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Log the figures under their step."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(_allowed(name), v, now, step) for name, v in figures.items()]
        for start in range(0, len(metrics), _MOST_METRICS):
            self._client.log_batch(self._id, metrics=metrics[start : start + _MOST_METRICS])

    def summarize(self, figures: Mapping[str, float]) -> None:
        """Log the figures at step 0: the last value of a metric stands for the run."""
        self.log(0, figures)

    def close(self, *, is_finished: bool) -> None:
        """End the run, which a later session may take up again."""
        self._client.set_terminated(self._id, "FINISHED" if is_finished else "KILLED")

    def _experiment(self) -> str:
        """Return the id of the experiment, made here if need be."""
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        found = self._client.get_experiment_by_name(name)
        return self._client.create_experiment(name) if found is None else found.experiment_id

    def _log_params(self, config: Mapping[str, Any]) -> None:
        """Log the recipe, one parameter a value; MLflow cuts what is too long for it."""
        from mlflow.entities import Param

        params = [Param(_allowed(name), value) for name, value in _flat_texts(config).items()]
        for start in range(0, len(params), _MOST_PARAMS):
            self._client.log_batch(self._id, params=params[start : start + _MOST_PARAMS])


def _allowed(name: str) -> str:
    """Return a name with the characters that MLflow takes."""
    return re.sub(r"[^\w\-./ ]", "_", name)


def _flat_texts(config: Any, path: str = "") -> dict[str, str]:
    """Return every value of a recipe by its path: ``stages.0.lr``."""
    if isinstance(config, Mapping):
        parts = list(config.items())
    elif isinstance(config, list):
        parts = list(enumerate(config))
    else:
        return {path: str(config)}
    flat: dict[str, str] = {}
    for key, value in parts:
        flat |= _flat_texts(value, f"{path}.{key}" if path else str(key))
    return flat
