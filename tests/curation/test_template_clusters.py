import numpy as np
import pytest

from curation.template_clusters import Clusters, cluster, representatives

CENTRES = np.array([[0, 0], [10, 0], [0, 10]], dtype=np.float32)


def three_heaps(each: int = 20) -> np.ndarray:
    spread = np.random.default_rng(0).normal(size=(3, each, 2)).astype(np.float32)
    return (CENTRES[:, None] + spread).reshape(-1, 2)


def test_heaps_are_found_and_the_same_seed_finds_the_same() -> None:
    vectors = three_heaps()
    found = cluster(vectors, 3)
    heaps = [set(found.labels[start : start + 20].tolist()) for start in (0, 20, 40)]
    assert [len(heap) for heap in heaps] == [1, 1, 1]
    assert len(set.union(*heaps)) == 3
    assert found.labels.tolist() == cluster(vectors, 3).labels.tolist()
    assert found.nearest(CENTRES).tolist() == [found.labels[0], found.labels[20], found.labels[40]]


def test_there_are_no_more_clusters_than_different_vectors() -> None:
    assert len(cluster(np.repeat(CENTRES, 4, axis=0), 50).centroids) == 3


def test_the_nearest_and_five_random_ones_stand_for_a_cluster() -> None:
    vectors = three_heaps()
    found = cluster(vectors, 3)
    ids = [f"t{n}" for n in range(60)]
    chosen = representatives(found, ids)
    assert len(chosen) == len(set(chosen)) == 18
    for first in (0, 6, 12):
        number = found.labels[chosen[first]]
        members = np.flatnonzero(found.labels == number)
        assert set(chosen[first : first + 6]) <= set(members.tolist())
        assert found.distances[chosen[first]] == pytest.approx(found.distances[members].min())
    assert representatives(found, ids, seed=1) != chosen


def test_a_small_cluster_gives_all_that_it_has() -> None:
    labels = np.array([0, 0, 1])
    found = Clusters(CENTRES[:2], labels, np.array([2, 1, 0], dtype=np.float32))
    assert sorted(representatives(found, ["a", "b", "c"])) == [0, 1, 2]
    assert representatives(found, ["a", "b", "c"], random=0) == [1, 2]
