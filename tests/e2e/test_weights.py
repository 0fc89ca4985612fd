"""A whole run whose student has the hub's weights, and the same run when the hub is gone."""

import timm
import torch
from safetensors.torch import save

import compressor
from compressor import events

HUB_ID = "timm/test_resnet.r160_in1k"


def test_a_run_with_weights_of_the_hub_goes_on_without_it(
    local_hub, write_recipe, tmp_path, monkeypatch
):
    network = timm.create_model("test_resnet").train()
    with torch.no_grad():
        for _ in range(20):  # statistics for its batch norms, as in a trained network
            network(torch.randn(16, 3, 32, 32))
    local_hub.put(HUB_ID, save(network.state_dict()))
    changes = {"student.model": "test_resnet", "student.weights": "auto", "student.image_size": 64}
    recipe = write_recipe({**changes, "check.robustness_images": 0})
    result = compressor.run(recipe, out=tmp_path / "run")
    student = result.report.student
    assert (student.weights, student.hub_id, student.license) == ("hub", HUB_ID, "apache-2.0")
    assert f"Student: `test_resnet`, distilled from weights: {HUB_ID} (apache-2.0)." in (
        (result.folder / "report.md").read_text()
    )
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "emptied"))
    seen = []
    again = compressor.run(recipe, out=tmp_path / "run", on_event=seen.append)
    made = [event for event in seen if isinstance(event, events.StepEnded)]
    assert {event.state for event in made} == {"cached"}
    assert again.report.student == student
