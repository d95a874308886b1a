"""Every setting, with its meaning, default, range and unit.

A file in ``configs/`` is YAML and only its difference from another (``extends:``). A run
keeps what it resolved to as ``config.json``; the kernel reads that back.
"""

import difflib
import json
import math
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import pydantic
from pydantic import Field

from kaggle_kit.errors import ConfigError
from kaggle_kit.storage.files import shipped, written

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Weight = Annotated[float, Field(ge=0)]
Margin = Annotated[float, Field(ge=0, lt=1.5)]  # radians
Scale = Annotated[float, Field(gt=0, le=2)]


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("expected text that can be printed on one line")
    return text


Text = Annotated[str, pydantic.AfterValidator(_printable)]


class _Settings(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Pools(_Settings):
    """How photos without a landmark are divided; what is left over is not used.

    Such photos are those below ``train/`` that ``train.csv`` does not list.
    """

    penalty: Share = 0.6  # ranked against in the kernel
    validation: Share = 0.2  # beside the validation landmarks
    test: Share = 0.2  # for nobody to tune on

    @pydantic.model_validator(mode="after")
    def _fit_into_all(self) -> "Pools":
        if self.penalty + self.validation + self.test > 1 + 1e-9:
            raise ValueError("the shares add up to more than 1")
        return self


class Subset(_Settings):
    """Which landmarks and photos take part, and how they are split."""

    landmarks: Annotated[tuple[int, ...], Field(min_length=1)] | None = None  # these
    n_landmarks: Count | None = None  # or so many of those that fit
    choice: Literal["most_images", "random"] = "most_images"
    min_images: Count = 1  # a landmark has at least so many
    max_images: Count | None = None  # of each at most so many are drawn
    validation_share: Annotated[float, Field(ge=0, lt=1)] = 0.15  # for tuning
    test_share: Annotated[float, Field(ge=0, lt=1)] = 0.0  # for nobody to tune on
    # so many landmarks are kept out of train; their photos, half to validation and half
    # to test, are queries whose landmark cannot be named
    unknown_landmarks: Annotated[int, Field(ge=0)] = 0
    group_column: Text | None = None  # near-duplicates, kept on one side
    non_landmarks: Pools = Pools()

    @pydantic.model_validator(mode="after")
    def _leaves_some_to_train(self) -> "Subset":
        if self.validation_share + self.test_share >= 1:
            raise ValueError("validation_share and test_share leave nothing to train")
        return self


class Augment(_Settings):
    """Random changes of a training photo.

    ``rand_augment`` and ``cutout`` are keras-cv's.
    """

    flip: bool = False
    # of a side, that a random crop may leave out; what is left is resized
    crop: Annotated[float, Field(ge=0, lt=1)] = 0.0
    brightness: Share = 0.0  # largest change, of the full range
    contrast: Share = 0.0  # largest relative change
    saturation: Share = 0.0  # largest relative change
    rand_augment: Share = 0.0  # strength of two random changes out of many
    cutout: Share = 0.0  # side of a square that is greyed, of the photo's


class Data(_Settings):
    """How photos are stored and read. Sizes are squares, in pixels.

    Training sees crops of the stored photo, if ``augment`` says so; validation and
    inference see photos whole.
    """

    image_size: Annotated[int, Field(ge=32, le=2048)] = 224  # what the network sees
    stored_size: Annotated[int, Field(ge=32, le=2048)] = 256  # what a shard holds
    jpeg_quality: Annotated[int, Field(ge=50, le=100)] = 95
    shard_images: Count = 2048
    shuffle_images: Count = 4096  # of encoded photos, held in memory
    augment: Augment = Augment()

    @pydantic.model_validator(mode="after")
    def _crop_fits(self) -> "Data":
        if self.stored_size < self.image_size:
            raise ValueError(
                f"stored_size {self.stored_size} is below image_size {self.image_size}"
            )
        return self


class Model(_Settings):
    """The network."""

    # tiny: three convolutions, to try things out with. none: no network; the embedding is
    # VLAD alone
    backbone: Literal["resnet50", "efficientnet_lite0", "tiny", "none"] = "resnet50"
    # A file of weights in the layout of keras-applications or keras-cv, or "imagenet":
    # those that a Python package has (efficientnet_lite0 only). None: random.
    weights: Text | None = None
    # What the backbone reads. unit: 0..1. centred: (x - 127) / 128. caffe: 0..255 less
    # ImageNet's means, as the weights of keras-applications' ResNet-50 expect.
    pixels: Literal["unit", "centred", "caffe"] = "unit"
    batch_norm_momentum: Annotated[float, Field(gt=0, lt=1)] = 0.99
    zero_residual: bool = False  # residual branches begin as nothing
    pooling: Literal["average", "gem", "flatten"] = "average"
    gem_p: Annotated[float, Field(ge=1)] = 3.0  # 1 is the mean, much is the maximum
    gem_trainable: bool = False
    embedding: Count | None = None  # width of a dense layer with BN; None: no layer
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    head: Literal["dense", "cosine", "arcface"] = "dense"
    # of the cosine and arcface heads' logits; None: AdaCos, by the number of classes
    scale: Annotated[float, Field(gt=0)] | None = 12.0
    sub_centres: Count = 1  # directions per class, of which the nearest counts
    # cosine and arcface: so many classes, those of a batch and random others, stand for all
    # in a training step (Partial FC); for tens of thousands of landmarks. None: all
    sampled_classes: Count | None = None
    # arcface: radians for the largest class and for the smallest
    margin: tuple[Margin, Margin] = (0.05, 0.5)


class Stage(_Settings):
    """Some epochs at an image size of their own."""

    epochs: Count
    image_size: Annotated[int, Field(ge=32, le=2048)]


class Train(_Settings):
    """How the network is trained."""

    epochs: Annotated[int, Field(ge=0)] = 30  # 0: the weights stay as they are
    stages: tuple[Stage, ...] = ()  # the first epochs, at other sizes than the rest
    frozen_epochs: Annotated[int, Field(ge=0)] = (
        0  # at first the backbone stays as it is
    )
    frozen_learning_rate: Annotated[float, Field(gt=0)] | None = None  # None: the same
    # of the trained weights in the backbone that is kept; the rest is of model.weights
    trained_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    batch_size: Count = 32  # on all devices together
    per_device: bool = False  # batch_size and the learning rates are of one of them
    accumulate: Count = 1  # batches whose mean gradient makes one step
    mixed_precision: bool = False  # float16 where it is safe; for GPUs
    balance: Literal["none", "sampling", "loss"] = "none"  # what evens out the classes
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    optimizer: Literal["adam", "adamw"] = "adam"
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3  # at its highest
    weight_decay: Annotated[float, Field(ge=0)] = 0.0  # adamw only
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_epochs: Annotated[float, Field(ge=0)] = 0.0
    clip_norm: Annotated[float, Field(gt=0)] | None = None  # of all gradients together
    monitor: Literal["val_loss", "val_accuracy"] = "val_loss"
    patience: Count | None = None  # epochs without a better monitor before stopping
    checkpoint_minutes: Annotated[float, Field(gt=0)] = 10.0  # within an epoch


class Local(_Settings):
    """Local features of a photo: SIFT points with RootSIFT descriptors."""

    long_side: Annotated[int, Field(ge=64, le=4096)] = 512  # pixels; larger is shrunk
    n_features: Count = 800  # strongest first


class Vlad(_Settings):
    """An embedding without a network: local features gathered by visual words."""

    words: Count = 64


class Verification(_Settings):
    """Geometry of the nearest photos: how many local features agree on it, weighed."""

    candidates: Count = 60  # nearest photos that are checked
    # similarity: upright, by votes of all matches. homography: by MAGSAC
    geometry: Literal["similarity", "homography"] = "similarity"
    ratio: Annotated[float, Field(gt=0, le=1)] = 0.95  # of best to second distance
    error_px: Annotated[float, Field(gt=0)] = 30.0  # how far an inlier may be off
    full_inliers: Annotated[float, Field(gt=0)] = 3.0  # that count as certain, weighed
    weight: Annotated[float, Field(ge=0)] = 1.0  # of the inliers, beside the cosine


class Recognition(_Settings):
    """How a photo gets its guess; the formula is in ``retrieval.ranking``."""

    # head: the most probable class. gallery: nearest photos, class by class.
    ranking: Literal["gallery", "head"] = "gallery"
    flip: bool = True  # average with the mirrored photo
    # sizes at which a whole photo is seen, of image_size; their embeddings are averaged
    scales: Annotated[tuple[Scale, ...], Field(min_length=1)] = (1.0,)
    weights: tuple[Weight, ...] = ()  # of several embedders, in order; (): alike
    whiten: Count | None = None  # axes kept by a whitening fitted on the gallery
    # pca: what spreads photos is evened out. within: what spreads those of one landmark
    whitening: Literal["pca", "within"] = "pca"
    candidates: Count = 50  # nearest photos looked at before penalties
    neighbours: Count = 3  # whose scores are summed landmark by landmark
    per_landmark: Count | None = None  # of these at most so many for a landmark
    exponent: Annotated[float, Field(ge=1)] = 1.0  # a: many neighbours or the best one
    gallery_penalty: Count = 5  # nearest non-landmarks averaged for a gallery photo
    gallery_penalty_weight: Weight = 1.0  # beta
    query_penalty: Count = 10  # nearest non-landmarks averaged for a query
    query_penalty_weight: Weight = 1.0  # gamma
    head_exponent: Weight = 0.0  # b: how much the head's probability counts
    verification: Verification | None = None
    # a landmark that has more than this share of all guesses is ranked below the others;
    # None: a photo has the same guess alone as among others
    demote_share: Share | None = None
    # networks compute in 8-bit integers: faster on a CPU, and never on a GPU. A bundle's
    # gallery and its ranking are of the same integers
    int8: bool = False
    mixed_precision: bool = False  # float16 where it is safe; for GPUs
    tune: bool = False  # choose the weights and numbers above by GAP on validation
    batch_size: Count = 64
    # photos of train.csv that the bundle does not know are embedded in the kernel,
    # if there are at most so many; the private rerun has at most 100,000
    new_gallery_limit: Annotated[int, Field(ge=0)] = 100_000

    @property
    def main_scale(self) -> float:
        """The scale of the one view that is left where time is short: nearest to 1."""
        return min(self.scales, key=lambda scale: abs(math.log(scale)))

    @property
    def pixels(self) -> dict[str, float]:
        """Of what a photo is seen at, by function of the SavedModel, a photo being 1."""
        squares = [scale**2 for scale in self.scales]
        every = sum(squares) * (2 if self.flip else 1)
        return {"serve": every, "one": self.main_scale**2, "small": min(squares)}


class Config(_Settings):
    """One experiment."""

    name: Text
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    subset: Subset = Subset()
    data: Data = Data()
    model: Model = Model()
    train: Train = Train()
    local: Local = Local()
    vlad: Vlad | None = None  # beside the network's embedding, or alone
    recognition: Recognition = Recognition()

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> "Config":
        if self.model.backbone == "none":
            if self.vlad is None:
                raise ValueError("without a network (model.backbone) vlad is needed")
            if self.train.epochs:
                raise ValueError("without a network train.epochs must be 0")
        if self.model.weights == "imagenet" and self.model.backbone in (
            "resnet50",
            "tiny",
        ):
            raise ValueError(
                "model.weights: imagenet is there for efficientnet_lite0 only; for "
                "resnet50 give the path of a file"
            )
        recognition = self.recognition
        if not self.train.epochs and (
            recognition.ranking == "head" or recognition.head_exponent
        ):
            raise ValueError(
                "recognition.ranking: head and recognition.head_exponent need a trained "
                "head, and train.epochs is 0"
            )
        sampled = self.model.sampled_classes
        if sampled is not None:
            if self.model.head == "dense":
                raise ValueError("model.sampled_classes needs a cosine or arcface head")
            if self.train.accumulate > 1:
                raise ValueError("model.sampled_classes needs train.accumulate: 1")
            if sampled < self.train.batch_size:
                raise ValueError(
                    f"model.sampled_classes {sampled} is below train.batch_size "
                    f"{self.train.batch_size}: the classes of a batch are always among them"
                )
        if self.train.trained_share < 1 and self.model.weights is None:
            raise ValueError("train.trained_share below 1 needs model.weights")
        if self.train.frozen_epochs > self.train.epochs:
            raise ValueError("train.frozen_epochs is more than train.epochs")
        if self.model.pooling == "flatten" and (
            self.train.stages or recognition.scales != (1.0,)
        ):
            raise ValueError(
                "model.pooling: flatten knows one size only, without train.stages and "
                "recognition.scales"
            )
        return self


def load(path: Path) -> Config:
    """Read a YAML config and those it extends.

    A name that is no file, such as ``configs/r50_64.yaml`` outside a checkout, is looked
    up among the configs that came with the kit.

    Raises:
        ConfigError: no such file, not YAML, an unknown setting, a value out of range.
    """
    path = Path(path)
    if not path.exists() and (shipped("configs") / path.name).exists():
        path = shipped("configs") / path.name
    try:
        return _resolve(_read_yaml(path, ()), str(path))
    except RecursionError:
        raise ConfigError(
            f"{path}: expected sections of settings, got one within itself"
        ) from None


def override(config: Config, settings: Mapping[str, Any]) -> Config:
    """A config with single settings replaced, by dotted name (``train.epochs``)."""
    values = config.model_dump()
    for name, value in settings.items():
        *sections, key = name.split(".")
        place: Any = values
        for section in sections:
            place = place.get(section) if isinstance(place, dict) else None
        if not isinstance(place, dict) or key not in place:
            raise ConfigError(_no_setting(name))
        place[key] = value
    return _resolve(values, "--set")


def parse_setting(text: str) -> tuple[str, Any]:
    """Split ``train.epochs=3`` into its name and its value, read as YAML.

    Raises:
        ConfigError: there is no ``=``, or the value is not YAML.
    """
    import yaml  # not in the kernel, which reads config.json

    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"--set: expected SETTING=VALUE, got {text!r}")
    try:
        return name.strip(), _parsed(value)
    except yaml.YAMLError:
        raise ConfigError(f"--set: expected a value after '=', got {text!r}") from None


