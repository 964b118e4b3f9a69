"""Clusters of templates, and the few that stand for each (docs/method.md, captions).

Shapes: N templates, K clusters, D width.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from curation.template_embeddings import Vectors

ROUNDS = 25
RANDOM_PER_CLUSTER = 5


@dataclass(frozen=True, eq=False)
class Clusters:
    """Centroids [K, D]; for each template its cluster [N] and the squared distance to the centroid [N]."""

    centroids: Vectors
    labels: NDArray[np.int64]
    distances: Vectors

    def nearest(self, vectors: Vectors) -> NDArray[np.int64]:
        """The cluster of each of other vectors [M, D] -> [M]."""
        return _nearest(self.centroids, vectors)[0]


def cluster(vectors: Vectors, k: int, seed: int = 0) -> Clusters:
    """k-means with at most `k` clusters, and no more than there are different vectors."""
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    k = min(k, len(np.unique(vectors, axis=0)))
    n, width = vectors.shape
    found = faiss.Kmeans(
        width, k, niter=ROUNDS, seed=seed, min_points_per_centroid=1, max_points_per_centroid=n
    )
    found.train(vectors)
    centroids: Vectors = np.asarray(found.centroids, dtype=np.float32)
    labels, distances = _nearest(centroids, vectors)
    return Clusters(centroids, labels, distances)


def representatives(
    clusters: Clusters, ids: Sequence[str], seed: int = 0, random: int = RANDOM_PER_CLUSTER
) -> list[int]:
    """Positions of those that stand for the clusters, cluster by cluster: the nearest, then random others.

    ids: of the templates; the random ones are drawn by their hashes, so that others coming in move few.
    """
    chosen: list[int] = []
    for number in range(len(clusters.centroids)):
        members = np.flatnonzero(clusters.labels == number).tolist()
        if not members:
            continue
        nearest = min(members, key=lambda index: (float(clusters.distances[index]), ids[index]))
        others = sorted(
            (index for index in members if index != nearest),
            key=lambda index: hashlib.sha256(f"{seed}|{ids[index]}".encode()).digest(),
        )
        chosen += [nearest, *others[:random]]
    return chosen


def _nearest(centroids: Vectors, vectors: Vectors) -> tuple[NDArray[np.int64], Vectors]:
    index = faiss.IndexFlatL2(centroids.shape[1])
    index.add(np.ascontiguousarray(centroids))
    distances, labels = index.search(np.ascontiguousarray(vectors, dtype=np.float32), 1)
    return labels[:, 0], distances[:, 0]
