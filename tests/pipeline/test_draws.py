from collections import Counter

import numpy as np
import pytest

from pipeline.draws import Draw, choose

KEYS = [f"{unit:06d}-{row:05d}-00" for unit in range(20) for row in range(500)]
IDS = [f"template {n}" for n in range(19)]


def shares(draw: Draw, slot: int = 0) -> dict[str, float]:
    counts = Counter(draw.choose(key, slot + 1)[slot] for key in KEYS)
    return {id_: counts[id_] / len(KEYS) for id_ in draw.ids}


def test_a_draw_is_for_ever() -> None:
    assert Draw(["a", "b", "c", "d"]).choose("000001-00002-00", 4) == ["a", "c", "d", "b"]


def test_choosing_once_is_the_same_as_from_a_draw_that_is_kept() -> None:
    draw = Draw(IDS)
    assert all(choose(IDS, key, 3) == draw.choose(key, 3) for key in KEYS[:200])


def test_order_and_repeats_of_ids_do_not_matter() -> None:
    one, other = Draw(IDS), Draw([*IDS[::-1], IDS[0]])
    assert all(one.choose(key, 2) == other.choose(key, 2) for key in KEYS[:200])


def test_an_id_is_drawn_once_for_a_key_and_no_more_than_there_are() -> None:
    assert sorted(Draw(IDS).choose("key", 50)) == sorted(IDS)
    assert sorted(Draw([*IDS, *IDS]).choose("key", 50)) == sorted(IDS)
    assert Draw([]).choose("key", 2) == []
    assert sorted(Draw(IDS, {IDS[0]: 1e9}).choose("key", 50)) == sorted(IDS)


@pytest.mark.parametrize("slot", [0, 1])
def test_an_added_id_moves_one_in_k_plus_one_draws_nearly_all_of_them_to_itself(slot: int) -> None:
    before, after = Draw(IDS), Draw([*IDS, "new"])
    pairs = [(before.choose(key, 2)[slot], after.choose(key, 2)[slot]) for key in KEYS]
    moved = [new for old, new in pairs if old != new]
    assert len(moved) / len(KEYS) == pytest.approx(1 / 20, rel=0.25)
    assert moved.count("new") / len(moved) > 0.9


def test_a_changed_weight_moves_draws_only_to_or_from_its_id() -> None:
    before, after = Draw(IDS), Draw(IDS, {IDS[3]: 2.0})
    pairs = [(before.choose(key, 1)[0], after.choose(key, 1)[0]) for key in KEYS]
    assert {new for old, new in pairs if old != new} == {IDS[3]}


def test_equal_weights_are_no_weights() -> None:
    plain, weighted = Draw(IDS), Draw(IDS, dict.fromkeys(IDS, 0.3))
    assert all(plain.choose(key, 3) == weighted.choose(key, 3) for key in KEYS[:500])


def test_weights_hold() -> None:
    found = shares(Draw(["7B", "32B", "72B"], {"7B": 3.0, "32B": 1.0, "72B": 0.5}))
    assert found["7B"] == pytest.approx(3 / 4.5, abs=0.015)
    assert found["32B"] == pytest.approx(1 / 4.5, abs=0.015)
    assert found["72B"] == pytest.approx(0.5 / 4.5, abs=0.015)


def test_every_id_has_its_share_in_each_slot() -> None:
    for slot in (0, 1):
        found = list(shares(Draw(IDS), slot).values())
        assert 0.85 / 19 < min(found) <= max(found) < 1.15 / 19


def test_slots_do_not_hang_together() -> None:
    drawn = [Draw(IDS[:2] + IDS[5:7]).choose(key, 2) for key in KEYS[:4000]]
    counts = np.array(list(Counter(map(tuple, drawn)).values()))
    assert len(counts) == 12
    assert counts.max() / counts.min() < 1.45


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_a_weight_that_is_no_share_is_refused_by_its_id(weight: float) -> None:
    with pytest.raises(ValueError, match="weight of 'a'"):
        Draw(["a", "b"], {"a": weight})


def test_a_weight_of_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match="weight of 'c': not among the ids"):
        Draw(["a", "b"], {"c": 1.0})
