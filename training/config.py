"""The training recipe: every setting of GA-DMS, by default the recipe `ga-dms-paper` (docs/method.md)."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.recipe import Section, operational

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(ge=1)]


class ToyConfig(Section):
    """A small CLIP with random weights, for laptops and tests; its vocabulary is CLIP's."""

    width: Count = 64
    """Channels of both towers."""
    layers: Count = 4
    """Layers of each tower."""
    heads: Count = 4
    """Attention heads of each tower."""
    patch_px: Count = 16
    """Side of an image patch."""
    embed_dim: Count = 64
    """D, the width that image and text share."""

    @model_validator(mode="after")
    def _heads_divide_width(self) -> "ToyConfig":
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        return self


class ModelConfig(Section):
    """What the model is made of."""

    architecture: str = "ViT-B-16-quickgelu"
    """Name of an open_clip architecture with a class token and a causal text tower."""
    pretrained: str | None = "openai"
    """An open_clip tag (fetched from the hub) or a path of weights; null starts from random weights."""
    toy: ToyConfig | None = None
    """A small random CLIP in place of `architecture` and `pretrained`."""
    image_height_px: Count = 384
    """Height that pictures are resized to."""
    image_width_px: Count = 128
    """Width that pictures are resized to."""
    position_resize: Literal["bicubic_antialias", "bilinear"] = "bicubic_antialias"
    """How the position embedding goes from the pretrained grid to this one (the authors: bilinear)."""
    patch_dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of image patches left out in training: faster, at a cost in Recall."""
    decoder_layers: Count = 4
    """Layers of the cross-modal decoder after its cross-attention."""
    decoder_padding_mask: bool = True
    """Whether the decoder's words are kept from attending to padding (the authors: no)."""
    gradient_checkpointing: bool = operational(False)
    """Recompute activations in the backward pass: less memory, more time, the same result."""


class GassConfig(Section):
    """The gradient-attention similarity score (docs/method.md, GASS)."""

    last_layers: Count = 8
    """How many of the last text layers are read; a tower with fewer is read whole."""
    scales: tuple[Count, ...] = Field(default=(1, 2), min_length=1)
    """Segment lengths of multi-scale pooling."""
    normalize: Literal["caption", "batch"] = "caption"
    """Last normalisation: min-max over a caption's words, or division by the batch's maximum (released)."""
    form: Literal["paper", "released"] = "paper"
    """`released`: one attention head in the layers read, all positions with padding, and attention divided
    by the signed sum of raw importance (the authors' code)."""


class ViewConfig(Section):
    """How one masked view is drawn: p = cap / (1 + exp(-slope * (x - midpoint)))."""

    cap: Probability
    """α, the highest probability."""
    slope: float = 20.0
    """λ, the steepness."""
    midpoint: float
    """γ, where half the cap is reached."""
    force_first: bool
    """Whether position 1 becomes the mask where no word was drawn (released: in both views)."""


class MaskConfig(Section):
    """Dual masking (docs/method.md)."""

    noise: ViewConfig = ViewConfig(cap=0.2, midpoint=0.9, force_first=False)
    """The view that trains SDM: x = 1 - score."""
    informative: ViewConfig = ViewConfig(cap=0.3, midpoint=0.1, force_first=True)
    """The view that trains masked token prediction: x = score."""


class AugmentConfig(Section):
    """What a training picture goes through after resizing."""

    flip: Probability = 0.5
    """Probability of a horizontal flip."""
    pad_px: Annotated[int, Field(ge=0)] = 10
    """Zeros on each side before the random crop."""
    erase: Probability = 0.5
    """Probability of random erasing."""
    erase_area: tuple[float, float] = (0.02, 0.4)
    """Smallest and largest erased share of the picture."""
    erase_ratio: tuple[float, float] = (0.3, 3.3)
    """Smallest and largest height to width of the erased box."""
    erase_value: Literal["mean", "released"] = "mean"
    """`mean`: the mean colour; `released`: the mean's numbers put in after normalisation."""


class TrainConfig(Section):
    """A training run of GA-DMS."""

    model: ModelConfig = ModelConfig()
    """The towers and the decoder."""
    gass: GassConfig = GassConfig()
    """The score."""
    masks: MaskConfig = MaskConfig()
    """The two masked views."""
    augment: AugmentConfig = AugmentConfig()
    """Augmentation of pictures."""
    batch_size: Count = 512
    """Captions of one step over all processes."""
    captions_per_image: Literal[1, 2] = 1
    """2: both captions of an image stand in one batch and share its encoding."""
    epochs: Count = 30
    """Visits of each caption."""
    validate_epochs: Count = 1
    """Epochs between validations, each with a checkpoint; the last epoch always has them."""
    learning_rate: Positive = 1e-4
    """Highest learning rate, the same for all parameters."""
    warmup_epochs: Annotated[float, Field(ge=0.0)] = 5.0
    """Epochs of linear warm-up, before the cosine."""
    warmup_start: Probability = 0.1
    """First learning rate, as a share of the highest."""
    schedule: Literal["step", "epoch"] = "step"
    """How often the learning rate moves (released: epoch)."""
    adam_betas: tuple[float, float] = (0.9, 0.999)
    """Adam's decay rates."""
    adam_epsilon: Positive = 1e-3
    """Adam's ε."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 4e-5
    """Coupled (L2) decay of every parameter, biases and norms too."""
    clip_norm: Positive | None = None
    """Largest norm of the gradient; null does not clip."""
    temperature: Positive = 0.02
    """τ of SDM, fixed."""
    sdm_epsilon: Positive = 1e-8
    """ε of SDM."""
    mtp_weight: Annotated[float, Field(ge=0.0)] = 0.4
    """β, the weight of masked token prediction; 0 leaves the decoder out."""
    precision: Literal["bf16", "fp32"] = "bf16"
    """Autocast of the step; weights, scores and losses stay fp32."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Keys weights, order, augmentation and masks."""
    compile: bool = operational(False)
    """Compile the model with torch.compile."""
