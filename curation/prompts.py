"""Prompts: instructions for a model, read from YAML and hashed into what it says."""

import hashlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from pipeline.yaml_text import YamlError, read_yaml

SLOTS = ("{template}", "{caption}", "{examples}", "{count}")
"""What `user` may leave to be filled in; each kind of prompt has its own."""


class PromptError(ValueError):
    """A prompt that cannot be used; one line naming the file."""


@dataclass(frozen=True)
class Prompt:
    """`system` comes before the picture, `user` after it; `id` is the hash of the file."""

    id: str
    system: str
    user: str


def load_prompt(name: str, *slots: str) -> Prompt:
    """Load a prompt by path, or by the name of a packaged one; raises PromptError.

    slots: those of SLOTS that `user` must hold exactly once each; it may hold none of the others.
    """
    path = Path(name)
    source = path if path.is_file() else resources.files("prompts") / f"{name}.yaml"
    if not source.is_file():
        raise PromptError(f"{name}: no such prompt")
    try:
        text = source.read_text(encoding="utf-8")
        tree = read_yaml(text)
    except (YamlError, UnicodeDecodeError) as error:
        raise PromptError(f"{name}: not YAML: {error}") from None
    if not isinstance(tree, dict) or not all(isinstance(tree.get(key), str) for key in ("system", "user")):
        raise PromptError(f"{name}: a prompt has the texts `system` and `user`")
    for slot in SLOTS:
        found = tree["user"].count(slot)
        if slot in slots and found != 1:
            raise PromptError(f"{name}: user: needs {slot} exactly once")
        if slot not in slots and found:
            raise PromptError(f"{name}: user: {slot} belongs to another kind of prompt")
    return Prompt(hashlib.sha256(text.encode()).hexdigest()[:12], tree["system"], tree["user"])
