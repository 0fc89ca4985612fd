"""The model card: written from the report, with intervals, digests, licence, and inert names."""

import json

import pytest
from msgspec import structs
from ruamel.yaml import YAML

from compressor.sharing import model_card, shared_run
from compressor.sharing.licence import inherited
from runtime.errors import InputError
from runtime.results.report import NetworkOrigin, load


def header(card):
    return YAML(typ="safe", pure=True).load(card.split("---\n")[1])


def with_networks(report, **changes):
    teacher = NetworkOrigin(
        model="vit_small", weights="hub", hub_id="timm/vit_small.dino", license="apache-2.0"
    )
    student = NetworkOrigin(model="mobilenet", weights="none")
    return structs.replace(report, **{"teacher": teacher, "student": student, **changes})


def card_of(folder, **changes):
    run = shared_run.read(folder)
    report = with_networks(run.report, **changes)
    return model_card.write(report, run.bundle, inherited(report)), report


def test_the_figures_are_those_of_the_report_with_their_intervals(finished_run):
    card, report = card_of(finished_run)
    best = report.recommended_entry
    score = best.scores["accuracy_knn"]
    line = next(line for line in card.splitlines() if line.startswith("| kNN accuracy"))
    assert f"{score.low:.3f}" in line
    assert f"{report.golden.images} held-out images" in card
    assert report.golden.digest in card
    assert report.data["digest"] in card
    for each in report.verdict.requirements:
        assert each.requirement in card


def test_the_header_can_be_read_by_the_hub(finished_run):
    card, _ = card_of(finished_run)
    found = header(card)
    assert found["license"] == "apache-2.0"
    assert found["base_model"] == ["timm/vit_small.dino"]
    assert found["pipeline_tag"] == "image-classification"
    assert "knowledge-distillation" in found["tags"]


def test_teacher_and_licence_are_named(finished_run):
    card, _ = card_of(finished_run)
    assert "Licence of the student: apache-2.0" in card
    assert "timm/vit_small.dino (apache-2.0)" in card
    assert "`mobilenet`, trained from scratch" in card


def test_names_are_no_markup_and_leave_no_header(finished_run):
    evil = NetworkOrigin(
        model="a`b", weights="hub", hub_id='x"\nlicense: mit\n---\n<script>', license="mit"
    )
    card, _ = card_of(finished_run, teacher=evil)
    assert "<script>" not in card.split("---\n", 2)[2]
    assert header(card)["base_model"] == [evil.hub_id]


def test_a_run_without_report_or_bundle_is_refused(finished_run, tmp_path):
    with pytest.raises(InputError, match="no such"):
        shared_run.read(tmp_path / "nowhere")
    bundle = finished_run / "bundle" / "bundle.json"
    bundle.write_text(json.dumps(json.loads(bundle.read_text()) | {"name": "other"}))
    with pytest.raises(InputError, match=r"bundle\.json"):
        shared_run.read(finished_run)
    (finished_run / "bundle").rename(finished_run / "elsewhere")
    with pytest.raises(InputError, match="has no bundle"):
        shared_run.read(finished_run)
    assert load(finished_run)
