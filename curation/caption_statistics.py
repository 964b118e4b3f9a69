"""Statistics over many captions in bounded memory: words, variety, lengths, templates, what is claimed.

What grows with the number of captions is counted in bitmaps of fixed size (curation/distinct.py). Only the
vocabulary and the templates are kept whole.
"""

import hashlib
import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation.claim_words import ClaimWords
from curation.claims import Claims, read_claims
from curation.clip_tokens import CONTEXT_TOKENS, ClipTokens
from curation.distinct import Distinct
from pipeline.records import PersonKey, person_keys

WEBPERSON_VOCABULARY = 96_623
"""Words of WebPerson's 10 million captions as published; how they were counted is not told."""
ALL = "all"
BIN = 10
"""Numbers of words that stand together in the table's histogram."""
CLAIMED = ("upper", "lower", "outfit", "shoes", "head", "bag", "hair", "accessory")
"""Attributes whose coverage is told, beside gender, hair length and the colours of clothing."""

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


@dataclass(frozen=True, kw_only=True)
class CaptionStatistics:
    """Numbers over the captions of one group; shares are of captions."""

    captions: int
    words: int
    vocabulary: int
    """Different words, whatever their case."""
    distinct_1: float
    """Different words ÷ words."""
    distinct_2: float
    """Different word pairs ÷ word pairs, estimated."""
    templates: int
    template_entropy: float
    """Of how often each template is used, as a share of what equal use would give."""
    words_histogram: dict[int, int]
    """Captions by their number of words."""
    clip_tokens_histogram: dict[int, int]
    """Captions by their number of CLIP tokens, start and end counted."""
    cut_share: float
    """With more tokens than CLIP's text tower reads."""
    equal_share: float
    """Repeating an earlier caption word by word, estimated."""
    alike_share: float
    """With the words of an earlier one in any order and number, estimated; equal ones included."""
    claimed_shares: dict[str, float]
    """By attribute, as curation/claims.py reads them."""


def drawn(pairs: pa.Table, share: float) -> pa.Table:
    """About this share of a table's persons, drawn by their keys: the same in every table and run."""
    if share >= 1:
        return pairs
    return pairs.filter(pa.array([draw(key) < share for key in person_keys(pairs)], pa.bool_()))


def draw(key: PersonKey) -> float:
    """A number in [0, 1) that stands for a person, as if drawn."""
    return int.from_bytes(hashlib.blake2b(str(key).encode(), digest_size=6).digest()) / 2**48


def caption_rows(pairs: pa.Table) -> pa.Table:
    """The captions that count of a table `pairs`: text, model_id, prompt_id, template_id."""
    captions = pairs["captions"].combine_chunks().flatten()
    names = ["text", "reason", "model_id", "prompt_id", "template_id"]
    table = pa.table({name: pc.struct_field(captions, name) for name in names})
    counts = pc.and_(pc.is_valid(table["text"]), pc.is_null(table["reason"]))
    return table.filter(counts).drop_columns(["reason"])


def caption_statistics(
    batches: Iterable[pa.Table], words: ClaimWords, by: str = "model_id"
) -> dict[str, CaptionStatistics]:
    """Statistics of captions that arrive in tables with the columns text, template_id and `by`.

    The values of `by` part them into groups, in order of arrival behind `all`: models, prompts, or names that
    the caller gives two captioners of one sample.
    """
    clip_tokens = ClipTokens()
    tallies = defaultdict(_Tally, {ALL: _Tally()})
    for batch in batches:
        columns = (batch[name].to_pylist() for name in ("text", "template_id", by))
        for text, template, group in zip(*columns, strict=True):
            caption = _Caption(
                template=template,
                words=[word.lower() for word in _WORD.findall(text)],
                clip_tokens=clip_tokens.count(text),
                claimed=_claimed(read_claims(text, words)),
            )
            tallies[ALL].add(caption)
            tallies[str(group)].add(caption)
    return {group: tally.statistics() for group, tally in tallies.items()}


