"""Image transforms for training and evaluation, on Pillow images, built from timm's and torchvision's."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from PIL import Image, ImageOps
from timm.data import create_transform
from torchvision import transforms

from biformer_lit.data.checks import require
from biformer_lit.data.normalisation import Triple
from biformer_lit.data.own_transforms import OwnTransforms
from biformer_lit.data.preprocessing import Transform
from biformer_lit.errors import ConfigError


@dataclass(frozen=True)
class Augmentation:
    """Augmentation of training images; the defaults are the published ImageNet recipe without repetition.

    Mixup, CutMix and label smoothing work on whole batches and belong to the task.

    Attributes:
        crop: ``random_resized`` cuts out a random part and resizes it; ``padded`` resizes to the image
            size, pads by an eighth and cuts at random (for small images such as CIFAR); ``none`` resizes
            and cuts the centre.
        scale: Range of the share of the area that ``random_resized`` cuts out.
        ratio: Range of the aspect ratio that ``random_resized`` cuts out.
        hflip: Probability of a mirror image.
        rand_augment: RandAugment policy in timm's notation, null for none.
        color_jitter: Strength of random brightness, contrast and saturation. As in timm it acts only while
            ``rand_augment`` is null.
        erasing: Probability that one random rectangle is replaced by noise.
        interpolation: How images are resized, in training and in evaluation.
        repeats: How often a drawn image is repeated with different augmentation within an epoch; an epoch
            then draws 1/repeats of the images and keeps its length. The ImageNet recipe has 3.
    """

    crop: Literal["random_resized", "padded", "none"] = "random_resized"
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    hflip: float = 0.5
    rand_augment: str | None = "rand-m9-mstd0.5-inc1"
    color_jitter: float = 0.4
    erasing: float = 0.25
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    repeats: int = 1

    def __post_init__(self) -> None:
        if str(self.rand_augment).lower() in {"none", "null", ""}:
            # jsonargparse hands null for a nested field on the command line on as the text "None"
            object.__setattr__(self, "rand_augment", None)
        for field in ("hflip", "erasing"):
            _check(0 <= getattr(self, field) <= 1, field, getattr(self, field), "must be within 0..1")
        _check(self.color_jitter >= 0, "color_jitter", self.color_jitter, "must not be negative")
        _check(self.repeats >= 1, "repeats", self.repeats, "must be 1 or more")
        for field, top in (("scale", 1.0), ("ratio", float("inf"))):
            pair = getattr(self, field)
            good = len(pair) == 2 and 0 < pair[0] <= pair[1] <= top
            _check(good, field, pair, f"must be two numbers, 0 < low <= high{' <= 1' if top == 1 else ''}")
        _check(self.crop in {"random_resized", "padded", "none"}, "crop", self.crop, "is not a known crop")
        _check(
            self.interpolation in {"bicubic", "bilinear"},
            "interpolation",
            self.interpolation,
            "is not supported",
        )
        if self.rand_augment is not None:
            _check_policy(self.rand_augment)


def _check(good: bool, field: str, value: object, problem: str) -> None:
    require(good, f"augmentation.{field}", value, problem)


def _check_policy(policy: str) -> None:
    remedy = "is no RandAugment policy; write for instance rand-m9-mstd0.5-inc1, or null for none"
    _check(policy.startswith("rand-"), "rand_augment", policy, remedy)
    try:
        create_transform(32, is_training=True, auto_augment=policy)
    except (AssertionError, ValueError, KeyError, IndexError, TypeError) as error:
        raise ConfigError(f"data.init_args.augmentation.rand_augment: {policy!r} {remedy}") from error


def train_transform(
    augmentation: Augmentation, image_size: int, mean: Triple, std: Triple, own: OwnTransforms | None = None
) -> Transform:
    """Transform for training.

    Args:
        augmentation: What to do at random.
        image_size: Height and width of the result in pixels.
        mean: Mean of each channel, for pixel values 0..1.
        std: Standard deviation of each channel.
        own: What the user registered, applied before the normalisation.

    Returns:
        Function from an RGB image to a float32 tensor of shape (3, image_size, image_size).
    """
    geometry, colour, final = create_transform(
        image_size,
        is_training=True,
        separate=True,
        scale=augmentation.scale,
        ratio=augmentation.ratio,
        hflip=augmentation.hflip,
        auto_augment=augmentation.rand_augment,
        color_jitter=augmentation.color_jitter or None,
        re_prob=augmentation.erasing,
        re_mode="pixel",
        re_count=1,
        interpolation=augmentation.interpolation,
        mean=mean,
        std=std,
    )
    for step in colour.transforms:
        for operation in getattr(step, "ops", ()):
            if operation.name.startswith("Posterize"):
                operation.aug_fn = _posterize
    if augmentation.crop != "random_resized":
        resize = transforms.Resize(image_size, transforms.InterpolationMode(augmentation.interpolation))
        crop: list[Callable[..., object]] = [resize, transforms.CenterCrop(image_size)]
        if augmentation.crop == "padded":
            crop = [resize, transforms.RandomCrop(image_size, padding=image_size // 8)]
        flip = [transforms.RandomHorizontalFlip(augmentation.hflip)] if augmentation.hflip else []
        geometry = transforms.Compose([*crop, *flip])
    between = [own.on_picture] if own else []
    steps: Transform = transforms.Compose([*geometry.transforms, *colour.transforms, *between, *final.transforms])
    return steps


def _posterize(image: Image.Image, bits: int, **_: object) -> Image.Image:
    # the strongest level of the "inc" policies keeps no bit: black up to Pillow 12, refused from 13 on
    return ImageOps.posterize(image, bits) if bits > 0 else Image.new(image.mode, image.size)


def eval_transform(
    image_size: int, crop_pct: float, mean: Triple, std: Triple, interpolation: str = "bicubic"
) -> Transform:
    """Transform for validation, test and prediction: resize the shorter side, cut the centre, normalise.

    Args:
        image_size: Height and width of the result in pixels.
        crop_pct: Share of the shorter side that is kept; it is resized to ``image_size / crop_pct``.
        mean: Mean of each channel, for pixel values 0..1.
        std: Standard deviation of each channel.
        interpolation: ``bicubic`` or ``bilinear``.

    Returns:
        Function from an RGB image to a float32 tensor of shape (3, image_size, image_size).
    """
    steps: Transform = create_transform(
        image_size, is_training=False, crop_pct=crop_pct, mean=mean, std=std, interpolation=interpolation
    )
    return steps
