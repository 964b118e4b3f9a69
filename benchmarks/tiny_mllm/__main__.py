"""Train the tiny MLLMs on a made world and check them on people whom they never saw.

    python -m world --people 2500 --views 2 --seed 11 --out out/tiny-world
    python -m benchmarks.tiny_mllm train --world out/tiny-world --name a          # then b
    python -m benchmarks.tiny_mllm check --world out/tiny-world --name a
    python -m benchmarks.tiny_mllm check-served --world out/tiny-world --name a   # by the real vLLM

Needs `make vllm`. They are instruments (benchmarks/tiny_mllm/__init__.py), not products. What `check-served`
finds is written to benchmarks/results/tiny_mllm.json, beside what is there of the other model.
"""

import argparse
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.tiny_mllm.check import Tiny, check
from benchmarks.tiny_mllm.data import Captions, Person, read_people
from benchmarks.tiny_mllm.model import HOME, SIZES, build, save, train_tokenizer
from benchmarks.tiny_mllm.served import check_served
from benchmarks.tiny_mllm.train import Lessons, train_eye, train_text
from pipeline.storage import publish_json

RESULT = Path(__file__).parents[1] / "results" / "tiny_mllm.json"
TRAINED = "trained.json"
"""Beside the weights: how they came to be."""


def main() -> None:
    """Train or check one model."""
    options = _parser().parse_args()
    torch.set_num_threads(options.threads)
    people, folder = read_people(options.world, unseen=options.task != "train"), HOME / options.name
    if options.task == "train":
        train(people, options)
    elif options.task == "check":
        print(json.dumps(check(Tiny(folder), people, options.seed), indent=1))
    else:
        found = check_served(folder, people, options.seed)
        print(json.dumps(found, indent=1))
        publish_json(RESULT, _result(options.name, json.loads((folder / TRAINED).read_text()) | found))


def train(people: list[Person], options: argparse.Namespace) -> None:
    """A model from nothing; weights, vocabulary and how they came to be go to world/tiny_mllm/NAME."""
    tokenizer = train_tokenizer(_texts(people))
    model = build(tokenizer, SIZES[options.name], options.seed)
    kept = options.eye and options.eye.is_file()
    if kept:
        model.model.visual.load_state_dict(torch.load(options.eye))
    else:
        train_eye(model, Lessons(people, options.seed), options.eye_steps, options.seed)
        if options.eye:
            torch.save(model.model.visual.state_dict(), options.eye)
    # The same lessons whether the eye was kept or trained just now. Patterns come twice: two colours of one
    # garment are the hardest to say.
    patterned = [person for person in people if person.told["pattern"] != "plain"]
    train_text(model, tokenizer, Lessons([*people, *patterned], options.seed), options.text_steps)
    save(model, tokenizer, HOME / options.name)
    trained = {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "people": len({person.identity for person in people}),
        "pictures": len(people),
        **{name: getattr(options, name) for name in ("seed", "eye_steps", "text_steps", "threads")},
        "cpu_s_of_text_alone" if kept else "cpu_s": round(time.process_time()),
    }
    (HOME / options.name / TRAINED).write_text(json.dumps(trained, indent=1) + "\n")


def _result(name: str, found: dict[str, Any]) -> dict[str, Any]:
    before = json.loads(RESULT.read_text()).get("models", {}) if RESULT.is_file() else {}
    return {
        "command": "python -m benchmarks.tiny_mllm check-served --world out/tiny-world --name a  # and b",
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}",
        "world": "python -m world --people 2500 --views 2 --seed 11; one identity in ten never seen",
        "models": dict(sorted({**before, name: found}.items())),
    }


def _texts(people: list[Person]) -> list[str]:
    """Some captions in every form, so that the vocabulary has the words."""
    captions = Captions()
    return [captions.filled(person, form) for person in people[:60] for form in captions.forms(person)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tiny_mllm", description=__doc__)
    add = parser.add_argument
    add("task", choices=("train", "check", "check-served"))
    add("--world", type=Path, required=True, help="a folder that `python -m world` made")
    add("--name", default="a", choices=SIZES, help="which model: a folder in world/tiny_mllm")
    add("--seed", type=int, default=0)
    add("--eye-steps", type=int, default=1200)
    add("--text-steps", type=int, default=1000)
    add(
        "--eye", type=Path, default=None, help="a file that keeps the trained eye, and is used if it is there"
    )
    add("--threads", type=int, default=os.cpu_count() or 1, help="1 on a machine with other work")
    return parser


if __name__ == "__main__":
    main()