def read_json(path: Path) -> Config:
    """Read the ``config.json`` of a run or bundle."""
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: expected a run's config, got {error}") from None
    return _resolve(values, str(path))


def write_json(config: Config, path: Path) -> None:
    """Write a config whole or not at all."""
    with written(path) as part:
        part.write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")


def _read_yaml(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    import yaml  # not in the kernel, which reads config.json

    try:
        if path.resolve() in seen:
            raise ConfigError(f"{path}: expected an end to 'extends', got a circle")
        if path.exists() and not path.is_file():  # /dev/zero has no end
            raise ConfigError(f"{path}: expected YAML settings, got no plain file")
        values = _parsed(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        names = sorted(p.name for p in shipped("configs").glob("*.yaml"))
        raise ConfigError(
            f"{path}: expected a config, found no file; the kit has {', '.join(names)}"
        ) from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"{path}: expected YAML settings, got {reason}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected YAML settings, got {_shown(values)}")
    parent = values.pop("extends", None)
    if parent is None:
        return values
    if not isinstance(parent, str) or len(parent) > 255:
        raise ConfigError(
            f"{path}: extends: expected the name of another config, got "
            f"{_shown(parent)}"
        )
    return _merged(_read_yaml(path.parent / parent, (*seen, path.resolve())), values)


def _shown(value: Any) -> str:
    """A value as a complaint quotes it, however large it is."""
    return reprlib.repr(value)[:100]


def _parsed(text: str) -> Any:
    """A value in YAML, of its plain types alone.

    Raises:
        YAMLError: it is not YAML, or a key comes twice.
    """
    import yaml  # not in the kernel, which reads config.json

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            names = [key.value for key, _ in node.value]
            again = [name for name in names if names.count(name) > 1]
            if again:
                mark = node.start_mark
                raise yaml.MarkedYAMLError(
                    problem=f"{_shown(again[0])} twice", problem_mark=mark
                )
            return super().construct_mapping(node, deep)

    try:
        return yaml.load(text, Loader)
    except (
        ValueError,
        LookupError,
        AttributeError,
        TypeError,
        RecursionError,
    ) as error:
        # PyYAML lets these through: of the date 2021-13-45, of !!bool x, of 5,000 digits
        raise yaml.YAMLError(f"no value of YAML's: {error!r:.100}") from error


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            value = _merged(old, value)
        merged[key] = value
    return merged


def _resolve(values: dict[str, Any], where: str) -> Config:
    try:
        return Config.model_validate(values)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))[:100]
        if first["type"] == "extra_forbidden":
            raise ConfigError(f"{where}: {_no_setting(name)}") from None
        if first["type"] == "missing":
            raise ConfigError(f"{where}: expected the setting '{name}'") from None
        reason = first["msg"].removeprefix("Value error, ")
        reason = reason[0].lower() + reason[1:]
        if not name:  # settings that do not go together
            raise ConfigError(f"{where}: {reason}") from None
        raise ConfigError(
            f"{where}: {name}: {reason}, got {_shown(first['input'])}"
        ) from None


