"""Train the tiny MLLM on a made world and check it on people whom it never saw.

    python -m world --people 2500 --views 2 --seed 11 --out out/tiny-world
    python -m benchmarks.tiny_mllm train --world out/tiny-world --name a
    python -m benchmarks.tiny_mllm check --world out/tiny-world --name a
    python -m benchmarks.tiny_mllm check-served --world out/tiny-world --name a   # by the real vLLM

Needs `make vllm`. It is an instrument (benchmarks/tiny_mllm/__init__.py), not a product.
"""

import argparse
import json
import os
from pathlib import Path

import torch

from benchmarks.tiny_mllm.check import Tiny, check
from benchmarks.tiny_mllm.data import Captions, Person, read_people
from benchmarks.tiny_mllm.model import HOME, build, save, train_tokenizer
from benchmarks.tiny_mllm.served import check_served
from benchmarks.tiny_mllm.train import Lessons, train_eye, train_text


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
        print(json.dumps(check_served(folder, people, options.seed), indent=1))


def train(people: list[Person], options: argparse.Namespace) -> None:
    """A model from nothing; weights and vocabulary go to world/tiny_mllm/NAME."""
    tokenizer = train_tokenizer(_texts(people))
    model = build(tokenizer, options.seed)
    if options.eye and options.eye.is_file():
        model.model.visual.load_state_dict(torch.load(options.eye))
    else:
        train_eye(model, Lessons(people, options.seed), options.eye_steps, options.seed)
        if options.eye:
            torch.save(model.model.visual.state_dict(), options.eye)
    # The same lessons whether the eye was kept or trained just now.
    train_text(model, tokenizer, Lessons(people, options.seed), options.text_steps)
    save(model, tokenizer, HOME / options.name)


def _texts(people: list[Person]) -> list[str]:
    """Some captions in every form, so that the vocabulary has the words."""
    captions = Captions()
    return [captions.filled(person, form) for person in people[:60] for form in captions.forms(person)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tiny_mllm", description=__doc__)
    add = parser.add_argument
    add("task", choices=("train", "check", "check-served"))
    add("--world", type=Path, required=True, help="a folder that `python -m world` made")
    add("--name", default="a", help="which model: a folder in world/tiny_mllm")
    add("--seed", type=int, default=0)
    add("--eye-steps", type=int, default=900)
    add("--text-steps", type=int, default=1200)
    add(
        "--eye", type=Path, default=None, help="a file that keeps the trained eye, and is used if it is there"
    )
    add("--threads", type=int, default=os.cpu_count() or 1, help="1 on a machine with other work")
    return parser


if __name__ == "__main__":
    main()
