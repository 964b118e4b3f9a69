"""What the tiny MLLM tells rightly of people whom it never saw, and of pictures that were swapped."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoTokenizer, Qwen2_5_VLForConditionalGeneration

from benchmarks.tiny_mllm.data import GRID, Person, patches, read_picture
from benchmarks.tiny_mllm.faults import FAULTS
from benchmarks.tiny_mllm.model import asked, read_prompt
from benchmarks.tiny_mllm.reading import FORM, right, share

Found = dict[str, Any]
BATCH, LONGEST = 50, 60


class Tiny:
    """A trained model in this process, greedy."""

    def __init__(self, folder: Path) -> None:
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._model = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()

    def caption(self, pixels: Tensor, form: str) -> list[str]:
        """Captions of pictures, all in one form."""
        answers = self._generate(pixels, asked(self._tokenizer, read_prompt("caption"), form), LONGEST)
        return [str(self._tokenizer.decode(answer, skip_special_tokens=True)) for answer in answers]

    def letters(self, pixels: Tensor) -> list[str]:
        """The likeliest letter of each picture."""
        answers = self._generate(pixels, asked(self._tokenizer, read_prompt("judge")), 1)
        return [str(self._tokenizer.decode(answer)) for answer in answers]

    @torch.inference_mode()
    def _generate(self, pixels: Tensor, prompt: list[int], longest: int) -> Tensor:
        count = len(pixels) // (GRID[1] * GRID[2])
        ids = torch.tensor([prompt] * count)
        pictures = (ids == self._tokenizer.convert_tokens_to_ids("<|image_pad|>")).long()
        answers: Tensor = self._model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            mm_token_type_ids=pictures,
            pixel_values=pixels,
            image_grid_thw=torch.tensor([GRID] * count),
            max_new_tokens=longest,
            do_sample=False,
        )
        return answers[:, len(prompt) :]


def check(tiny: Tiny, people: Sequence[Person], seed: int) -> Found:
    """Shares that are right, each with the half width of its 95 % interval; letters by confusion."""
    exam = Exam(people, seed)
    captions: list[str] = []
    letters: list[str] = []
    for first in range(0, len(people), BATCH):
        captions += tiny.caption(patches(exam.plain[first : first + BATCH]), FORM.text)
        letters += tiny.letters(patches(exam.faulty[first : first + BATCH]))
    return exam.marks(captions, letters)


class Exam:
    """Pictures with their truth: each person plain for a caption, and with a drawn fault for a letter."""

    def __init__(self, people: Sequence[Person], seed: int) -> None:
        rng = np.random.default_rng(seed + 1)
        self._people = people
        self._swapped = [people[int(index)] for index in rng.permutation(len(people))]
        self._letters = [str(rng.choice(list(FAULTS))) for _ in people]
        self.plain = [read_picture(person.picture) for person in people]
        others = [self.plain[int(index)] for index in rng.permutation(len(people))]
        self.faulty = [
            FAULTS[letter](picture, other, rng)
            for letter, picture, other in zip(self._letters, self.plain, others, strict=True)
        ]

    def marks(self, captions: Sequence[str], letters: Sequence[str]) -> Found:
        """What of the answers is right."""
        said = list(zip(self._letters, letters, strict=True))
        return {
            "people_never_seen": len({person.identity for person in self._people}),
            "pictures": len(self._people),
            "captions": right(self._people, captions),
            "captions_of_swapped_pictures": right(self._swapped, captions),
            "letter": share([true == letter for true, letter in said]),
            "letters_true_and_said": {f"{a}{b}": count for (a, b), count in sorted(Counter(said).items())},
            "examples": list(captions[:3]),
        }
