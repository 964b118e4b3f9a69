"""Templates as vectors: by OpenCLIP's text tower, as the paper has it, or by TF-IDF where no weights are.

Shapes: N texts, V terms, D width.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.templates import TemplateError

Vectors = NDArray[np.float32]

TFIDF = "tfidf"
TERMS_MAX = 4000
"""The most frequent terms count: sentence forms use few words."""
WIDTH = 64
ROWS_AT_ONCE = 4096
TEXTS_AT_ONCE = 256

_WORD = re.compile(r"\[[^\[\]]*\]|[\w'-]+")


class Encoder(Protocol):
    """Texts to vectors [N, D], each of length 1 (or 0, of a text without any known word)."""

    def __call__(self, texts: Sequence[str], /) -> Vectors: ...


def make_encoder(
    texts: Sequence[str], name: str = TFIDF, weights: str | None = None, device: str = "cpu"
) -> Encoder:
    """An encoder: `tfidf`, which learns its terms from `texts`, or OpenCLIP's model of that name.

    weights: OpenCLIP's tag or the path of a checkpoint. Raises TemplateError if the model cannot be loaded.
    """
    return fit_tfidf(texts) if name == TFIDF else _open_clip(name, weights, device)


@dataclass(frozen=True, eq=False)
class TfIdf:
    """Words and pairs of words by TF-IDF, on the strongest singular directions of some texts."""

    column: Mapping[str, int]
    idf: Vectors
    """[V]"""
    directions: Vectors
    """[V, D]"""

    def __call__(self, texts: Sequence[str], /) -> Vectors:
        """[N, D]."""
        counts = [Counter(_terms(text)) for text in texts]
        rows = (rows @ self.directions for rows in _rows(counts, self.column, self.idf))
        return _unit(np.concatenate([np.zeros((0, self.directions.shape[1]), np.float32), *rows]))


def fit_tfidf(texts: Sequence[str], width: int = WIDTH) -> TfIdf:
    """Learn terms, their rarity and the D directions.

    These are the eigenvectors of XᵀX, which is [V, V] and added up by rows, so X never stands whole.
    """
    counts = [Counter(_terms(text)) for text in texts]
    seen = Counter(term for count in counts for term in count)
    terms = sorted(seen, key=lambda term: (-seen[term], term))[:TERMS_MAX]
    column = {term: index for index, term in enumerate(terms)}
    idf = np.array([np.log((1 + len(texts)) / (1 + seen[term])) + 1 for term in terms], dtype=np.float32)
    square = np.zeros((len(terms), len(terms)), dtype=np.float32)
    for rows in _rows(counts, column, idf):
        square += rows.T @ rows
    return TfIdf(column, idf, np.linalg.eigh(square)[1][:, ::-1][:, :width])


def _terms(text: str) -> list[str]:
    words = _WORD.findall(text.lower())
    return [*words, *(f"{one} {two}" for one, two in pairwise(words))]


def _rows(counts: list[Counter[str]], column: Mapping[str, int], idf: Vectors) -> Iterator[Vectors]:
    for start in range(0, len(counts), ROWS_AT_ONCE):
        some = counts[start : start + ROWS_AT_ONCE]
        rows = np.zeros((len(some), len(column)), dtype=np.float32)
        for row, count in zip(rows, some, strict=True):
            known = {column[term]: times for term, times in count.items() if term in column}
            row[list(known)] = 1 + np.log(list(known.values()))
        yield _unit(rows * idf)


def _unit(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Vectors = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return unit


def _open_clip(name: str, weights: str | None, device: str) -> Encoder:
    import open_clip
    import torch

    if weights is None:
        raise TemplateError(f"{name}: weights are needed, a tag of OpenCLIP or the path of a checkpoint")
    try:
        clip = open_clip.create_model(name, pretrained=weights, device=device).eval()
        tokenize = open_clip.get_tokenizer(name)
    except Exception as error:  # whatever a hub, a file or a state dict brings
        raise TemplateError(f"{name} with {weights}: {' '.join(str(error).split())[:200]}") from None

    @torch.inference_mode()
    def encode(texts: Sequence[str], /) -> Vectors:
        batches = (texts[start : start + TEXTS_AT_ONCE] for start in range(0, len(texts), TEXTS_AT_ONCE))
        found = [
            clip.encode_text(tokenize(list(batch)).to(device)).float().cpu().numpy() for batch in batches
        ]
        return _unit(np.concatenate(found))

    return encode
