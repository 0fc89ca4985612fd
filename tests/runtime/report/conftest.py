"""A whole report.json, made by hand; tests change what they are about."""

import copy
from pathlib import Path

import pytest

from runtime.results.report import Report
from runtime.results.scores import from_json

LATENCY = {
    "batch": 1, "runs": 500, "median_ms": 1.234, "p95_ms": 2.345, "p99_ms": 3.456,
    "median_ms_ci": [1.2, 1.3], "steady": True, "includes_preprocessing": False,
    "images_per_s": 810.0,
}  # fmt: skip
DOCUMENT = {
    "schema_version": 1,
    "recipe": {"name": "flowers", "digest": "ab12"},
    "target": {"name": "raspberry-pi-5", "this_machine": True},
    "machine": {
        "os": "Linux", "arch": "aarch64", "cpu": "Cortex-A76", "cores": 4, "memory_gb": 8.0,
        "board": None, "gpu": None, "load_1min": 0.1, "cpu_governor": None, "cpu_mhz": None,
        "python": "3.11.2", "libraries": {"numpy": "2.0", "pillow": "11"},
    },
    "golden": {
        "images": 100, "ood_images": 0, "ood_source": None, "digest": "cd34",
        "set_apart_as_seen_in_training": [],
    },
    "preprocess_max_difference_levels": None,
    "preprocess_contract": None,
    "probe": None,
    "precision": {},
    "classes_without_label": [],
    "ledger": [
        {
            "stage": "teacher",
            "model": "big",
            "size_mb": 22.5,
            "accuracy_linear": 0.9512,
            "accuracy_linear_ci": [0.93, 0.97],
        },
        {
            "stage": "student",
            "model": "small",
            "size_mb": 1.5,
            "accuracy_linear": 0.9,
            "accuracy_linear_ci": [0.88, 0.92],
            "similarity_correlation": 0.8,
            "similarity_correlation_ci": [0.75, 0.84],
        },
        {
            "stage": "onnx-fp32",
            "file": "student.fp32.onnx",
            "sha256": "ef56",
            "precision": "fp32",
            "parity_cosine_min": 0.9999987,
            "parity_max_abs_difference": 0.0001,
            "parity_same_answer": 1.0,
            "size_mb": 1.51,
            "accuracy_linear": 0.9,
            "accuracy_linear_ci": [0.88, 0.92],
            "similarity_correlation": 0.8,
            "similarity_correlation_ci": [0.75, 0.84],
            "provider": "cpu",
            "latency": LATENCY,
            "latency_other_batches": [],
            "dominated_by": [],
        },
    ],
    "recommended": {"stage": "onnx-fp32", "file": "student.fp32.onnx", "why": "the only file"},
    "verdict": {
        "passed": False,
        "requirements": [
            {
                "requirement": "parity_cosine_min", "rule": "at least", "wanted": 0.999,
                "got": 0.9999987, "passed": True, "why": "", "interval": None,
            },
            {
                "requirement": "size_mb", "rule": "at most", "wanted": 1.0, "got": 1.51,
                "passed": False, "why": "", "interval": None,
            },
            {
                "requirement": "ood_auroc", "rule": "at least", "wanted": 0.9, "got": None,
                "passed": None, "why": "this score could not be measured on these images",
                "interval": None,
            },
        ],
    },
    "data": {"images": 100, "classes": 5, "rejected": {}},
    "timings_s": {"embed": 1.25, "distill": 100.04},
}  # fmt: skip


@pytest.fixture
def document():
    """report.json as plain values, to be changed."""
    return copy.deepcopy(DOCUMENT)


@pytest.fixture(scope="session")
def read():
    """`read(document)`: the report of a document."""
    return lambda document: from_json(document, Report, Path("report.json"))
