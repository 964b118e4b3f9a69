"""What all tests share: made examples are the same in every run, and a busy machine fails none of them."""

from hypothesis import settings

settings.register_profile("webperson", deadline=None, derandomize=True)
settings.load_profile("webperson")
