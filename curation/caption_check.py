"""What is wrong with a caption today: as a text, beside the person's others, against the measured colours."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from curation.audit import Auditor, AuditSettings
from curation.validate import CaptionLimits, Finding, Validator
from pipeline.reasons import Reason
from pipeline.records import GarmentColours


@dataclass(frozen=True)
class CaptionCheck:
    """Validator and audit in one: whether a caption counts, and whether it is worth asking again."""

    validator: Validator
    auditor: Auditor

    @classmethod
    def load(cls, limits: CaptionLimits, audit: AuditSettings) -> Self:
        """With the packaged tables."""
        return cls(Validator(limits), Auditor.load(audit))

    @property
    def rewrites(self) -> bool:
        """Whether contradicted captions are asked for again."""
        return self.auditor.settings.contradicted == "recaption"

    def problem(self, text: str, siblings: Sequence[str], colours: GarmentColours | None) -> Finding | None:
        """The first thing that is wrong; colours: the person's, None while they are not measured."""
        problem = self.validator.problem(text, siblings)
        return problem or (self.auditor.problem(text, colours) if colours else None)

    def asks_again(self, problem: Finding) -> bool:
        """Whether a text with this problem is asked for again."""
        return self.rewrites or problem.reason != Reason.CAPTION_CONTRADICTED
