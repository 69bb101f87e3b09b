"""Systems against each other on the same utterances."""

import pytest

from codert.errors import InputError
from codert.evaluation.results import results

from .tiny import system

SAID = {"u1": ("A B", "A"), "u2": ("C", "C")}


@pytest.mark.parametrize(
    "other",
    [{"u1": SAID["u1"]}, SAID | {"u3": ("D", "D")}, {"u1": SAID["u1"], "u3": ("D", "D")}],
    ids=["fewer", "more", "others"],
)
def test_other_utterances_are_not_compared(other: dict[str, tuple[str, str]]) -> None:
    first, second = system("first", SAID), system("second", other)
    said = "second and first could not score the same utterances; leave out those"
    with pytest.raises(InputError, match=said):
        results([first, second])
    with pytest.raises(InputError, match=said):
        results([second], reference=first)


def test_errors_avoided_are_those_of_the_reference() -> None:
    better = system("better", {"u1": ("A B", "A B"), "u2": ("C", "C")})
    [row] = results([better], reference=system("worse", SAID))
    assert (row["name"], row["wer"], row["werr"], row["words"]) == ("better", 0, 100, 3)
    assert [each["werr"] for each in results([better, system("worse", SAID)])] == [None, None]
