"""MLflow: a run of an experiment, on a server or in a database of this machine.

Addresses and credentials are MLflow's own: MLFLOW_TRACKING_URI, MLFLOW_TRACKING_TOKEN and so on.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from compressor.observers.tracking.tracker import Begun, Ended

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "edge-compressor"
"""If the environment names none (MLFLOW_EXPERIMENT_NAME, MLFLOW_EXPERIMENT_ID)."""
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}
"""MLflow's own defaults, 7 tries of 120 s each, would hold up a run for many minutes."""
_MOST = 1_000
"""Figures, and a tenth of it parameters and tags, that MLflow takes in one request."""
_STATES = {"done": "FINISHED", "waiting": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}
_LONGEST = 5_000
"""Characters of a parameter or tag; MLflow takes some more."""


class Backend:
    """Writes with MlflowClient, which changes nothing of the process's own active run."""

    name = "mlflow"

    def __init__(self) -> None:
        be_impatient()
        self._client: MlflowClient | None = None
        self._id = ""

    def begin(self, run: Begun) -> tuple[str, str]:
        """Create a run, or open the one that goes on."""
        from mlflow import MlflowClient
        from mlflow.entities import Param

        client = self._client = MlflowClient()
        self._id = run.id if run.id is not None and self._is_there(run.id) else ""
        if self._id:
            client.update_run(self._id, status="RUNNING")
        else:
            experiment = experiment_of(client)
            tags = {"edge-compressor.folder": str(run.folder)}
            self._id = client.create_run(experiment, run_name=run.name, tags=tags).info.run_id
            parameters = [
                Param(key, str(value)[:_LONGEST]) for key, value in run.parameters.items()
            ]
            for first in range(0, len(parameters), _MOST // 10):
                client.log_batch(self._id, params=parameters[first : first + _MOST // 10])
        return self._id, f"run {self._id} at {client.tracking_uri}"

    def log(self, figures: Mapping[str, float], epoch: int) -> None:
        """Keep the figures of an epoch."""
        import time

        from mlflow.entities import Metric

        assert self._client is not None
        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, epoch) for name, value in figures.items()]
        for first in range(0, len(metrics), _MOST):
            self._client.log_batch(self._id, metrics=metrics[first : first + _MOST])

    def end(self, ended: Ended) -> None:
        """Keep figures, facts and files, and end the run with its state."""
        assert self._client is not None
        client = self._client
        self.log(ended.figures, 0)
        said = {"outcome": ended.outcome, "reason": ended.reason, **ended.facts}
        for name, text in said.items():
            if text:
                client.set_tag(self._id, f"edge-compressor.{name}", text[:_LONGEST])
        for path in ended.files:
            if path.is_dir():
                client.log_artifacts(self._id, str(path), path.name)
            else:
                client.log_artifact(self._id, str(path))
        client.set_terminated(self._id, _STATES[ended.outcome])

    def _is_there(self, run_id: str) -> bool:
        from mlflow.exceptions import MlflowException

        assert self._client is not None
        try:
            found = self._client.get_run(run_id)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise
        return bool(found.info.lifecycle_stage == "active")


def be_impatient() -> None:
    """Let MLflow's client give up sooner, unless the environment says how long it may try.

    What it tries in vain is told once, by the error, and not by a line of its HTTP client each.
    """
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    for name, value in _PATIENCE.items():
        os.environ.setdefault(name, value)


def experiment_of(client: MlflowClient) -> str:
    """Return the id of the experiment that the environment names, or of our own."""
    if named := os.environ.get("MLFLOW_EXPERIMENT_ID"):
        return named
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
    found = client.get_experiment_by_name(name)
    return str(found.experiment_id if found else client.create_experiment(name))
