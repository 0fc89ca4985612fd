"""A run to a model registry of MLflow, as a pyfunc model whose predict takes image files."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import runtime
from compressor.observers.tracking.mlflow import be_impatient, experiment_of
from compressor.observers.tracking.registry import require
from compressor.sharing.shared_run import SharedRun
from runtime.bundle.schema import extras
from runtime.errors import InputError, MissingDependencyError
from runtime.text import without_secrets

_BASE = (
    "click",
    "jinja2",
    "mlflow-skinny",
    "msgspec",
    "numpy",
    "pandas",
    "pillow",
    "psutil",
    "safetensors",
)
_BACKENDS = {
    "cpu": "onnxruntime",
    "gpu": "onnxruntime-gpu",
    "ncnn": "ncnn",
    "litert": "ai-edge-litert",
    "tensorrt": "tensorrt",
    "tensorrt-rtx": "tensorrt-rtx",
}
_MODEL = "model"


def push(run: SharedRun, name: str, *, note: Callable[[str], None]) -> str:
    """Register a run's bundle as the next version of a model.

    The model carries the bundle and the runtime's code, so that it loads without edge-compressor.

    Args:
        run: what to push.
        name: of the registered model; created if it is not there.
        note: gets lines for the user.

    Returns:
        The model's address, `models:/NAME/VERSION`.

    Raises:
        InputError: MLflow refuses.
        MissingDependencyError: MLflow is not installed, or cannot be reached.
    """
    require(["mlflow"])
    be_impatient()
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    import mlflow
    from mlflow.exceptions import MlflowException

    where = f"{without_secrets(mlflow.get_registry_uri())}, model {name}"
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / _MODEL
            note(f"{where}: sending {run.text()}")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # advice to whoever writes a model
                _save(run, path)
            return _register(run, name, path)
    except MlflowException as error:
        lines = (without_secrets(str(error)).strip() or type(error).__name__).splitlines()
        if error.error_code in ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE"):
            raise MissingDependencyError(f"{where}: {lines[0][:300]}") from None
        raise InputError(f"{where}: MLflow refuses: {lines[0][:300]}") from None


def _save(run: SharedRun, path: Path) -> None:
    import mlflow.pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    mlflow.pyfunc.save_model(
        path,
        python_model=str(Path(__file__).with_name("pyfunc_model.py")),
        artifacts={"bundle": str(run.bundle.folder)},
        code_paths=[str(Path(runtime.__file__).parent)],
        pip_requirements=_requirements(run),
        signature=ModelSignature(inputs=Schema([ColSpec("string")])),
        metadata={"edge-compressor": runtime.__version__, "licence": run.licence.name},
    )


def _register(run: SharedRun, name: str, path: Path) -> str:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient()
    begun = client.create_run(experiment_of(client), run_name=f"push {run.name}")
    try:
        client.log_artifacts(begun.info.run_id, str(path), _MODEL)
        client.log_dict(begun.info.run_id, {"licence": run.licence.name}, "licence.json")
        client.log_text(begun.info.run_id, run.card, "README.md")
        for file in ("report.json", "report.md", "report.html"):
            if file in run.files:
                client.log_artifact(begun.info.run_id, str(run.files[file]))
        try:
            client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        made = client.create_model_version(
            name,
            f"{begun.info.artifact_uri}/{_MODEL}",
            begun.info.run_id,
            tags={"verdict": run.report.verdict.outcome, "licence": run.licence.name},
            description=run.card,
        )
    except BaseException:
        client.set_terminated(begun.info.run_id, "FAILED")
        raise
    client.set_terminated(begun.info.run_id)
    return f"models:/{name}/{made.version}"


def _requirements(run: SharedRun) -> list[str]:
    """Return the packages that run the model, at the versions of this machine."""
    file = run.bundle.recommended.path.name
    backends = extras([file], run.bundle.target.provider).split(",")
    names = [*_BASE, *(_BACKENDS[each] for each in backends if each in _BACKENDS)]
    found = list[str]()
    for name in names:
        try:
            found.append(f"{name}=={version(name)}")
        except PackageNotFoundError:  # another runtime than this machine's
            found.append(name)
    return found
