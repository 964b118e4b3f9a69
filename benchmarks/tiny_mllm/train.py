"""Teaching the tiny MLLM: first its eye tells attributes and letters, then the whole fills sentence forms."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.tiny_mllm.data import (
    CLASSES,
    MERGE,
    Captions,
    Person,
    classes,
    cut_out,
    draw_frame,
    draw_letter,
    patches,
    read_picture,
    relight,
    shuffled,
    token_counts,
)
from benchmarks.tiny_mllm.faults import FAULTS, Rng
from benchmarks.tiny_mllm.model import asked, canary_prompt, read_prompt
from curation.canary import COLOUR_QUESTION, COLOURS, SIDE_PX

EYE_BATCH, DESCRIBED, JUDGED, PLAIN = 64, 22, 8, 2
"""Pictures of a step for the eye; of a step for the text, those to describe, to judge, and of one colour."""
IGNORED = -100
HALF = torch.autocast("cpu", torch.bfloat16)
"""Half the time on CPUs that multiply bfloat16."""


class Heads(nn.Module):
    """One learned query for each attribute over the eye's tokens, and a linear layer for its values."""

    def __init__(self, width: int) -> None:
        super().__init__()
        # Tokens tell not where they are; the text model knows it from its rotary positions.
        self.place = nn.Sequential(nn.Linear(2, 64), nn.GELU(), nn.Linear(64, width))
        self.queries = nn.Parameter(torch.randn(len(CLASSES), width) / width**0.5)
        self.norm = nn.LayerNorm(width)
        self.key = nn.Linear(width, width)
        self.values = nn.ModuleList(nn.Linear(width, len(values)) for values in CLASSES.values())

    def forward(self, tokens: Tensor, grids: Tensor) -> list[Tensor]:
        """Logits [B, values] for each attribute, from the tokens [T, width] of pictures of grids [B, 3]."""
        tokens = self.norm(tokens)
        asked = self.key(tokens + self.place(_places(grids))) @ self.queries.T
        counts = token_counts(grids)
        rows = [nn.utils.rnn.pad_sequence(list(each.split(counts)), True) for each in (tokens, asked)]
        empty = torch.arange(max(counts)) >= torch.tensor(counts)[:, None]
        shares = rows[1].masked_fill(empty[..., None], float("-inf")).softmax(dim=1)
        told = shares.transpose(1, 2) @ rows[0]
        return [layer(told[:, number]) for number, layer in enumerate(self.values)]


@dataclass(frozen=True)
class Talk:
    """A question about a picture, and the answer."""

    picture: Image.Image
    prompt: Mapping[str, str]
    answer: str
    form: str = ""


class Lessons:
    """Pictures of known people, drawn, made faulty and varied by one seed."""

    def __init__(self, people: Sequence[Person], seed: int) -> None:
        self.people = people
        self._pictures = [read_picture(person.picture) for person in people]
        self._rng: Rng = np.random.default_rng(seed)
        self._order = shuffled(len(people), self._rng)
        self._captions = Captions()

    def see(self, size: int, fit_share: float) -> tuple[list[Person], list[str], list[Image.Image]]:
        """People, the letters of their pictures, and the pictures."""
        numbers = list(islice(self._order, size))
        letters = [draw_letter(self._rng, fit_share) for _ in numbers]
        pictures = [self._picture(*pair) for pair in zip(numbers, letters, strict=True)]
        return [self.people[number] for number in numbers], letters, pictures

    def _picture(self, number: int, letter: str) -> Image.Image:
        other = self._pictures[self._rng.integers(len(self._pictures))]
        framed = cut_out(self._pictures[number], draw_frame(self.people[number].box, self._rng))
        return relight(FAULTS[letter](framed, other, self._rng), self._rng)

    def speak(self, tokenizer: Any) -> tuple[dict[str, Tensor], Tensor]:
        """Inputs of the model and the labels of the answers; right padded."""
        talks = [*self._described(DESCRIBED), *self._judged(JUDGED), *self._plain(PLAIN)]
        pixels, grids = patches([talk.picture for talk in talks])
        end = tokenizer.eos_token_id
        texts = [
            (asked(tokenizer, talk.prompt, count, talk.form), [*_ids(tokenizer, talk.answer), end])
            for talk, count in zip(talks, token_counts(grids), strict=True)
        ]
        inputs, labels = _padded(texts, tokenizer)
        return {**inputs, "pixel_values": pixels, "image_grid_thw": grids}, labels

    def _described(self, size: int) -> Iterator["Talk"]:
        people, _, pictures = self.see(size, 1.0)
        for person, picture in zip(people, pictures, strict=True):
            forms = self._captions.forms(person)
            form = forms[self._rng.integers(len(forms))]
            yield Talk(picture, read_prompt("caption"), self._captions.filled(person, form), form.text)

    def _judged(self, size: int) -> Iterator["Talk"]:
        _, letters, pictures = self.see(size, 0.2)
        for letter, picture in zip(letters, pictures, strict=True):
            yield Talk(picture, read_prompt("judge"), letter)

    def _plain(self, size: int) -> Iterator["Talk"]:
        """Squares of one colour, as the canaries of curation/canary.py are, nearly."""
        for name in self._rng.choice(list(COLOURS), size):
            red, green, blue = (int(level) for level in COLOURS[name] + self._rng.integers(-15, 16, 3))
            square = Image.new("RGB", (SIDE_PX, SIDE_PX), (red, green, blue))
            yield Talk(square, canary_prompt(), _canary_letter(name))


