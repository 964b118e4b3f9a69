"""What a chat completion says of its tokens."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Usage:
    """Tokens of the question, of the answer and of the pictures; None where the endpoint does not count them.

    image_tokens: part of the prompt's, all pictures together; 0 where prompt tokens are told apart and no
    picture is among them.
    """

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    image_tokens: int | None = None

    @property
    def tokens(self) -> int:
        """Of question and answer, as far as they are counted."""
        return (self.prompt_tokens or 0) + (self.completion_tokens or 0)

    @property
    def counted(self) -> bool:
        """Whether both are."""
        return self.prompt_tokens is not None and self.completion_tokens is not None


def read_usage(reply: Mapping[str, Any]) -> Usage:
    """The usage in a chat completion. Raises ValueError, TypeError or AttributeError if it is malformed."""
    usage = reply.get("usage") or {}
    return Usage(
        _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens")), _image_tokens(usage)
    )


def counts_tokens(content: bytes) -> bool:
    """Whether the JSON of a chat completion counts the tokens of question and answer."""
    try:
        return read_usage(json.loads(content)).counted
    except (ValueError, TypeError, AttributeError, RecursionError):
        return False


def _image_tokens(usage: Mapping[str, Any]) -> int | None:
    details = usage.get("prompt_tokens_details")
    return None if details is None else _count((details.get("multimodal_tokens") or {}).get("image") or 0)


def _count(number: object) -> int | None:
    if number is None:
        return None
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 2**31:
        raise ValueError("a count of tokens is no count")
    return number
