"""A small file of published results: one claim, one table."""

from __future__ import annotations

import pytest
import yaml


@pytest.fixture
def content() -> dict:
    return {
        "datasets": {"Toys (val)": ["toy", "toy_1k"], "Others": ["other"]},
        "claims": [
            {
                "paper": "A paper",
                "method": "DPS",
                "methods": ["dps", "vml_map"],
                "dataset": "Toys (val)",
                "task": "Super-resolution",
                "metric": "LPIPS",
                "value": 0.2,
                "source": "Table 1",
                "candidates": ["sr4", "sr4_bicubic"],
                "open": "the network",
            }
        ],
    }


@pytest.fixture
def written(tmp_path):
    def write(content: object):
        file = tmp_path / "published.yaml"
        file.write_text(yaml.safe_dump(content), encoding="utf-8")
        return file

    return write


@pytest.fixture
def table() -> dict:
    return {
        "name": "theirs",
        "paper": "Another paper",
        "source": "Table 2",
        "dataset": "Toys (val)",
        "images": 4,
        "network": "ffhq_10m.pt",
        "noise_std": {"sr": 0.1, "phase": 0.05},
        "own": ["Ours"],
        "methods": {"DPS": ["dps"], "Ours": []},
        "tasks": {
            "sr": {"task": "SR ×4", "candidates": ["sr4"]},
            "phase": {"task": "Phase retrieval", "candidates": []},
        },
        "columns": ["sr PSNR", "sr LPIPS", "phase PSNR"],
        "rows": {"DPS@100": [25.0, 0.2, 17.0], "Ours": [26.0, None, 30.0]},
        "unsafe": {"DPS@100 phase": "the best of four restarts"},
    }
