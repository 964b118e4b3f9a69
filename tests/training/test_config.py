"""The training recipe: its defaults are the paper's, and wrong settings are named."""

import pytest

from pipeline.recipe import RecipeError, parse_recipe
from training.config import TrainConfig


def test_defaults_are_the_papers_recipe() -> None:
    config = TrainConfig()
    assert (config.learning_rate, config.mtp_weight, config.batch_size, config.epochs) == (1e-4, 0.4, 512, 30)
    assert (config.gass.last_layers, config.gass.scales, config.temperature) == (8, (1, 2), 0.02)
    noise, informative = config.masks.noise, config.masks.informative
    assert (noise.cap, noise.slope, noise.midpoint, noise.force_first) == (0.2, 20.0, 0.9, False)
    assert (informative.cap, informative.slope, informative.midpoint) == (0.3, 20.0, 0.1)
    assert informative.force_first
    assert (config.model.image_height_px, config.model.image_width_px) == (384, 128)
    assert (config.adam_epsilon, config.weight_decay) == (1e-3, 4e-5)


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"learning_rat": 1}, "learning_rat: unknown key; did you mean learning_rate?"),
        ({"masks": {"noise": {"cap": 1.5, "midpoint": 0.9, "force_first": False}}}, "masks.noise.cap"),
        ({"model": {"toy": {"width": 64, "heads": 5}}}, "width 64 is not a multiple of heads 5"),
        ({"gass": {"scales": []}}, "gass.scales"),
    ],
)
def test_wrong_settings_are_named(tree: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message.replace("?", r"\?")):
        parse_recipe(TrainConfig, tree, "recipe")


def test_ways_of_working_do_not_change_the_fingerprint() -> None:
    quick = TrainConfig.model_validate({"compile": True, "model": {"gradient_checkpointing": True}})
    assert quick.fingerprint() == TrainConfig().fingerprint()
    assert TrainConfig(seed=1).fingerprint() != TrainConfig().fingerprint()
