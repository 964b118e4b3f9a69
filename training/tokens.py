"""CLIP's tokenizer with one merge given up, whose id becomes the mask token (the IRRA family's choice)."""

from collections.abc import Iterator, Sequence
from itertools import islice

import open_clip
import torch
from torch import Tensor

PADDING = 0
MASK = 49405
START = 49406
END = 49407
VOCABULARY = 49408
CONTEXT_LENGTH = 77

_MASK_MERGE = ("jeky", "ll</w>")


def end_positions(token_ids: Tensor) -> Tensor:
    """Position e of each caption's end token, the first highest id as in CLIP's pooling; [B, N] -> [B]."""
    return token_ids.argmax(dim=-1)


def word_positions(token_ids: Tensor) -> Tensor:
    """Where a word stands, between start and end; [B, N] -> bool [B, N]."""
    positions = torch.arange(token_ids.shape[1], device=token_ids.device)
    return (positions > 0) & (positions < end_positions(token_ids)[:, None])


def trim(token_ids: Tensor) -> Tensor:
    """The batch cut to its longest caption; [B, N] -> [B, n]. Exact for a causal text tower."""
    return token_ids[:, : int(end_positions(token_ids).max()) + 1]


class CaptionTokenizer:
    """Captions to ids and back. Id 49405 ("jekyll" in CLIP) is never produced: it is the mask."""

    def __init__(self) -> None:
        self._clip = open_clip.SimpleTokenizer()
        # Without its last merge "jekyll" is two pieces, and no word can become the mask.
        del self._clip.bpe_ranks[_MASK_MERGE]
        del self._clip.encoder["".join(_MASK_MERGE)]

    def encode(self, captions: Sequence[str]) -> Tensor:
        """Ids, int64 [B, 77]: start, words, end, zeros. Too long a caption keeps its end token at 76."""
        if isinstance(captions, str):
            raise TypeError("captions: expected a sequence of strings, got one string")
        token_ids = torch.full((len(captions), CONTEXT_LENGTH), PADDING, dtype=torch.int64)
        for row, caption in zip(token_ids, captions, strict=True):
            pieces = [piece for piece, _, _ in self._pieces(self._clean(caption))]
            row[: len(pieces) + 2] = torch.tensor([START, *pieces, END])
        return token_ids

    def spans(self, caption: str) -> tuple[str, list[tuple[int, int]]]:
        """The caption as tokenized (cleaned, lower case), and the [start, end) characters of each word piece.

        Span i belongs to position i + 1 of the encoded caption.
        """
        text = self._clean(caption)
        return text, [(start, end) for _, start, end in self._pieces(text)]

    def pieces(self, token_ids: Tensor) -> list[str]:
        """The text of each position of one caption up to its end token; [N] -> e + 1 strings."""
        return [self._text(int(i)) for i in token_ids[: int(token_ids.argmax()) + 1]]

    def decode(self, token_ids: Tensor) -> str:
        """The words of one caption, [N] ids; a masked word reads `<mask>`."""
        words = token_ids[: int(token_ids.argmax())].tolist()
        units = "".join("<mask></w>" if i == MASK else self._clip.decoder[i] for i in words if i != START)
        return self._to_text(units).replace("</w>", " ").strip()

    def _clean(self, caption: str) -> str:
        text: str = self._clip.clean_fn(caption)
        # A caption must not bring its own start or end token; blanks keep the characters' places.
        for marker in ("<start_of_text>", "<end_of_text>"):
            text = text.replace(marker, " " * len(marker))
        return text

    def _pieces(self, text: str) -> Iterator[tuple[int, int, int]]:
        """Id, first and last character (exclusive) of each piece, as many as a context holds."""
        return islice(self._all_pieces(text), CONTEXT_LENGTH - 2)

    def _all_pieces(self, text: str) -> Iterator[tuple[int, int, int]]:
        for match in self._clip.pat.finditer(text):
            word = match.group().encode()
            units = "".join(self._clip.byte_encoder[byte] for byte in word)
            read = 0
            for piece in self._clip.bpe(units).split(" "):
                size = len(piece.removesuffix("</w>"))
                start = match.start() + len(word[:read].decode(errors="ignore"))
                read += size
                yield (
                    self._clip.encoder[piece],
                    start,
                    match.start() + len(word[:read].decode(errors="ignore")),
                )

    def _text(self, token_id: int) -> str:
        named = {START: "<start>", END: "<end>", MASK: "<mask>"}
        piece = named.get(token_id) or self._clip.decoder[token_id].removesuffix("</w>")
        return self._to_text(piece)

    def _to_text(self, units: str) -> str:
        return bytes(self._clip.byte_decoder[unit] for unit in units).decode(errors="replace")
