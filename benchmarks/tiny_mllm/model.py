"""The tiny Qwen2.5-VL, its vocabulary and chat, and the folder that vLLM serves."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForImageTextToText, PreTrainedTokenizerFast, Qwen2_5_VLConfig

from benchmarks.tiny_mllm.data import MAX_PIXELS, MIN_PIXELS
from curation.canary import Canary, canary_question
from pipeline.templates import load_library

HOME = Path("world/tiny_mllm")
"""Prompts, and below it a folder for each model."""
VOCABULARY = 700
SPECIAL = [
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"),
    *("<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"),
]
PICTURE = "<|vision_start|><|image_pad|><|vision_end|>"
CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for part in m['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }}{% else %}" + PICTURE + "{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True)
class Size:
    """How large a model is."""

    width: int
    """Of the text model; its attention has heads of 64, for vLLM on CPUs takes these, and none of 16."""
    layers: int
    eye_width: int
    eye_layers: int = 4


SIZES: Mapping[str, Size] = {
    "a": Size(width=192, layers=4, eye_width=128),
    "b": Size(width=256, layers=3, eye_width=128),
}
"""By the model's name."""


def build(tokenizer: Any, size: Size, seed: int) -> Any:
    """A model with random weights for a vocabulary, float32."""
    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in SPECIAL}
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": size.width,
        "intermediate_size": size.width * 8 // 3,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.width // 64,
        "num_key_value_heads": size.width // 64,
        "max_position_embeddings": 4096,
        "rope_scaling": {"type": "mrope", "rope_type": "default", "mrope_section": [8, 12, 12]},
        "tie_word_embeddings": True,
        "bos_token_id": ids["<|im_start|>"],
        "eos_token_id": ids["<|im_end|>"],
        "pad_token_id": ids["<|endoftext|>"],
    }
    vision = {
        "depth": size.eye_layers,
        "hidden_size": size.eye_width,
        "intermediate_size": 3 * size.eye_width,
        "num_heads": size.eye_width // 32,
        "out_hidden_size": size.width,
        "fullatt_block_indexes": list(range(size.eye_layers)),
    }
    config = Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )
    torch.manual_seed(seed)
    # The plain attention: in rows as short as ours it is the faster one.
    return AutoModelForImageTextToText.from_config(config, attn_implementation="eager")


def train_tokenizer(captions: Iterable[str]) -> Any:
    """Byte-level BPE of our sentence forms, prompts and the given captions."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    forms = [template.text for name in ("world", "starter") for template in load_library(name).templates]
    prompts = [read_prompt("caption"), read_prompt("judge"), canary_prompt()]
    asked_texts = [text for prompt in prompts for text in prompt.values()]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator([*captions, *(40 * [*forms, *asked_texts])], trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token="<|im_end|>",  # noqa: S106 - no password
        pad_token="<|endoftext|>",  # noqa: S106
        additional_special_tokens=SPECIAL[1:],
    )
    tokenizer.chat_template = CHAT
    return tokenizer


def canary_prompt() -> dict[str, str]:
    """What curation/canary.py asks of squares of one colour."""
    question = canary_question(Canary())
    return {"system": question.system, "user": question.text}


def read_prompt(name: str) -> dict[str, str]:
    """The instrument's own prompt `caption` or `judge`: system and user."""
    prompt: dict[str, str] = yaml.safe_load((HOME / f"{name}.yaml").read_text())
    return prompt


def asked(tokenizer: Any, prompt: Mapping[str, str], image_tokens: int, template: str = "") -> list[int]:
    """Token ids of a conversation up to the answer, the picture's tokens in full."""
    user = [{"type": "image"}, {"type": "text", "text": prompt["user"].replace("{template}", template)}]
    talk = [{"role": "system", "content": prompt["system"]}, {"role": "user", "content": user}]
    text = tokenizer.apply_chat_template(talk, tokenize=False, add_generation_prompt=True)
    ids: list[int] = tokenizer.encode(
        text.replace("<|image_pad|>", "<|image_pad|>" * image_tokens), add_special_tokens=False
    )
    return ids


def save(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write what vLLM serves: weights in bfloat16, vocabulary, chat, and how pictures are sized."""
    tokenizer.save_pretrained(folder)
    model.to(torch.bfloat16).save_pretrained(folder)
    processor = {"processor_class": "Qwen2_5_VLProcessor"}
    pixels = {"min_pixels": MIN_PIXELS, "max_pixels": MAX_PIXELS}
    pictures = {"image_processor_type": "Qwen2VLImageProcessor", **pixels}
    (folder / "processor_config.json").write_text(json.dumps(processor))
    (folder / "preprocessor_config.json").write_text(json.dumps(processor | pictures))
