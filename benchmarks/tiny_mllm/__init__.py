"""A tiny MLLM that sees the made world: Qwen2.5-VL's architecture with a few million parameters.

An instrument, not a product: it knows made people alone, and its captions and letters say nothing of
photographs. It lets the real vLLM answer about pictures whose truth is known (world/truth.py).
"""
