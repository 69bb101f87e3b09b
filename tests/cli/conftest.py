import pytest
import torch


@pytest.fixture(autouse=True)
def on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that name no device are to do the same where there is a GPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
