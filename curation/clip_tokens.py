"""How many tokens CLIP reads a text as."""

CONTEXT_TOKENS = 77
"""CLIP's text tower reads as many, start and end among them."""


class ClipTokens:
    """CLIP's own vocabulary, as open_clip brings it."""

    def __init__(self) -> None:
        # It brings torch and takes seconds: a wrong recipe is told before.
        from open_clip.tokenizer import SimpleTokenizer

        self._tokenizer = SimpleTokenizer()

    def count(self, text: str) -> int:
        """Tokens of a text, start and end counted."""
        return len(self._tokenizer.encode(text)) + 2