def _no_setting(name: str) -> str:
    """The message for an unknown dotted name, with the nearest known one."""
    *sections, key = name.split(".")
    known: Any = Config
    for section in sections:
        field = getattr(known, "model_fields", {}).get(section)
        if field is None:
            key = section
            break
        known = _section(field.annotation)
    names = list(getattr(known, "model_fields", {}))
    if key in names:  # below a section that is not there by default
        section = ".".join(sections)
        return f"no setting '{name}' yet: set {section}={{{key}: ...}}"
    if not names:
        return f"no setting '{name}': '{section}' has none below it"
    close = difflib.get_close_matches(key, names, n=1, cutoff=0.5)
    hint = f"did you mean '{close[0]}'" if close else f"known are {', '.join(names)}"
    return f"no setting '{name}': {hint}?" if close else f"no setting '{name}'; {hint}"


def _section(annotation: Any) -> Any:
    """The settings below a setting, also where it may be None."""
    return next(
        (a for a in get_args(annotation) if hasattr(a, "model_fields")), annotation
    )


def image_size(epoch: int, settings: Config) -> int:
    """The side of the photos in an epoch, counted from 0."""
    for stage in settings.train.stages:
        if epoch < stage.epochs:
            return stage.image_size
        epoch -= stage.epochs
    return settings.data.image_size


def input_size(settings: Config) -> int | None:
    """The one side of all photos that the network sees; None where there are several."""
    several = settings.train.stages or settings.recognition.scales != (1.0,)
    return None if several else settings.data.image_size
