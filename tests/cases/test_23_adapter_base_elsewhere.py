"""Case 23: an adapter whose base was a folder looked for it on the hub, when it was loaded from another working folder.

The base's path was written as it was given. Loaded from elsewhere, `home/base` was taken for a hub id: many requests, most of
a minute, a message about the wrong folder, and where such an id exists, a stranger's weights. A base that is a folder is
written as an absolute path, found beside its adapter when both were moved, and never asked of a hub.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import tinyhf

from agentrl import ConfigError, SavedCodec, Seed
from agentrl_plugins.models import pretrained as plugin

IDS = torch.tensor([[10, 20, 30]])


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*words: object, **_: object) -> None:
        raise AssertionError(f"the hub was asked for {words}")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", asked)
    monkeypatch.setattr(
        "huggingface_hub.file_download._httpx_follow_relative_redirects_with_backoff", asked, raising=False
    )


def model(path: str | Path, **settings: Any) -> Any:
    return plugin.pretrained(Seed(0), SavedCodec(None), path=str(path), device="cpu", **settings)


def logits(of: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = of.module(input_ids=IDS).logits
    return found


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a base and an adapter that was trained on it, given by a path relative to the working folder."""
    monkeypatch.chdir(tmp_path)
    tinyhf.tiny_folder(tmp_path / "home/base")
    trained = model("home/base", lora_rank=2)
    with torch.no_grad():
        for parameter in trained.module.parameters():
            if parameter.requires_grad:
                parameter += 0.1
    trained.write(tmp_path / "home/runs/first/model")
    return tmp_path / "home"


def recorded(adapter: Path) -> str:
    return str(json.loads((adapter / "adapter_config.json").read_text())["base_model_name_or_path"])


def test_an_adapter_is_loaded_from_any_working_folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert recorded(home / "runs/first/model") == str(home / "base")
    expected = logits(model(home / "runs/first/model"))
    monkeypatch.chdir("/")
    assert torch.equal(logits(model(home / "runs/first/model")), expected)


@pytest.mark.parametrize("place", ["elsewhere", "deep/down/elsewhere"])
def test_an_adapter_that_was_moved_with_its_base_finds_it(home: Path, tmp_path: Path, place: str) -> None:
    expected = logits(model(home / "runs/first/model"))
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    home.rename(tmp_path / place)
    moved = model(tmp_path / place / "runs/first/model")
    assert torch.equal(logits(moved), expected)
    moved.write(tmp_path / place / "runs/second/model")
    assert recorded(tmp_path / place / "runs/second/model") == str(tmp_path / place / "base")


def test_a_relative_path_of_other_tools_is_looked_for_above_the_adapter(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = home / "runs/first/model"
    expected = logits(model(adapter))
    file = adapter / "adapter_config.json"
    file.write_text(file.read_text().replace(str(home / "base"), "home/base"))
    (adapter / "agentrl.json").unlink()
    monkeypatch.chdir("/")
    assert torch.equal(logits(model(adapter)), expected)


def test_a_base_that_is_gone_is_one_line_that_names_both(home: Path) -> None:
    shutil.rmtree(home / "base")
    with pytest.raises(
        ConfigError, match=rf"the adapter {home}/runs/first/model was trained on the model in {home}/base"
    ):
        model(home / "runs/first/model")


def test_another_model_in_the_place_of_the_base_is_refused(home: Path, tmp_path: Path) -> None:
    adapter = home / "runs/first/model"
    other = tmp_path / "other"
    tinyhf.tiny_folder(other, tied=False)
    shutil.rmtree(home / "base")
    other.rename(home / "base")
    with pytest.raises(ConfigError, match="was trained on other weights than those of"):
        model(adapter)


def test_a_folder_below_the_home_folder_is_a_folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(home))
    assert torch.equal(logits(model("~/base")), logits(model(home / "base")))
