"""What the tiny MLLM tells rightly of people whom it never saw, and of pictures that were swapped."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import AutoTokenizer, Qwen2_5_VLForConditionalGeneration

from benchmarks.tiny_mllm.data import Person, cut_out, patches, read_picture, token_counts
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

    def caption(self, pictures: Sequence[Image.Image], form: str) -> list[str]:
        """Captions of pictures, all in one form."""
        return self.answers(pictures, read_prompt("caption"), LONGEST, form)

    def letters(self, pictures: Sequence[Image.Image]) -> list[str]:
        """The likeliest letter of each picture."""
        return self.answers(pictures, read_prompt("judge"), 1)

    def answers(
        self, pictures: Sequence[Image.Image], prompt: Mapping[str, str], longest: int, form: str = ""
    ) -> list[str]:
        """What is said to one prompt about each picture, up to `longest` tokens."""
        lots = (pictures[first : first + BATCH] for first in range(0, len(pictures), BATCH))
        return [answer for lot in lots for answer in self._lot(lot, prompt, longest, form)]

    @torch.inference_mode()
    def _lot(
        self, pictures: Sequence[Image.Image], prompt: Mapping[str, str], longest: int, form: str
    ) -> list[str]:
        pixels, grids = patches(pictures)
        talks = [asked(self._tokenizer, prompt, count, form) for count in token_counts(grids)]
        ids, mask = _left_padded(talks, self._tokenizer.pad_token_id)
        answers = self._model.generate(
            input_ids=ids,
            attention_mask=mask,
            mm_token_type_ids=(ids == self._tokenizer.convert_tokens_to_ids("<|image_pad|>")).long(),
            pixel_values=pixels,
            image_grid_thw=grids,
            max_new_tokens=longest,
            do_sample=False,
        )[:, ids.shape[1] :]
        return [str(self._tokenizer.decode(answer, skip_special_tokens=True)) for answer in answers]


def check(tiny: Tiny, people: Sequence[Person], seed: int) -> Found:
    """Shares that are right, each with the half width of its 95 % interval; letters by confusion."""
    exam = Exam(people, seed)
    whole, cropped = (tiny.caption(pictures, FORM.text) for pictures in (exam.whole, exam.cropped))
    return exam.marks(whole, cropped, tiny.letters(exam.faulty))


class Exam:
    """Pictures with their truth: whole and cut out for captions, and with a drawn fault for a letter."""

    def __init__(self, people: Sequence[Person], seed: int) -> None:
        rng = np.random.default_rng(seed + 1)
        self._people = people
        self._swapped = [people[int(index)] for index in rng.permutation(len(people))]
        self._letters = [str(rng.choice(list(FAULTS))) for _ in people]
        self.whole = [read_picture(person.picture) for person in people]
        self._cut = people[::2]  # half of them tell as much in half the time
        self.cropped = [
            cut_out(picture, person.box) for picture, person in zip(self.whole[::2], self._cut, strict=True)
        ]
        others = [self.whole[int(index)] for index in rng.permutation(len(people))]
        self.faulty = [
            FAULTS[letter](picture, other, rng)
            for letter, picture, other in zip(self._letters, self.whole, others, strict=True)
        ]

    def marks(self, whole: Sequence[str], cropped: Sequence[str], letters: Sequence[str]) -> Found:
        """What of the captions and letters is right."""
        said = list(zip(self._letters, letters, strict=True))
        return {
            "people_never_seen": len({person.identity for person in self._people}),
            "pictures": len(self._people),
            "captions": right(self._people, whole),
            "captions_of_swapped_pictures": right(self._swapped, whole),
            "captions_of_pictures_cut_to_the_person": right(self._cut, cropped),
            "letter": share([true == letter for true, letter in said]),
            "letters_true_and_said": {f"{a}{b}": count for (a, b), count in sorted(Counter(said).items())},
            "examples": list(whole[:3]),
        }


def _left_padded(talks: Sequence[list[int]], pad: int) -> tuple[Tensor, Tensor]:
    longest = max(len(talk) for talk in talks)
    ids = torch.tensor([[pad] * (longest - len(talk)) + talk for talk in talks])
    mask = torch.tensor([[0] * (longest - len(talk)) + [1] * len(talk) for talk in talks])
    return ids, mask
