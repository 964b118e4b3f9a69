"""A text model that answers by rules, and captions for it."""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from curation.template_model import TextModelError, UnreachableTextModelError
from pipeline.templates import load_library

STARTER = [template.text for template in load_library("starter").templates]
CAPTIONS = [f"Caption {n}." for n in range(60)]


@dataclass
class RuleModel:
    """Answers the n-th caption with the n-th starter template, and a request for new ones with five lines.

    `dies_after`: how many answers it gives before nobody is reached.
    """

    dies_after: int | None = None
    refuses: Callable[[str], bool] = lambda user: False
    model_id: str = "rule"
    asked: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def complete(self, system: str, user: str, seed: int) -> str:
        with self.lock:
            if self.dies_after is not None and len(self.asked) >= self.dies_after:
                raise UnreachableTextModelError("nobody there")
            self.asked.append(user)
        if self.refuses(user):
            raise TextModelError("HTTP 400: no")
        if "Caption " in user:
            return f"Here it is:\n1. {STARTER[int(user.split('Caption ')[1].rstrip('.'))]}"
        draw = random.Random(seed)
        new = draw.sample(STARTER[100:], 4)
        return "\n".join(
            [*new, "A beautiful [person] in [colored top], [colored bottom] and [colored shoes]."]
        )
