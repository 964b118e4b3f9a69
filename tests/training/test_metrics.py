"""Retrieval metrics against a slow reference, ties, and the level of chance."""

from dataclasses import astuple

import pytest
import torch
from torch import Tensor

from training.metrics import (
    MetricsError,
    RetrievalMetrics,
    chance_metrics,
    retrieval_metrics,
    retrieval_metrics_of_features,
)

QUERY_IDS = [0, 0, 1, 2, 2, 2, 3]
GALLERY_IDS = [2, 0, 0, 1, 3, 2, 0, 2, 1, 4, 4, 5]


def slow_metrics(similarity: Tensor, query_ids: list[int], gallery_ids: list[int]) -> list[float]:
    """Walk down every ranking by hand; wrong pictures come first among equals."""
    totals = [0.0] * 5
    for row, query in zip(similarity.tolist(), query_ids, strict=True):
        ranking = sorted(zip(row, gallery_ids, strict=True), key=lambda hit: (-hit[0], hit[1] == query))
        found, precisions, last = 0, [], 0
        for rank, (_, person) in enumerate(ranking, start=1):
            if person == query:
                found, last = found + 1, rank
                precisions.append(found / rank)
        first = next(rank for rank, (_, person) in enumerate(ranking, start=1) if person == query)
        for place, value in enumerate(
            [first <= 1, first <= 5, first <= 10, sum(precisions) / found, found / last]
        ):
            totals[place] += 100 * value / len(query_ids)
    return totals


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("levels", [3, 1000])
def test_equals_the_slow_reference_with_few_and_with_many_ties(seed: int, levels: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    shape = (len(QUERY_IDS), len(GALLERY_IDS))
    similarity = torch.randint(levels, shape, generator=generator) / levels
    got = retrieval_metrics(similarity, QUERY_IDS, GALLERY_IDS)
    assert astuple(got) == pytest.approx(slow_metrics(similarity, QUERY_IDS, GALLERY_IDS))


def test_a_perfect_ranking_scores_one_hundred_everywhere() -> None:
    match = torch.tensor(QUERY_IDS)[:, None] == torch.tensor(GALLERY_IDS)
    assert retrieval_metrics(match.float(), QUERY_IDS, GALLERY_IDS) == RetrievalMetrics(*[100.0] * 5)


def test_a_constant_similarity_finds_nothing() -> None:
    ids = list(range(50))
    got = retrieval_metrics(torch.full((50, 50), 0.7), ids, ids)
    assert (got.r1, got.r5, got.r10) == (0, 0, 0)
    assert got.map == pytest.approx(2.0)  # every match stands last


def test_equal_features_find_nothing_whatever_the_chunk() -> None:
    generator = torch.Generator().manual_seed(0)
    texts = torch.randn(67, 512, generator=generator)
    pictures = torch.randn(1, 512, generator=generator).expand(67, 512)
    for chunk_size in (1, 5, 64, 67):
        got = retrieval_metrics_of_features(texts, pictures, range(67), range(67), chunk_size=chunk_size)
        assert (got.r1, got.r5, got.r10) == (0, 0, 0)


def test_chunked_features_equal_the_whole_cosine_matrix() -> None:
    generator = torch.Generator().manual_seed(1)
    texts = torch.randn(len(QUERY_IDS), 16, generator=generator)
    pictures = torch.randn(len(GALLERY_IDS), 16, generator=generator)
    cosine = torch.nn.functional.cosine_similarity(texts[:, None], pictures[None], dim=2)
    whole = retrieval_metrics(cosine, QUERY_IDS, GALLERY_IDS)
    for chunk_size in (1, 3, 100):
        chunked = retrieval_metrics_of_features(
            texts, pictures, QUERY_IDS, GALLERY_IDS, chunk_size=chunk_size
        )
        assert astuple(chunked) == pytest.approx(astuple(whole))


def test_chance_is_the_mean_of_random_rankings() -> None:
    generator = torch.Generator().manual_seed(2)
    shape = (len(QUERY_IDS), len(GALLERY_IDS))
    drawn = [
        astuple(retrieval_metrics(torch.rand(shape, generator=generator), QUERY_IDS, GALLERY_IDS))
        for _ in range(1500)
    ]
    mean = torch.tensor(drawn).mean(dim=0).tolist()
    assert astuple(chance_metrics(QUERY_IDS, GALLERY_IDS)) == pytest.approx(mean, abs=1.5)


def test_chance_with_one_match_in_a_hundred_is_one_five_and_ten_percent() -> None:
    chance = chance_metrics(range(100), range(100))
    harmonic = sum(1 / rank for rank in range(1, 101))
    assert astuple(chance) == pytest.approx((1, 5, 10, harmonic, harmonic))


def test_chance_in_a_gallery_of_matches_only_is_certain() -> None:
    assert astuple(chance_metrics([3], [3, 3, 3])) == pytest.approx((100,) * 5)


def test_a_query_without_a_match_is_named() -> None:
    with pytest.raises(MetricsError, match=r"query 1 \(id 9\) has no match among the 2"):
        retrieval_metrics(torch.zeros(2, 2), [0, 9], [0, 1])
    with pytest.raises(MetricsError, match=r"query 1 \(id 9\)"):
        chance_metrics([0, 9], [0, 1])


def test_a_similarity_that_is_not_a_number_is_an_error() -> None:
    features = torch.ones(4, 3)
    features[3, 1] = float("nan")
    with pytest.raises(MetricsError, match="query 3 has a similarity that is not a finite number"):
        retrieval_metrics_of_features(features, torch.ones(4, 3), range(4), range(4), chunk_size=2)


def test_ids_of_another_number_than_the_similarities_are_an_error() -> None:
    with pytest.raises(MetricsError, match=r"\[2, 3\].* 2 query ids and 2 gallery ids"):
        retrieval_metrics(torch.zeros(2, 3), [0, 1], [0, 1])
    with pytest.raises(MetricsError, match="no queries"):
        retrieval_metrics(torch.zeros(0, 3), [], [0, 1, 2])
