import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from codert.data.batches import by_length, mixed


def keep_to(budget: int, groups: list[list[str]], lengths: list[int]) -> bool:
    padded = (len(group) * max(lengths[int(id)] for id in group) for group in groups)
    return all(n <= budget or len(group) == 1 for n, group in zip(padded, groups, strict=True))


@given(st.lists(st.tuples(st.integers(1, 300), st.booleans()), min_size=1), st.integers(1, 900))
def test_batches_keep_to_the_budget(those: list[tuple[int, bool]], budget: int) -> None:
    lengths, silent = map(list, zip(*those, strict=True))
    ids = [str(n) for n in range(len(those))]
    groups = by_length(ids, np.array(lengths), budget)
    assert [id for group in groups for id in group] == sorted(ids, key=lambda n: lengths[int(n)])
    assert keep_to(budget, groups, lengths)
    rng = np.random.default_rng(len(ids))
    groups = mixed(ids, np.array(lengths), np.array(silent), budget, rng)
    assert sorted(id for group in groups for id in group) == sorted(ids)
    assert keep_to(budget, groups, lengths)
    assert all(len({silent[int(id)] for id in group}) == 1 for group in groups)
