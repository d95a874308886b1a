"""Settings of the photos: which take part, and how they are stored and read."""

from typing import Annotated, Literal

import pydantic
from pydantic import Field

from kaggle_kit.config.base import Count, Settings, Share, Side, Text

Rest = Annotated[float, Field(ge=0, lt=1)]  # a share that leaves something


class Pools(Settings):
    """How photos without a landmark are divided; what is left over is not used.

    Such photos are those below ``train/`` that ``train.csv`` does not list.
    """

    penalty: Annotated[
        Share, Field(description="share that is ranked against in the kernel")
    ] = 0.6
    validation: Annotated[
        Share, Field(description="share that joins the validation landmarks")
    ] = 0.2
    test: Annotated[
        Share, Field(description="share that joins the test split, to tune nothing on")
    ] = 0.2

    @pydantic.model_validator(mode="after")
    def _fit_into_all(self) -> "Pools":
        if self.penalty + self.validation + self.test > 1 + 1e-9:
            raise ValueError("the shares add up to more than 1")
        return self


class Subset(Settings):
    """Which landmarks and photos take part, and how they are split."""

    landmarks: Annotated[
        Annotated[tuple[int, ...], Field(min_length=1)] | None,
        Field(description="the ids of the landmarks; null: n_landmarks, or all"),
    ] = None
    n_landmarks: Annotated[
        Count | None,
        Field(description="how many of the landmarks with min_images; null: all"),
    ] = None
    choice: Annotated[
        Literal["most_images", "random"],
        Field(description="which n_landmarks: those of most photos, or drawn by seed"),
    ] = "most_images"
    min_images: Annotated[
        Count, Field(description="the photos that a landmark has at least")
    ] = 1
    max_images: Annotated[
        Count | None,
        Field(description="how many photos of a landmark are drawn at most; null: all"),
    ] = None
    validation_share: Annotated[
        Rest, Field(description="share of each landmark's photos, for tuning")
    ] = 0.15
    test_share: Annotated[
        Rest,
        Field(description="share of each landmark's photos, to tune nothing on"),
    ] = 0.0
    unknown_landmarks: Annotated[
        int,
        Field(
            ge=0,
            description="how many landmarks are kept out of train; their photos, half "
            "to validation and half to test, are queries whose landmark cannot be named",
        ),
    ] = 0
    group_column: Annotated[
        Text | None,
        Field(
            description="the column of train.csv that near-duplicates share; they are "
            "kept in one split. null: each photo is alone"
        ),
    ] = None
    non_landmarks: Pools = Pools()

    @pydantic.model_validator(mode="after")
    def _leaves_some_to_train(self) -> "Subset":
        if self.validation_share + self.test_share >= 1:
            raise ValueError("validation_share and test_share leave nothing to train")
        return self


class Augment(Settings):
    """Random changes of a training photo.

    ``rand_augment`` and ``cutout`` are keras-cv's.
    """

    flip: Annotated[bool, Field(description="mirror a photo, or not, at random")] = (
        False
    )
    crop: Annotated[
        Rest,
        Field(
            description="the most that a random crop leaves out, as a share of a side; "
            "what is left is resized"
        ),
    ] = 0.0
    brightness: Annotated[
        Share, Field(description="largest change, as a share of the full range")
    ] = 0.0
    contrast: Annotated[Share, Field(description="largest relative change")] = 0.0
    saturation: Annotated[Share, Field(description="largest relative change")] = 0.0
    rand_augment: Annotated[
        Share,
        Field(description="strength of two random changes out of many (keras-cv)"),
    ] = 0.0
    cutout: Annotated[
        Share,
        Field(
            description="side of a square that is greyed, as a share of the photo's "
            "(keras-cv)"
        ),
    ] = 0.0


class Data(Settings):
    """How photos are stored and read. Sizes are squares, in pixels.

    Training sees crops of the stored photo, if ``augment`` says so; validation and
    inference see photos whole.
    """

    image_size: Annotated[
        Side, Field(description="side of the photos that the network sees, in pixels")
    ] = 224
    stored_size: Annotated[
        Side,
        Field(
            description="side of the photos in a shard, in pixels; at least image_size"
        ),
    ] = 256
    jpeg_quality: Annotated[
        int, Field(ge=50, le=100, description="quality of the stored photos")
    ] = 95
    shard_images: Annotated[Count, Field(description="photos in a shard")] = 2048
    shuffle_images: Annotated[
        Count, Field(description="encoded photos held in memory to be shuffled")
    ] = 4096
    augment: Augment = Augment()

    @pydantic.model_validator(mode="after")
    def _crop_fits(self) -> "Data":
        if self.stored_size < self.image_size:
            raise ValueError(
                f"stored_size {self.stored_size} is below image_size {self.image_size}"
            )
        return self