def statistics_rows(groups: Mapping[str, CaptionStatistics]) -> list[tuple[str, ...]]:
    """The numbers side by side: a header, then one row a number; WebPerson's published ones stand last."""
    rows: list[tuple[str, ...]] = [("", *groups, "WebPerson")]
    published = {"vocabulary": f"{WEBPERSON_VOCABULARY:,}"}
    rows += [
        (title, *(show(each) for each in groups.values()), published.get(title, ""))
        for title, show in _ROWS.items()
    ]
    bins = sorted({words // BIN * BIN for each in groups.values() for words in each.words_histogram})
    rows += [
        (f"words, {low} to {low + BIN - 1}", *(_percent(_within(each, low)) for each in groups.values()), "")
        for low in bins
    ]
    claimed = dict.fromkeys(name for each in groups.values() for name in each.claimed_shares)
    rows += [
        (f"says {name}", *(_percent(each.claimed_shares.get(name, 0)) for each in groups.values()), "")
        for name in claimed
    ]
    return rows


def statistics_json(groups: Mapping[str, CaptionStatistics]) -> dict[str, Any]:
    """The numbers by group, with WebPerson's published vocabulary."""
    return {
        "webperson_vocabulary": WEBPERSON_VOCABULARY,
        "groups": {group: asdict(each) for group, each in groups.items()},
    }


def quantile(histogram: Mapping[int, int], share: float) -> int:
    """The least value that at least this share of a histogram does not exceed; 0 for an empty one."""
    wanted, passed = share * sum(histogram.values()), 0
    for value in sorted(histogram):
        passed += histogram[value]
        if passed >= wanted:
            return value
    return 0


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _within(each: CaptionStatistics, low: int) -> float:
    """The share of captions with `low` to `low + BIN - 1` words."""
    return sum(each.words_histogram.get(low + n, 0) for n in range(BIN)) / max(each.captions, 1)


_ROWS: Mapping[str, Callable[[CaptionStatistics], str]] = {
    "captions": lambda each: f"{each.captions:,}",
    "vocabulary": lambda each: f"{each.vocabulary:,}",
    "distinct-1": lambda each: f"{each.distinct_1:.4f}",
    "distinct-2": lambda each: f"{each.distinct_2:.4f}",
    "templates": lambda each: f"{each.templates:,}",
    "template entropy": lambda each: f"{each.template_entropy:.3f}",
    "words, median": lambda each: str(quantile(each.words_histogram, 0.5)),
    "words, 95 % at most": lambda each: str(quantile(each.words_histogram, 0.95)),
    "CLIP tokens, 95 % at most": lambda each: str(quantile(each.clip_tokens_histogram, 0.95)),
    "cut by CLIP": lambda each: _percent(each.cut_share),
    "repeats an earlier one": lambda each: _percent(each.equal_share),
    "same words as an earlier": lambda each: _percent(each.alike_share),
}


@dataclass(frozen=True, kw_only=True)
class _Caption:
    template: str
    words: Sequence[str]
    clip_tokens: int
    claimed: Sequence[str]


@dataclass(eq=False)
class _Tally:
    """What was counted of one group."""

    captions: int = 0
    words: Counter[str] = field(default_factory=Counter)
    templates: Counter[str] = field(default_factory=Counter)
    lengths: Counter[int] = field(default_factory=Counter)
    clip_tokens: Counter[int] = field(default_factory=Counter)
    claimed: Counter[str] = field(default_factory=Counter)
    pairs: int = 0
    different_pairs: Distinct = field(default_factory=Distinct)
    different_texts: Distinct = field(default_factory=Distinct)
    different_sets: Distinct = field(default_factory=Distinct)

    def add(self, caption: _Caption) -> None:
        self.captions += 1
        self.words.update(caption.words)
        self.templates[caption.template] += 1
        self.lengths[len(caption.words)] += 1
        self.clip_tokens[caption.clip_tokens] += 1
        self.claimed.update(caption.claimed)
        self.pairs += max(len(caption.words) - 1, 0)
        for pair in pairwise(caption.words):
            self.different_pairs.add(" ".join(pair))
        self.different_texts.add(" ".join(caption.words))
        self.different_sets.add(" ".join(sorted(set(caption.words))))

    def statistics(self) -> CaptionStatistics:
        captions, words = max(self.captions, 1), self.words.total()
        cut = sum(count for tokens, count in self.clip_tokens.items() if tokens > CONTEXT_TOKENS)
        return CaptionStatistics(
            captions=self.captions,
            words=words,
            vocabulary=len(self.words),
            distinct_1=len(self.words) / max(words, 1),
            distinct_2=min(1.0, self.different_pairs.count() / max(self.pairs, 1)),
            templates=len(self.templates),
            template_entropy=_evenness(self.templates),
            words_histogram=dict(sorted(self.lengths.items())),
            clip_tokens_histogram=dict(sorted(self.clip_tokens.items())),
            cut_share=cut / captions,
            equal_share=self._repeated(self.different_texts),
            alike_share=self._repeated(self.different_sets),
            claimed_shares={name: count / captions for name, count in sorted(self.claimed.items())},
        )

    def _repeated(self, different: Distinct) -> float:
        return max(0.0, 1 - different.count() / self.captions) if self.captions else 0.0


def _claimed(claims: Claims) -> list[str]:
    found = [name for name in CLAIMED if claims.of(*_regions(name))]
    found += [f"{name} colour" for name in ("upper", "lower", "shoes") if claims.colours(*_regions(name))]
    if claims.gender:
        found.append("gender")
    if claims.hair_length:
        found.append("hair length")
    return found


def _regions(attribute: str) -> tuple[str, ...]:
    """Coats are upper clothing too."""
    return ("upper", "long") if attribute == "upper" else (attribute,)


def _evenness(counts: Counter[str]) -> float:
    """Entropy ÷ its greatest value; 1 with a single kind."""
    if len(counts) < 2:
        return 1.0
    total = counts.total()
    entropy = -sum(count / total * math.log(count / total) for count in counts.values())
    return entropy / math.log(len(counts))
