"""How many tokens CLIP reads a text as."""

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from open_clip.tokenizer import SimpleTokenizer

CONTEXT_TOKENS = 77
"""CLIP's text tower reads as many, start and end among them."""


class ClipTokens:
    """CLIP's own vocabulary, as open_clip brings it; a process reads it once."""

    def __init__(self) -> None:
        self._tokenizer = _tokenizer()

    def count(self, text: str) -> int:
        """Tokens of a text, start and end counted."""
        return len(self._tokenizer.encode(text)) + 2


@cache
def _tokenizer() -> "SimpleTokenizer":
    # It brings torch and takes seconds: a wrong recipe is told before.
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer()
