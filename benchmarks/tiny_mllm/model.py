"""The tiny Qwen2.5-VL, its vocabulary and chat, and the folder that vLLM serves."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
import yaml
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from benchmarks.tiny_mllm.data import HEIGHT_PX, IMAGE_TOKENS, WIDTH_PX
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


def build(tokenizer: Any, seed: int) -> Any:
    """A model with random weights for a vocabulary, float32."""
    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in SPECIAL}
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 192,
        "intermediate_size": 512,
        "num_hidden_layers": 4,
        # vLLM's attention on CPUs takes heads of 64, and none of 16.
        "num_attention_heads": 3,
        "num_key_value_heads": 3,
        "max_position_embeddings": 4096,
        "rope_scaling": {"type": "mrope", "rope_type": "default", "mrope_section": [8, 12, 12]},
        "tie_word_embeddings": True,
        "bos_token_id": ids["<|im_start|>"],
        "eos_token_id": ids["<|im_end|>"],
        "pad_token_id": ids["<|endoftext|>"],
    }
    vision = {
        "depth": 4,
        "hidden_size": 128,
        "intermediate_size": 384,
        "num_heads": 4,
        "out_hidden_size": 192,
        "fullatt_block_indexes": [0, 1, 2, 3],
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
    return Qwen2_5_VLForConditionalGeneration(config)


def train_tokenizer(captions: Iterable[str]) -> Any:
    """Byte-level BPE of our sentence forms, prompts and the given captions."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    forms = [template.text for name in ("world", "starter") for template in load_library(name).templates]
    prompts = [prompt[part] for prompt in map(read_prompt, ("caption", "judge")) for part in prompt]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator([*captions, *(40 * [*forms, *prompts])], trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token="<|im_end|>",  # noqa: S106 - no password
        pad_token="<|endoftext|>",  # noqa: S106
        additional_special_tokens=SPECIAL[1:],
    )
    tokenizer.chat_template = CHAT
    return tokenizer


def read_prompt(name: str) -> dict[str, str]:
    """The instrument's own prompt `caption` or `judge`: system and user."""
    prompt: dict[str, str] = yaml.safe_load((HOME / f"{name}.yaml").read_text())
    return prompt


def asked(tokenizer: Any, prompt: dict[str, str], template: str = "") -> list[int]:
    """Token ids of a conversation up to the answer, the picture's tokens in full."""
    user = [{"type": "image"}, {"type": "text", "text": prompt["user"].replace("{template}", template)}]
    talk = [{"role": "system", "content": prompt["system"]}, {"role": "user", "content": user}]
    text = tokenizer.apply_chat_template(talk, tokenize=False, add_generation_prompt=True)
    ids: list[int] = tokenizer.encode(
        text.replace("<|image_pad|>", "<|image_pad|>" * IMAGE_TOKENS), add_special_tokens=False
    )
    return ids


def save(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write what vLLM serves: weights in bfloat16, vocabulary, chat, and how pictures are sized."""
    tokenizer.save_pretrained(folder)
    model.to(torch.bfloat16).save_pretrained(folder)
    processor = {"processor_class": "Qwen2_5_VLProcessor"}
    # A little above the size itself: rounding must not take a row of patches away.
    pixels = {"min_pixels": 3136, "max_pixels": WIDTH_PX * HEIGHT_PX + 100}
    pictures = {"image_processor_type": "Qwen2VLImageProcessor", **pixels}
    (folder / "processor_config.json").write_text(json.dumps(processor))
    (folder / "preprocessor_config.json").write_text(json.dumps(processor | pictures))