def train_eye(model: Any, lessons: Lessons, steps: int, seed: int) -> None:
    """Attributes and letters from the eye's tokens; the heads that read them are thrown away."""
    torch.manual_seed(seed)
    heads, eye = Heads(model.config.text_config.hidden_size), model.model.visual
    course = _Course({1e-3: [*eye.parameters(), *heads.parameters()]}, steps)
    for step in range(steps):
        people, letters, pictures = lessons.see(EYE_BATCH, 0.75)
        pixels, grids = patches(pictures)
        with HALF:
            tokens = eye(pixels, grid_thw=grids).pooler_output
        truth = torch.tensor([classes(*pair) for pair in zip(people, letters, strict=True)])
        told = heads(tokens.float(), grids)
        losses = [_loss(logits, truth[:, number]) for number, logits in enumerate(told)]
        course.take(step, torch.stack(losses).mean(), "eye", _right(told, truth))


def train_text(model: Any, tokenizer: Any, lessons: Lessons, steps: int) -> None:
    """Sentence forms filled and letters said; the eye goes on learning."""
    eye = list(model.model.visual.parameters())
    known = {id(parameter) for parameter in eye}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in known]
    # Slowly, or the eye forgets what it knows before the words are worth learning from.
    course = _Course({3e-4: eye, 1.5e-3: rest}, steps)
    model.train()
    for step in range(steps):
        inputs, labels = lessons.speak(tokenizer)
        with HALF:
            loss = model(**inputs, labels=labels, use_cache=False).loss
        course.take(step, loss, "text", "")


class _Course:
    """Optimiser with warm-up and cosine, and a line now and then."""

    def __init__(self, by_rate: Mapping[float, list[nn.Parameter]], steps: int) -> None:
        self._parameters = [parameter for some in by_rate.values() for parameter in some]
        self._steps, self._started = steps, time.monotonic()
        groups = [{"params": some, "lr": rate} for rate, some in by_rate.items()]
        self._optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.02)
        self._schedule = torch.optim.lr_scheduler.LambdaLR(self._optimiser, self._rate)

    def _rate(self, step: int) -> float:
        warm = min(1.0, (step + 1) / min(40, self._steps))
        return warm * (0.02 + 0.98 * (0.5 + 0.5 * float(np.cos(np.pi * min(1.0, step / self._steps)))))

    def take(self, step: int, loss: Tensor, name: str, note: str) -> None:
        self._optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._parameters, 1.0)
        self._optimiser.step()
        self._schedule.step()
        if step % 25 == 0 or step == self._steps - 1:
            seconds = time.monotonic() - self._started
            print(f"{name} {step}/{self._steps} loss {loss.item():.3f} {seconds:.0f} s {note}", flush=True)


def _loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Mean over the pictures that show the attribute; 0 if none does."""
    shown = (truth != IGNORED).sum().clamp(min=1)
    return functional.cross_entropy(logits, truth, reduction="sum") / shown


def _right(told: Sequence[Tensor], truth: Tensor) -> str:
    shown = (
        "upper_colour",
        "pattern_colour",
        "pattern",
        "upper",
        "lower_colour",
        "lower",
        "shoe_colour",
        "letter",
    )
    names = list(CLASSES)
    shares = []
    for name in shown:
        wanted = truth[:, names.index(name)]
        known = wanted != IGNORED
        right = (told[names.index(name)].argmax(1) == wanted)[known].float().mean()
        shares.append(f"{name} {float(right):.2f}")
    return ", ".join(shares)


def _places(grids: Tensor) -> Tensor:
    """Down and across, as shares, where each token [T, 2] of pictures of grids [B, 3] stands."""
    sides = [(down // MERGE, across // MERGE) for _, down, across in grids.tolist()]
    return torch.cat(
        [
            torch.cartesian_prod((torch.arange(down) + 0.5) / down, (torch.arange(across) + 0.5) / across)
            for down, across in sides
        ]
    )


def _canary_letter(colour: str) -> str:
    """The letter that stands before a colour in the canaries' question."""
    before, _, _ = COLOUR_QUESTION.partition(f": {colour}")
    return before[-1]


def _ids(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False)
    return ids


def _padded(talks: Sequence[tuple[list[int], list[int]]], tokenizer: Any) -> tuple[dict[str, Tensor], Tensor]:
    longest = max(len(prompt) + len(answer) for prompt, answer in talks)
    ids = torch.full((len(talks), longest), tokenizer.pad_token_id)
    labels = torch.full_like(ids, IGNORED)
    mask = torch.zeros_like(ids)
    for row, (prompt, answer) in enumerate(talks):
        end = len(prompt) + len(answer)
        ids[row, :end] = torch.tensor([*prompt, *answer])
        labels[row, len(prompt) : end] = torch.tensor(answer)
        mask[row, :end] = 1
    pictures = (ids == tokenizer.convert_tokens_to_ids("<|image_pad|>")).long()
    return {"input_ids": ids, "attention_mask": mask, "mm_token_type_ids": pictures}, labels
