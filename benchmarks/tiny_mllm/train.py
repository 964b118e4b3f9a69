"""Teaching the tiny MLLM: first its eye tells attributes and letters, then the whole fills sentence forms."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.tiny_mllm.data import (
    CLASSES,
    GRID,
    IMAGE_TOKENS,
    Captions,
    Person,
    batches,
    classes,
    draw_letter,
    patches,
    read_picture,
    vary,
)
from benchmarks.tiny_mllm.faults import FAULTS, Rng
from benchmarks.tiny_mllm.model import asked, read_prompt

EYE_BATCH, TEXT_BATCH = 64, 32
IGNORED = -100
HALF = torch.autocast("cpu", torch.bfloat16)
"""Half the time on CPUs that multiply bfloat16."""


class Heads(nn.Module):
    """One learned query for each attribute over the eye's tokens, and a linear layer for its values."""

    def __init__(self, width: int) -> None:
        super().__init__()
        # Tokens tell not where they are; the text model knows it from its rotary positions.
        self.places = nn.Parameter(torch.zeros(IMAGE_TOKENS, width))
        self.queries = nn.Parameter(torch.randn(len(CLASSES), width) / width**0.5)
        self.norm = nn.LayerNorm(width)
        self.key = nn.Linear(width, width)
        self.values = nn.ModuleList(nn.Linear(width, len(values)) for values in CLASSES.values())

    def forward(self, tokens: Tensor) -> list[Tensor]:
        """Logits [B, values] for each attribute, from tokens [B, T, width]."""
        tokens = self.norm(tokens)
        shares = (self.key(tokens + self.places) @ self.queries.T).softmax(dim=1)
        told = shares.transpose(1, 2) @ tokens
        return [layer(told[:, number]) for number, layer in enumerate(self.values)]


class Lessons:
    """Pictures of known people, drawn, made faulty and varied by one seed."""

    def __init__(self, people: Sequence[Person], seed: int) -> None:
        self.people = people
        self._pictures = [read_picture(person.picture) for person in people]
        self._rng: Rng = np.random.default_rng(seed)
        self._captions = Captions()

    def see(self, size: int, fit_share: float) -> tuple[list[Person], list[str], Tensor]:
        """People, the letters of their pictures, and pixel values."""
        people, letters, pictures = [], [], []
        for index in next(batches(len(self.people), size, self._rng)):
            letter = draw_letter(self._rng, fit_share)
            other = self._pictures[self._rng.integers(len(self._pictures))]
            faulty = FAULTS[letter](self._pictures[index], other, self._rng)
            pictures.append(vary(faulty, self._rng))
            people.append(self.people[index])
            letters.append(letter)
        return people, letters, patches(pictures)

    def speak(self, tokenizer: Any, size: int, judge_share: float) -> tuple[dict[str, Tensor], Tensor]:
        """Inputs of the model and the labels of the answers; right padded."""
        judged = int(size * judge_share)
        people, letters, pixels = self.see(judged, 0.2)
        more, _, more_pixels = self.see(size - judged, 1.0)
        end = tokenizer.eos_token_id
        judge, caption = asked(tokenizer, read_prompt("judge")), read_prompt("caption")
        talks = [(judge, [*_ids(tokenizer, letter), end]) for letter in letters]
        for person in more:
            forms = self._captions.forms(person)
            form = forms[self._rng.integers(len(forms))]
            answer = [*_ids(tokenizer, self._captions.filled(person, form)), end]
            talks.append((asked(tokenizer, caption, form.text), answer))
        inputs, labels = _padded(talks, tokenizer)
        grids = torch.tensor([GRID] * (len(people) + len(more)))
        return {**inputs, "pixel_values": torch.cat([pixels, more_pixels]), "image_grid_thw": grids}, labels


def train_eye(model: Any, lessons: Lessons, steps: int, seed: int) -> None:
    """Attributes and letters from the eye's tokens; the heads that read them are thrown away."""
    torch.manual_seed(seed)
    heads, eye = Heads(model.config.text_config.hidden_size), model.model.visual
    course = _Course({1e-3: [*eye.parameters(), *heads.parameters()]}, steps)
    grids = torch.tensor([GRID] * EYE_BATCH)
    for step in range(steps):
        people, letters, pixels = lessons.see(EYE_BATCH, 0.6)
        with HALF:
            tokens = eye(pixels, grid_thw=grids).pooler_output.view(EYE_BATCH, IMAGE_TOKENS, -1)
        truth = torch.tensor([classes(*pair) for pair in zip(people, letters, strict=True)])
        told = heads(tokens.float())
        losses = [_loss(logits, truth[:, number]) for number, logits in enumerate(told)]
        course.take(step, torch.stack(losses).mean(), "eye", _right(told, truth))


def train_text(model: Any, tokenizer: Any, lessons: Lessons, steps: int, judge_share: float = 0.25) -> None:
    """Sentence forms filled and letters said; the eye goes on learning."""
    eye = list(model.model.visual.parameters())
    known = {id(parameter) for parameter in eye}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in known]
    # Slowly, or the eye forgets what it knows before the words are worth learning from.
    course = _Course({3e-4: eye, 1.5e-3: rest}, steps)
    model.train()
    for step in range(steps):
        inputs, labels = lessons.speak(tokenizer, TEXT_BATCH, judge_share)
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
    shown = ("upper_colour", "lower_colour", "shoe_colour", "upper", "lower", "letter")
    names = list(CLASSES)
    shares = []
    for name in shown:
        wanted = truth[:, names.index(name)]
        known = wanted != IGNORED
        right = (told[names.index(name)].argmax(1) == wanted)[known].float().mean()
        shares.append(f"{name} {float(right):.2f}")
    return ", ".join(shares)


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
