"""MLflow: runs in a real database of SQLite, read back with MLflow's client."""

import logging

import pytest

pytest.importorskip("mlflow")
pytest.importorskip("sqlalchemy")
pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's own, of SQLAlchemy and others


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    return tmp_path_factory.mktemp("mlflow") / "mlflow.db"


@pytest.fixture
def client(database, monkeypatch, tmp_path):
    from mlflow import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    monkeypatch.chdir(database.parent)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", tmp_path.name)
    return MlflowClient(f"sqlite:///{database}")


def runs(client, tmp_path):
    experiment = client.get_experiment_by_name(tmp_path.name)
    return client.search_runs([experiment.experiment_id])


def artefacts(client, run, folder=None):
    return {each.path for each in client.list_artifacts(run.info.run_id, folder)}


def test_a_run_is_there_with_recipe_epochs_ledger_report_and_bundle(
    finished_run, accuracy, client, tmp_path
):
    told = finished_run.play_all("mlflow")
    assert [event.level for event in told] == ["info"], told
    (run,) = runs(client, tmp_path)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "tiny")
    assert run.data.params["distill.method"] == "tintem"
    assert run.data.params["export.precisions"] == '["fp32", "int8"]'
    history = client.get_metric_history(run.info.run_id, "train/similarity")
    assert [(each.step, each.value) for each in history] == [(0, 0.25), (1, 0.75)]
    name, value, low = accuracy
    assert run.data.metrics[name] == pytest.approx(value)
    assert run.data.metrics[f"{name}_low"] == pytest.approx(low)
    assert run.data.tags["edge-compressor.recommended"].startswith("student.")
    assert {"report.json", "report.html", "recipe.resolved.yaml"} <= artefacts(client, run)
    assert "bundle/bundle.json" in artefacts(client, run, "bundle")


def test_a_failed_run_is_there_with_its_reason_and_goes_on_as_the_same(
    finished_run, client, tmp_path
):
    finished_run.play_failed("mlflow")
    (run,) = runs(client, tmp_path)
    assert run.info.status == "FAILED"
    assert run.data.tags["edge-compressor.reason"] == "labels.csv: no such image"
    finished_run.play_all("mlflow")
    (again,) = runs(client, tmp_path)
    assert (again.info.run_id, again.info.status) == (run.info.run_id, "FINISHED")


def test_a_run_that_mlflow_has_no_more_is_begun_anew(finished_run, client, tmp_path):
    finished_run.play_failed("mlflow")
    (run,) = runs(client, tmp_path)
    client.delete_run(run.info.run_id)
    told = finished_run.play_all("mlflow")
    assert [event.level for event in told] == ["info"], told
    (again,) = runs(client, tmp_path)
    assert again.info.run_id != run.info.run_id
    assert len(client.get_metric_history(again.info.run_id, "train/similarity")) == 2


def test_a_server_that_is_down_is_told_and_the_run_goes_on(finished_run, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:hunter2@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    told = finished_run.play_all("mlflow")
    assert [event.level for event in told] == ["warning"]
    assert "127.0.0.1" in told[0].text
    assert "hunter2" not in told[0].text
