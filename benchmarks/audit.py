"""How well the audit finds planted errors of captions on the made world.

    OMP_NUM_THREADS=1 python -m benchmarks.audit
    OMP_NUM_THREADS=1 python -m benchmarks.audit --mllm world/tiny_mllm/a   # needs `make vllm`

Persons are drawn and cut out by the truth's boxes, and their clothing is measured with the truth's keypoints
(a detector's are worse). Of each person there are true captions, captions with planted errors (each claim by
a chance), and captions of another person. A contradiction is right where a colour said of that region is a
planted error. Every pair of colours is tried by itself too: "a red t-shirt" at persons who wear each colour.
The world looks like a game, with plain colours in daylight: in photographs the audit finds less and is wrong
more often. Its rules were made while looking at persons of another seed.

With --mllm a tiny MLLM, served by the real vLLM, writes captions of further persons from their crops, and
what it tells wrongly is found or not; what was published of others stays, under how long each was taught.
One that was taught for less errs more, which tells more of the audit. The result is written to
benchmarks/results/audit.json.
"""

import argparse
import io
import json
import os
import platform
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.tiny_mllm.told import tell
from curation.audit import AuditSettings, audit, compare, measure_garments
from curation.claim_words import ClaimWords, load_claim_words
from curation.claims import Claims, read_claims
from curation.colours import load_colour_terms
from curation.crops import crop_person, encode_jpeg
from pipeline.plan import share
from pipeline.records import CaptionAudit, GarmentColours
from pipeline.storage import publish_json
from pipeline.templates import load_library
from world.captions import write_caption
from world.people import CLOTH, Identity, Look, draw_identities
from world.plans import plan_picture
from world.takes import take
from world.truth import Kind, Lie, TruthCaption

RESULT = Path(__file__).parent / "results" / "audit.json"
PEOPLE, CAPTIONS, SEED, LIE_RATE = 150, 6, 34, 0.3
MLLM_PEOPLE, MLLM_CAPTIONS, MLLM_SEED = 500, 2, 35
MLLM = "captions_of_tiny_mllms"
MANY, JPEG_QUALITY = 10**9, 95
SETTINGS = AuditSettings()


@dataclass(frozen=True)
class Shown:
    """A drawn person: the crop, what is measured of the clothing, captions that are true and that lie."""

    identity: Identity
    jpeg: bytes
    colours: GarmentColours
    true: Sequence[TruthCaption]
    lying: Sequence[TruthCaption]


def main() -> None:
    """Draw, audit, print and publish the numbers."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.audit")
    parser.add_argument("--mllm", type=Path, help="a folder with a tiny MLLM, to audit its captions too")
    weights, words = parser.parse_args().mllm, load_claim_words()
    shown = list(_draw(PEOPLE, CAPTIONS, SEED))
    true = [_audited(caption.text, each, words) for each in shown for caption in each.true]
    swapped = [
        _audited(caption.text, other, words)
        for each, other in zip(shown, shown[1:] + shown[:1], strict=True)
        for caption in each.true
    ]
    result = {
        "command": "python -m benchmarks.audit",
        "machine": f"{platform.machine()}, 1 of {os.cpu_count()} CPUs, Python {platform.python_version()}",
        "persons": len(shown),
        "captions_of_each_kind": len(true),
        "lie_rate": LIE_RATE,
        "true_captions_contradicted": _share(_contradicted(true), len(true)),
        "captions_of_another_person_contradicted": _share(_contradicted(swapped), len(swapped)),
        "regions_of_true_captions_checked": _share(sum(each.checked for each in true), 2 * len(true)),
        "planted_wrong_colours": _wrong_colours(
            [(caption.text, each) for each in shown for caption in each.lying], words
        ),
        MLLM: _published().get(MLLM, {}) | ({_taught(weights): _told_by(weights, words)} if weights else {}),
        "siblings": _siblings(shown, words),
        "colour_pairs": _pairs(shown, words),
        "microseconds": _speed(shown, words),
    }
    publish_json(RESULT, result)
    print(json.dumps(result, indent=2))


def _published() -> dict[str, Any]:
    """What the last run left."""
    found: dict[str, Any] = json.loads(RESULT.read_text()) if RESULT.is_file() else {}
    return found


def _draw(people: int, captions_each: int, seed: int) -> Iterable[Shown]:
    library, terms = load_library("world"), load_colour_terms()
    for person in draw_identities(people, seed):
        plan = plan_picture(Kind.CURATED, person.number, [person], seed)
        made = take(plan)
        truth = made.persons[0]
        picture = np.asarray(Image.open(io.BytesIO(made.jpeg)).convert("RGB"))
        left, top = (int(side) for side in truth.box_xyxy_px[:2])
        keypoints = np.array(truth.keypoints, dtype=np.float64).reshape(17, 3) - [left, top, 0]
        keypoints[:, 2] = keypoints[:, 2] == 2  # hidden ones do not count
        crop = crop_person(picture, tuple(truth.box_xyxy_px))
        captions = [
            [
                write_caption(
                    truth.picture, 0, slot, person.look, truth.pose, truth.view, library, seed, rate
                )
                for slot in range(captions_each)
            ]
            for rate in (0.0, LIE_RATE)
        ]
        colours = measure_garments(crop, keypoints, terms, SETTINGS.keypoint_min)
        yield Shown(person, encode_jpeg(crop, JPEG_QUALITY), colours, captions[0], captions[1])


def _taught(weights: Path) -> str:
    trained = json.loads((weights / "trained.json").read_text())
    return f"{weights.name}, {trained['eye_steps']} and {trained['text_steps']} steps"


def _audited(text: str, shown: Shown, words: ClaimWords) -> CaptionAudit:
    return audit(read_claims(text, words), shown.colours, SETTINGS)


def _told_by(weights: Path, words: ClaimWords) -> dict[str, Any]:
    """A tiny MLLM's captions of persons of its own, and what of its own wrong colours is contradicted."""
    forms = {template.id: template.text for template in load_library("world").templates}
    asked = [
        (each, forms[caption.template_id])
        for each in _draw(MLLM_PEOPLE, MLLM_CAPTIONS, MLLM_SEED)
        for caption in each.true
    ]
    texts = tell(weights, [(each.jpeg, form) for each, form in asked])
    told = [(text, each) for text, (each, _) in zip(texts, asked, strict=True)]
    wrong = sum(bool(_wrong_regions(text, each.identity.look, words)) for text, each in told)
    audits = [_audited(text, each, words) for text, each in told]
    return {
        "persons": MLLM_PEOPLE,
        "captions_with_a_wrong_colour": _share(wrong, len(told)),
        "captions_contradicted": _share(_contradicted(audits), len(told)),
        "wrong_colours": _wrong_colours(told, words),
    }


