"""Build a template library as the paper has it (docs/method.md, captions).

Captions that people wrote become templates; clusters of them give those that stand for all; a text model
writes new ones to these; lint and people decide.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from curation.prompts import Prompt, load_prompt
from curation.template_clusters import RANDOM_PER_CLUSTER, Clusters, cluster, representatives
from curation.template_embeddings import TFIDF, Vectors, make_encoder
from curation.template_lint import TemplateFinding, TemplateProblem, TemplateWords, find_problems
from curation.template_model import Answers, Question, Tell, TextModel, ask_all, filled
from curation.template_repeats import near_repeats
from curation.template_review import ReviewRow, Source
from pipeline.draws import Draw
from pipeline.templates import Template, TemplateError, read_templates

REPEAT = "repeat"
NO_ANSWER = "no_answer"
EMPTY_ANSWER = "empty_answer"


@dataclass(frozen=True, kw_only=True)
class BuildSettings:
    """How a library is built."""

    clusters: int = 200
    """Clusters of the templates that captions give."""
    random_per_cluster: int = RANDOM_PER_CLUSTER
    """Others that stand for a cluster, beside the one nearest to its centre."""
    new: int = 1000
    """New templates to ask for; lint and repeats leave fewer."""
    examples: int = 12
    """Templates that a request for new ones shows."""
    new_per_request: int = 10
    """New templates that one request asks for."""
    encoder: str = TFIDF
    """`tfidf`, or an OpenCLIP model such as ViT-bigG-14 (the paper's)."""
    weights: str | None = None
    """OpenCLIP's tag, or the path of a checkpoint."""
    device: str = "cpu"
    """Where the encoder runs."""
    seed: int = 0
    """Moves clusters, examples and the sampling of the model."""
    workers: int = 16
    """Requests under way at once."""


@dataclass(frozen=True)
class Build:
    """The rows to review; what became of answers that are not among them, by reason."""

    rows: tuple[ReviewRow, ...]
    captions: int
    dropped: Mapping[str, int]


@dataclass(frozen=True)
class Library:
    """What a build works with."""

    model: TextModel
    answers: Answers
    words: TemplateWords
    tell: Tell


def build(captions: Sequence[str], using: Library, settings: BuildSettings) -> Build:
    """From captions to the table of review. A killed build goes on from the answers that it kept.

    Raises TemplateError if no caption gave a template; TextModelError if the endpoint is not reached.
    """
    dropped: Counter[str] = Counter()
    pool = _from_captions(captions, using, settings, dropped)
    if not pool:
        raise TemplateError(f"no template from {len(captions)} captions: {_counts(dropped)}")
    encode = make_encoder([t.text for t in pool], settings.encoder, settings.weights, settings.device)
    clusters = cluster(encode([t.text for t in pool]), settings.clusters, settings.seed)
    chosen = representatives(clusters, [t.id for t in pool], settings.seed, settings.random_per_cluster)
    kept = [pool[index] for index in chosen]
    new = _new(kept, using, settings, dropped)
    near = near_repeats([*kept, *new])
    rows = [_row(pool[i], "caption", int(clusters.labels[i]), using.words, near) for i in chosen]
    if new:
        rows += _new_rows(new, clusters, encode([t.text for t in new]), using.words, near)
    return Build(tuple(rows), len(captions), dict(dropped))


def _from_captions(
    captions: Sequence[str], using: Library, settings: BuildSettings, dropped: Counter[str]
) -> list[Template]:
    """One template a caption; without those that have problems or repeat another one."""
    prompt = load_prompt("template-from-caption", "{caption}")
    questions = [Question(*filled(prompt, caption=text), settings.seed) for text in captions]
    answers = ask_all("templates", questions, using.model, using.answers, using.tell, settings.workers)
    found: dict[str, Template] = {}
    for answer in answers:
        template = _first(answer)
        if template is None:
            dropped[NO_ANSWER if answer is None else EMPTY_ANSWER] += 1
        elif template.id in found:
            dropped[REPEAT] += 1
        elif problems := find_problems(template, using.words):
            dropped[problems[0].problem] += 1
        else:
            found[template.id] = template
    repeats = near_repeats(list(found.values()))
    if repeats:
        dropped[TemplateProblem.NEAR_REPEAT] += len(repeats)
    return [template for id_, template in found.items() if id_ not in repeats]


def _new(
    kept: Sequence[Template], using: Library, settings: BuildSettings, dropped: Counter[str]
) -> list[Template]:
    """What the model writes to examples of those that are kept, each text once."""
    prompt = load_prompt("template-new", "{examples}", "{count}")
    requests = math.ceil(settings.new / settings.new_per_request)
    questions = _new_questions(prompt, kept, requests, settings)
    answers = ask_all("new", questions, using.model, using.answers, using.tell, settings.workers)
    known = {template.id for template in kept}
    found: dict[str, Template] = {}
    for answer in answers:
        if answer is None:
            dropped[NO_ANSWER] += 1
        for template in read_templates(answer or ""):
            if template.id in known or template.id in found:
                dropped[REPEAT] += 1
            else:
                found[template.id] = template
    return list(found.values())


def _new_questions(
    prompt: Prompt, kept: Sequence[Template], requests: int, settings: BuildSettings
) -> list[Question]:
    texts = {template.id: template.text for template in kept}
    draw, questions = Draw(texts), []
    for request in range(requests):
        shown = draw.choose(f"{settings.seed}/new-{request}", settings.examples)
        examples, count = "\n".join(texts[id_] for id_ in shown), str(settings.new_per_request)
        questions.append(Question(*filled(prompt, examples=examples, count=count), settings.seed + request))
    return questions


def _new_rows(
    new: Sequence[Template],
    clusters: Clusters,
    vectors: Vectors,
    words: TemplateWords,
    near: Mapping[str, str],
) -> list[ReviewRow]:
    numbers = clusters.nearest(vectors)
    return [_row(t, "new", int(number), words, near) for t, number in zip(new, numbers, strict=True)]


def _row(
    template: Template, source: Source, number: int, words: TemplateWords, near: Mapping[str, str]
) -> ReviewRow:
    problems = find_problems(template, words)
    if template.id in near:
        problems.append(TemplateFinding(TemplateProblem.NEAR_REPEAT, near[template.id]))
    return ReviewRow(
        id=template.id,
        text=template.text,
        source=source,
        cluster=number,
        problems="; ".join(map(str, problems)),
        near_to=near.get(template.id, ""),
    )


def _first(answer: str | None) -> Template | None:
    """The first line with a placeholder, else the first: some models lead in with a remark."""
    templates = read_templates(answer or "")
    return next((t for t in templates if t.placeholders), templates[0] if templates else None)


def _counts(dropped: Counter[str]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in dropped.most_common())
