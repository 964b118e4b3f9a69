"""How well captions find their pictures: R@1, R@5, R@10, mAP and mINP, and what chance alone would score.

Ties count against the query: of equally similar pictures the wrong ones come first, so that a model which
answers everything with the same number scores nothing. (docs/method.md, metrics)
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

Ids = Tensor | Sequence[int]
"""The person behind each query or each picture: integers, equal for equal persons."""


class MetricsError(ValueError):
    """Queries and gallery that cannot be scored; the message names the query."""


@dataclass(frozen=True)
class RetrievalMetrics:
    """Percent, averaged over the queries."""

    r1: float
    """Queries with a match at rank 1."""
    r5: float
    """Queries with a match among the first 5."""
    r10: float
    """Queries with a match among the first 10."""
    map: float
    """Average precision over all matches of a query."""
    minp: float
    """Number of matches divided by the rank of the last one (inverse negative penalty)."""


def retrieval_metrics(similarity: Tensor, query_ids: Ids, gallery_ids: Ids) -> RetrievalMetrics:
    """Score a similarity matrix [queries, gallery]; a match is a picture of the query's id.

    Raises MetricsError if sizes disagree, a similarity is not finite, or a query has no match.
    """
    queries, gallery = _ids(query_ids, similarity.device), _ids(gallery_ids, similarity.device)
    if similarity.shape != (len(queries), len(gallery)):
        raise MetricsError(
            f"similarity is {list(similarity.shape)}, but there are {len(queries)} query ids"
            f" and {len(gallery)} gallery ids"
        )
    _require_matches(queries, gallery)
    return _mean(_score_rows(similarity, queries, gallery, first_query=0))


def retrieval_metrics_of_features(
    query_features: Tensor,
    gallery_features: Tensor,
    query_ids: Ids,
    gallery_ids: Ids,
    chunk_size: int = 128,
) -> RetrievalMetrics:
    """Score features [queries, D] against [gallery, D] by cosine, `chunk_size` queries at a time.

    The cosines are fp32, summed in fp64: the same pair gives the same number in every chunk and on every
    device, so that pictures with equal features are ties and not a lottery of rounding.
    Raises MetricsError as `retrieval_metrics` does.
    """
    device = gallery_features.device
    queries, gallery = _ids(query_ids, device), _ids(gallery_ids, device)
    if len(query_features) != len(queries) or len(gallery_features) != len(gallery):
        raise MetricsError(
            f"{len(query_features)} query and {len(gallery_features)} gallery features, but {len(queries)}"
            f" query and {len(gallery)} gallery ids"
        )
    _require_matches(queries, gallery)
    pictures = normalize(gallery_features.double(), dim=1)
    scores: list[tuple[float, ...]] = []
    for start in range(0, len(queries), chunk_size):
        rows = slice(start, start + chunk_size)
        texts = normalize(query_features[rows].to(device).double(), dim=1)
        scores += _score_rows((texts @ pictures.T).float(), queries[rows], gallery, first_query=start)
    return _mean(scores)


def chance_metrics(query_ids: Ids, gallery_ids: Ids) -> RetrievalMetrics:
    """The expected score of a random ranking of this gallery: exact, no ranking is drawn.

    Of G pictures m match. R@k misses with probability C(G−m, k) / C(G, k). Rank i holds a match with
    probability m/G, and then (i−1)(m−1)/(G−1) matches stand before it on average: the expected AP. The last
    match stands at rank r with probability C(r−1, m−1) / C(G, m): the expected INP.
    Raises MetricsError if a query has no match.
    """
    queries, gallery = _ids(query_ids), _ids(gallery_ids)
    _require_matches(queries, gallery)
    size, persons = len(gallery), Counter(gallery.tolist())
    groups = Counter(persons[query] for query in queries.tolist())
    totals = [0.0] * 5
    for matches, count in groups.items():
        for place, value in enumerate(_chance(size, matches)):
            totals[place] += value * count / len(queries)
    return RetrievalMetrics(*(100 * total for total in totals))


def match_ranks(similarity: Tensor, match: Tensor) -> Tensor:
    """Ranks (from 1, rising) of one query's matches, ties counted against it.

    `similarity` and the boolean `match` are [gallery]. The k-th best match stands behind k−1 better matches
    and behind every wrong picture that is at least as similar.
    """
    right = similarity[match].sort(descending=True).values
    wrong = similarity[~match].sort().values
    ahead = len(wrong) - torch.searchsorted(wrong, right)
    return ahead + torch.arange(1, len(right) + 1, device=similarity.device)


def _score_rows(
    similarity: Tensor, queries: Tensor, gallery: Tensor, first_query: int
) -> list[tuple[float, ...]]:
    finite = similarity.isfinite().all(dim=1)
    if not finite.all():
        worst = first_query + int((~finite).nonzero()[0])
        raise MetricsError(f"query {worst} has a similarity that is not a finite number")
    return list(_scores(similarity, queries, gallery))


def _scores(similarity: Tensor, queries: Tensor, gallery: Tensor) -> Iterator[tuple[float, ...]]:
    for row, query in zip(similarity, queries, strict=True):
        ranks = match_ranks(row, gallery == query).double().cpu()
        found = torch.arange(1, len(ranks) + 1, dtype=torch.float64)
        first, last = ranks[0].item(), ranks[-1].item()
        precision = (found / ranks).mean().item()
        yield (first <= 1, first <= 5, first <= 10, precision, len(ranks) / last)


def _chance(size: int, matches: int) -> Iterator[float]:
    for k in (1, 5, 10):
        k = min(k, size)
        yield 1 - math.comb(size - matches, k) / math.comb(size, k)
    harmonic = math.fsum(1 / rank for rank in range(1, size + 1))
    further = (matches - 1) / (size - 1) * (size - harmonic) if matches > 1 else 0.0
    yield (harmonic + further) / size
    last, inverse = matches / size, 0.0  # probability that the last match stands at the last rank
    for rank in range(size, matches - 1, -1):
        inverse += last * matches / rank
        if rank > matches:
            last *= (rank - matches) / (rank - 1)
    yield inverse


def _ids(ids: Ids, device: torch.device | str = "cpu") -> Tensor:
    return torch.as_tensor(ids, dtype=torch.int64, device=device)


def _require_matches(queries: Tensor, gallery: Tensor) -> None:
    if not len(queries):
        raise MetricsError("there are no queries")
    alone = ~torch.isin(queries, gallery)
    if alone.any():
        worst = int(alone.nonzero()[0])
        raise MetricsError(
            f"query {worst} (id {int(queries[worst])}) has no match among the {len(gallery)} gallery pictures"
        )


def _mean(scores: list[tuple[float, ...]]) -> RetrievalMetrics:
    means = torch.tensor(scores, dtype=torch.float64).mean(dim=0)
    return RetrievalMetrics(*(100 * means).tolist())
