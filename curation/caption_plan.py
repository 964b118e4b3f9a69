"""How each caption is to be made: model, template and seed, drawn from the caption's key alone.

Nothing is asked to know it, so that a run can say beforehand which captions of earlier runs still stand.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.draws import Draw
from pipeline.recipe import fingerprint
from pipeline.records import CaptionKey, PersonKey
from pipeline.templates import Template


@dataclass(frozen=True)
class Writer:
    """A model that writes captions; `weight` is its share of them beside the others."""

    model_id: str
    revision: str = ""
    weight: float = 1.0


@dataclass(frozen=True)
class PlannedCaption:
    """One slot of one person: who writes it, along which template, and the id of all that shapes it.

    Two captions of a key with equal `caption_id` were made in the same way; one of them can stand for both.
    """

    key: CaptionKey
    writer: Writer
    template: Template | None
    """None where only the look at the person tells which templates can be filled."""
    seed: int
    caption_id: str


class CaptionPlan:
    """Draws the captions of a person.

    shaped_by: what shapes every caption alike (prompt, sampling, size of the picture), JSON-like. writers: at
    least one. templates: none if the captioner chooses among those that fit the person.
    """

    def __init__(
        self,
        seed: int,
        slots: int,
        writers: Sequence[Writer],
        templates: Sequence[Template],
        shaped_by: Mapping[str, Any],
    ) -> None:
        self._seed, self._slots, self._shaped_by = seed, slots, fingerprint(shaped_by)
        self._writers = {writer.model_id: writer for writer in writers}
        self._templates = {template.id: template for template in templates}
        self._draw_writer = Draw(self._writers, {writer.model_id: writer.weight for writer in writers})
        self._draw_template = Draw(self._templates)
        self.template_ids = frozenset(self._templates)

    def person(self, key: PersonKey, crop_sha256: str, rounds: Sequence[str] = ()) -> list[PlannedCaption]:
        """The planned captions of a person, one for each slot: templates differ, models too while they last.

        rounds: for each slot, why it is written anew ("" where it is not); another round is another draw.
        """
        writers = self._draw_writer.choose(f"{self._seed}/{key}/model", self._slots)
        templates = self._draw_template.choose(f"{self._seed}/{key}", self._slots)
        planned = []
        for slot in range(self._slots):
            again = rounds[slot] if slot < len(rounds) else ""
            caption_key = CaptionKey(key.unit, key.row, key.person, slot)
            template = self._templates[templates[slot]] if slot < len(templates) else None
            if again and self._templates:
                template = self._of_round(f"{self._seed}/{key}/{again}", slot, templates)
            writer = self._writers[writers[slot % len(writers)]]
            planned.append(self._planned(caption_key, writer, template, crop_sha256, again))
        return planned

    def again(
        self, planned: PlannedCaption, attempt: int, taken: Sequence[str]
    ) -> tuple[Template | None, int]:
        """Template and seed of a further attempt: no template of `taken` (ids) while there are others."""
        name = f"{self._seed}/{planned.key}/{planned.seed}/attempt-{attempt}"
        template = self._other(name, taken) if self._templates else None
        return template, _seed(name)

    def _of_round(self, name: str, slot: int, planned: Sequence[str]) -> Template:
        """None of those `planned` (ids) while there are others; another one for each slot of a round."""
        drawn = self._draw_template.choose(name, len(planned) + self._slots)
        others = [id_ for id_ in drawn if id_ not in planned] or drawn
        return self._templates[others[slot % len(others)]]

    def _other(self, name: str, taken: Sequence[str]) -> Template:
        drawn = self._draw_template.choose(name, len(taken) + 1)
        return self._templates[next((id_ for id_ in drawn if id_ not in taken), drawn[0])]

    def _planned(
        self, key: CaptionKey, writer: Writer, template: Template | None, crop_sha256: str, again: str
    ) -> PlannedCaption:
        seed = _seed(f"{self._seed}/{key}" + (f"/{again}" if again else ""))
        parts = (self._shaped_by, writer.model_id, writer.revision, template.id if template else "", seed)
        return PlannedCaption(key, writer, template, seed, fingerprint(*parts, crop_sha256))


def _seed(text: str) -> int:
    """A sampling seed, 31 bits."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) >> 1
