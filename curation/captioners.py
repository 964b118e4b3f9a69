"""Captioners: what sees a person and writes a sentence to a template; a stand-in for CPUs, an endpoint."""

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image

from curation.attributes import measure
from curation.colours import ColourTerms, Floats
from curation.fit import CropError
from curation.mllm_old import MllmClient
from pipeline.records import PersonKey
from pipeline.templates import Template, TemplateLibrary, fill

STAND_IN_MODEL_ID = "attributes-stand-in/1"
PROMPT_SLOT = "{template}"


class PromptError(ValueError):
    """A prompt that cannot be used; one line naming the file."""


@dataclass(frozen=True, eq=False)
class Person:
    """What a captioner sees: JPEG bytes, the same as RGB [H, W, 3], keypoints [17, 3] in crop pixels."""

    key: PersonKey
    jpeg: bytes
    picture: NDArray[np.uint8]
    keypoints: Floats


@dataclass(frozen=True)
class Sight:
    """A person as one captioner sees it: the templates it can follow, and how it writes to one by a seed."""

    templates: Sequence[Template]
    write: Callable[[Template, int], str]


class Captioner(Protocol):
    """Whatever can write captions; the ids go into every row."""

    @property
    def model_id(self) -> str: ...

    @property
    def prompt_id(self) -> str: ...

    def look(self, person: Person) -> Sight: ...


@dataclass(frozen=True)
class AttributesStandIn:
    """Stand-in for a multimodal model: fills templates with what was measured on the CPU."""

    library: TemplateLibrary
    terms: ColourTerms
    keypoint_min: float
    share_min: float
    model_id: str = STAND_IN_MODEL_ID

    @property
    def prompt_id(self) -> str:
        """Hash of the colour terms, the only data beside the templates that shape the text."""
        return self.terms.id

    def look(self, person: Person) -> Sight:
        """Measure once; the templates are those of which every placeholder has a value."""
        values = measure(person.picture, person.keypoints, self.terms, self.keypoint_min, self.share_min)
        fillable = [t for t in self.library.templates if values.keys() >= set(t.placeholders)]
        return Sight(fillable, lambda template, seed: fill(template, values))


@dataclass(frozen=True)
class CaptionPrompt:
    """Instructions for a model; `user` holds the slot `{template}`; `id` is the hash of the file."""

    id: str
    system: str
    user: str


@dataclass(frozen=True)
class EndpointCaptioner:
    """A multimodal model behind an endpoint follows the template; every template suits every person."""

    library: TemplateLibrary
    prompt: CaptionPrompt
    client: MllmClient
    model_id: str

    @property
    def prompt_id(self) -> str:
        """Hash of the prompt's file."""
        return self.prompt.id

    def look(self, person: Person) -> Sight:
        """Nothing is asked yet."""

        def write(template: Template, seed: int) -> str:
            user = self.prompt.user.replace(PROMPT_SLOT, template.text)
            return self.client.ask(self.prompt.system, user, person.jpeg, seed).text

        return Sight(self.library.templates, write)


def read_person(key: PersonKey, row: dict[str, Any]) -> Person:
    """Decode the crop and move the keypoints from the source picture into it; raises CropError."""
    if row["crop"] is None:
        raise CropError("no pixels stored for this person")
    try:
        with Image.open(io.BytesIO(row["crop"])) as image:
            picture = np.asarray(image.convert("RGB"))
    except OSError as error:
        raise CropError(f"crop: {' '.join(str(error).split())}") from None
    corner = [row["crop_left_px"], row["crop_top_px"], 0]
    keypoints = np.array(row["keypoints"], dtype=np.float64).reshape(17, 3) - corner
    return Person(key, row["crop"], picture, keypoints)


def load_prompt(name: str) -> CaptionPrompt:
    """Load a prompt by path, or by the name of a packaged one; raises PromptError."""
    path = Path(name)
    source = path if path.is_file() else resources.files("prompts") / f"{name}.yaml"
    if not source.is_file():
        raise PromptError(f"{name}: no such prompt")
    text = source.read_text(encoding="utf-8")
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise PromptError(f"{name}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict) or not all(isinstance(tree.get(key), str) for key in ("system", "user")):
        raise PromptError(f"{name}: a prompt has the texts `system` and `user`")
    if tree["user"].count(PROMPT_SLOT) != 1:
        raise PromptError(f"{name}: user: needs {PROMPT_SLOT} exactly once")
    return CaptionPrompt(hashlib.sha256(text.encode()).hexdigest()[:12], tree["system"], tree["user"])
