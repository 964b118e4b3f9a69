"""Captions: draw a template for each slot of a person, have a captioner fill it, account for every row.

Two captioners: `attributes-stand-in` measures colours and keypoints on a CPU, for machines without a GPU, and
`endpoint` asks a multimodal model (docs/method.md, captions).
"""

import hashlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Self

import pyarrow as pa
from pydantic import Field, model_validator

from curation.captioners import (
    STAND_IN_MODEL_ID,
    AttributesStandIn,
    Captioner,
    EndpointCaptioner,
    Person,
    Sight,
    load_prompt,
    read_person,
)
from curation.colours import load_colour_terms
from curation.fit import CropError
from curation.mllm import MllmError, UnreachableError
from curation.mllm_old import EndpointSettings, MllmClient
from pipeline.reasons import Reason, status_of
from pipeline.recipe import Section
from pipeline.records import Caption, CaptionKey, PairRow, PersonKey, to_table
from pipeline.stage import Process
from pipeline.templates import Template, choose, load_library


class CaptionSettings(Section):
    """How captions are made."""

    captioner: Literal["attributes-stand-in", "endpoint"]
    """`endpoint` asks a multimodal model; `attributes-stand-in` measures, on machines without a GPU."""
    templates: str
    """Template library: a packaged one (`attributes` for the stand-in, `starter` for a model) or a path."""
    captions_per_person: int = Field(default=2, ge=1, le=10)
    """Caption slots, each with another template."""
    seed: int = 0
    """Moves the draw of templates and the sampling of the model."""
    prompt: str = "caption"
    """Prompt of the endpoint: the name of a packaged one or a path."""
    keypoint_min: float = Field(default=0.5, ge=0, le=1)
    """Stand-in: confidence from which a keypoint counts as visible."""
    share_min: float = Field(default=0.4, ge=0, le=1)
    """Stand-in: least share of a region's pixels that must agree on its colour."""
    endpoint: EndpointSettings | None = None
    """Needed by the captioner `endpoint`."""

    @model_validator(mode="after")
    def _endpoint_is_set(self) -> Self:
        if self.captioner == "endpoint" and self.endpoint is None:
            raise ValueError("captioner `endpoint` needs the section `endpoint` with model and urls")
        return self


@dataclass(frozen=True, kw_only=True)
class CaptionStage:
    """Stage: kept persons (keys, `crop`, `box_xyxy_px`, `keypoints`) to rows of `pairs`, one for each."""

    settings: CaptionSettings

    @contextmanager
    def open(self) -> Iterator[Process]:
        """Load library and captioner; rows run side by side where an endpoint answers them."""
        endpoint = self.settings.endpoint
        workers = endpoint.concurrency if endpoint and self.settings.captioner == "endpoint" else 1
        with _open_captioner(self.settings) as captioner, ThreadPoolExecutor(workers) as pool:

            def process(persons: pa.Table) -> pa.Table:
                rows = list(
                    pool.map(lambda row: caption_row(row, captioner, self.settings), persons.to_pylist())
                )
                asked = [row for row in rows if row.reason != Reason.QUARANTINED]
                if asked and all(row.reason == Reason.ENDPOINT_UNREACHABLE for row in asked):
                    # It says nothing about these persons: the unit stays open for the next run.
                    raise UnreachableError(f"no endpoint answers: {asked[0].error}")
                return to_table(PairRow, rows)

            yield process


def caption_inputs(settings: CaptionSettings) -> list[str]:
    """Hashes of the files that shape captions: for the phase's fingerprint, beside the settings."""
    library = load_library(settings.templates).library_hash
    if settings.captioner == "endpoint":
        return [library, load_prompt(settings.prompt).id]
    return [library, load_colour_terms().id, STAND_IN_MODEL_ID]


def caption_row(row: dict[str, Any], captioner: Captioner, settings: CaptionSettings) -> PairRow:
    """Caption one person; nothing is raised, a row that fails says why. A reason that it comes with stays."""
    started = time.monotonic()
    key = PersonKey(row["unit"], row["row"], row["person"])
    captions: list[Caption] = []
    reason, error = Reason(row["reason"]) if row.get("reason") else None, row.get("error")
    try:
        captions = [] if reason else _captions(read_person(key, row), captioner, settings)
        if captions and all(c.text is None for c in captions):
            reason, error = captions[0].reason, captions[0].error
    except CropError as problem:
        reason, error = Reason.DECODE_FAILED, str(problem)
    except Exception as problem:  # one bad row must not take its unit down
        reason, error = Reason.CRASHED, f"{type(problem).__name__}: {' '.join(str(problem).split())}"
    return PairRow(
        unit=key.unit,
        row=key.row,
        person=key.person,
        status=status_of(reason),
        reason=reason,
        error=error,
        captions=captions,
        seconds=time.monotonic() - started,
    )


def caption_seed(seed: int, key: CaptionKey) -> int:
    """The sampling seed of one caption, 31 bits, from the recipe's seed and the caption's key."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{key}".encode()).digest()[:4]) >> 1


def _captions(person: Person, captioner: Captioner, settings: CaptionSettings) -> list[Caption]:
    sight = captioner.look(person)
    templates = {t.id: t for t in sight.templates}
    drawn = choose(templates, f"{settings.seed}/{person.key}", settings.captions_per_person)
    captions = []
    for slot in range(settings.captions_per_person):
        seed = caption_seed(
            settings.seed, CaptionKey(person.key.unit, person.key.row, person.key.person, slot)
        )
        template = templates[drawn[slot]] if slot < len(drawn) else None
        text, reason, error = _write(sight, template, seed)
        captions.append(
            Caption(
                slot=slot,
                text=text,
                reason=reason,
                error=error,
                model_id=captioner.model_id,
                prompt_id=captioner.prompt_id,
                template_id=template.id if template else "",
                seed=seed,
            )
        )
    return captions


def _write(
    sight: Sight, template: Template | None, seed: int
) -> tuple[str | None, Reason | None, str | None]:
    if template is None:
        return None, Reason.CAPTION_EMPTY, "no further template that what was seen can fill"
    try:
        text = " ".join(sight.write(template, seed).split())
    except UnreachableError as error:
        return None, Reason.ENDPOINT_UNREACHABLE, str(error)
    except MllmError as error:
        return None, Reason.CAPTION_FAILED, str(error)
    return (text, None, None) if text else (None, Reason.CAPTION_EMPTY, "the model answered with nothing")


@contextmanager
def _open_captioner(settings: CaptionSettings) -> Iterator[Captioner]:
    library = load_library(settings.templates)
    if settings.captioner == "attributes-stand-in":
        yield AttributesStandIn(library, load_colour_terms(), settings.keypoint_min, settings.share_min)
        return
    assert settings.endpoint is not None  # the settings were validated
    client = MllmClient(settings.endpoint)
    try:
        yield EndpointCaptioner(library, load_prompt(settings.prompt), client, settings.endpoint.model)
    finally:
        client.close()
