"""The curves of a run, as others read them."""

from pathlib import Path

import pytest

from codert.errors import InputError
from codert.learning.curves import curves_of
from codert.learning.run_folder import CURVES


def test_a_run_that_was_not_begun_has_no_curves(tmp_path: Path) -> None:
    assert curves_of(tmp_path) == []


def test_a_last_line_that_was_cut_off_does_not_count(tmp_path: Path) -> None:
    (tmp_path / CURVES).write_text('{"update": 1}\n{"update": 2}\n{"upda', encoding="utf-8")
    assert curves_of(tmp_path) == [{"update": 1}, {"update": 2}]


def test_another_broken_line_is_named(tmp_path: Path) -> None:
    (tmp_path / CURVES).write_text('{"update": 1}\n{"upda\n{"update": 3}\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"curves\.jsonl, line 2: not JSON"):
        curves_of(tmp_path)