def _wrong_colours(told: Sequence[tuple[str, Shown]], words: ClaimWords) -> dict[str, Any]:
    """Contradicted regions of captions, and which of those with a wrong colour are among them."""
    right = found = 0
    wrongly: Counter[str] = Counter()
    caught: Counter[str] = Counter()
    for text, shown in told:
        contradicted = {line.split(":")[0] for line in _audited(text, shown, words).contradictions}
        wrong = _wrong_regions(text, shown.identity.look, words)
        right += len(contradicted & wrong.keys())
        found += len(contradicted)
        wrongly.update(wrong.values())
        caught.update(sort for region, sort in wrong.items() if region in contradicted)
    return {
        "precision": _share(right, found),
        "recall": _share(caught.total(), wrongly.total()),
        "recall_by_sort": {sort: _share(caught[sort], wrongly[sort]) for sort in sorted(wrongly)},
    }


def _wrong_regions(text: str, look: Look, words: ClaimWords) -> dict[str, str]:
    """Regions of which a colour is said that they do not have, and how hard that is to see."""
    claims = read_claims(text, words)
    regions = {
        "upper": (claims.colours("upper", "long"), {look.upper_colour, look.pattern_colour or ""}),
        "lower": (claims.colours("lower"), {look.lower_colour}),
    }
    wrong = {}
    for region, (said, true) in regions.items():
        untrue = [colour for colour in said if colour.word not in true]
        if untrue and len(said) > 1:
            wrong[region] = "one of two colours"
        elif untrue:
            wrong[region] = "confusable" if true.intersection(untrue[0].terms) else "told apart"
    return wrong


def _siblings(shown: Sequence[Shown], words: ClaimWords) -> dict[str, Any]:
    """Disagreement of a true caption and of a lying one with another true caption, by attribute."""
    counts: dict[str, Counter[str]] = {name: Counter() for name in ("true", "wrong garment", "wrong colour")}
    for each in shown:
        claims = [read_claims(caption.text, words) for caption in each.true]
        for slot, (caption, one) in enumerate(zip(each.lying, claims, strict=True)):
            other = claims[(slot + 1) % len(claims)]
            _count(counts["true"], one, other)
            lies = {word.lie for word in caption.words if word.lie}
            for name, lie in (("wrong garment", Lie.GARMENT), ("wrong colour", Lie.COLOUR)):
                if lie in lies:
                    _count(counts[name], read_claims(caption.text, words), other)
    return {name: _share(count["disagree"], count["pairs"]) for name, count in counts.items()}


def _count(counts: Counter[str], one: Claims, other: Claims) -> None:
    counts["pairs"] += 1
    counts["disagree"] += bool(compare(one, other).disagree)


def _pairs(shown: Sequence[Shown], words: ClaimWords) -> dict[str, Any]:
    """For each colour that plain upper garments have: how often a claim of another colour is contradicted."""
    plain = [each for each in shown if each.identity.look.pattern == "plain"]
    claims = {colour: read_claims(f"a {colour} t-shirt", words) for colour in CLOTH}
    table: dict[str, dict[str, str]] = {}
    for worn in CLOTH:
        wearers = [each for each in plain if each.identity.look.upper_colour == worn]
        row = {
            said: sum(audit(claim, each.colours, SETTINGS).contradicted for each in wearers)
            for said, claim in claims.items()
        }
        table[worn] = {said: f"{count}/{len(wearers)}" for said, count in row.items()}
    return {"worn_then_said_contradicted_of_wearers": table}


def _speed(shown: Sequence[Shown], words: ClaimWords) -> dict[str, int]:
    """Processor time a caption: reading claims, and the audit of them."""
    texts = [(caption.text, each) for each in shown for caption in each.true]
    started = time.process_time()
    claims = [read_claims(text, words) for text, _ in texts]
    read = time.process_time()
    for claim, (_, each) in zip(claims, texts, strict=True):
        audit(claim, each.colours, SETTINGS)
    ended = time.process_time()
    return {
        "read_claims": round((read - started) / len(texts) * 1e6),
        "audit": round((ended - read) / len(texts) * 1e6),
    }


def _contradicted(audits: Sequence[CaptionAudit]) -> int:
    return sum(each.contradicted > 0 for each in audits)


def _share(count: int, of: int) -> dict[str, Any]:
    """A share with Wilson's interval (95 %)."""
    if not of:
        return {"count": count, "of": of}
    found = share(count, of, MANY)
    numbers = (found.value, found.low, found.high)
    return {"count": count, "of": of, "share": [round(number, 4) for number in numbers]}


if __name__ == "__main__":
    if os.environ.get("OMP_NUM_THREADS") != "1":
        raise SystemExit("OMP_NUM_THREADS: set it to 1, so that one core is measured")
    main()
