"""`compressor push --to mlflow:NAME`: a real registry in SQLite, and the model loaded from it."""

import json
import logging
import subprocess
import sys

import pytest

pytest.importorskip("mlflow")
pytest.importorskip("sqlalchemy")
pytest.importorskip("pandas")
pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's own

LOAD = """
import sys
import mlflow.pyfunc
model = mlflow.pyfunc.load_model("models:/tiny/1")
found = model.predict(sys.argv[1:])
import pandas
assert found.equals(model.predict(pandas.DataFrame({"image": sys.argv[1:]})))
print(found.to_json(orient="records"))
import runtime
print(runtime.__file__)
"""


@pytest.fixture
def registry(tmp_path, monkeypatch):
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")


def test_a_run_is_a_version_whose_predict_takes_image_files(registry, finished_run, tmp_path):
    from mlflow import MlflowClient

    import runtime
    from compressor.sharing import registry as registries
    from compressor.sharing import shared_run

    told = []
    run = shared_run.read(finished_run)
    assert registries.push(run, "tiny", note=told.append) == "models:/tiny/1"
    version = MlflowClient().get_model_version("tiny", "1")
    assert version.description == run.card
    assert version.tags["verdict"] == run.report.verdict.outcome
    images = sorted(map(str, (finished_run / "bundle" / "golden" / "images").iterdir()))[:3]
    student = runtime.load(finished_run / "bundle")
    expected = [answer.to_dict() for answer in student.predict(images)]
    loaded = subprocess.run(
        [sys.executable, "-c", LOAD, *images], capture_output=True, text=True, cwd=tmp_path
    )
    assert loaded.returncode == 0, loaded.stderr
    answers, where = loaded.stdout.splitlines()[-2:]
    for answer, wanted in zip(json.loads(answers), expected, strict=True):
        assert answer["label"] == wanted["label"]
        assert answer["confidence"] == pytest.approx(wanted["confidence"], abs=1e-6)
    assert "code/runtime" in where  # the model's own copy
    assert registries.push(run, "tiny", note=told.append) == "models:/tiny/2"


def test_a_registry_that_is_away_is_exit_code_3_without_its_password(
    finished_run, monkeypatch, capfd, tmp_path
):
    from compressor.cli import app

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:hunter2@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    for name in ("HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_PROGRESS_BARS"):
        monkeypatch.setenv(name, "1")
    words = ["compressor", "push", str(finished_run), "--to", "mlflow:tiny"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        app.main()
    _, err = capfd.readouterr()
    assert ended.value.code == 3
    assert "127.0.0.1" in err
    assert "hunter2" not in err
    assert "Traceback" not in err
