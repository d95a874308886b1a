"""Settings of the images: which ones are used, and how they are stored and read."""

from typing import Annotated, Literal

import pydantic
from pydantic import Field

from kaggle_kit.config.base import LARGEST, Count, Settings, Share, Side, Text

Amount = Annotated[
    float, Field(ge=0, le=LARGEST)
]  # a share up to 1, or a number from 2
Rest = Annotated[float, Field(ge=0, lt=1)]  # a share below the whole


class Pools(Settings):
    """Pools of images that show no landmark: for penalties, for tuning and for a test.

    The size of a pool is a share of the source's images, up to 1, or a count, from 2 on.
    Images that no pool takes are not used.
    """

    source: Annotated[
        Literal["none", "listed", "gldv2_test", "unlisted"],
        Field(
            description="where the images come from. none: there are no pools, so "
            "penalties are off; listed: from --non-landmarks and non_landmarks.csv of the "
            "competition folder; gldv2_test: those of the public test set whose landmarks "
            "are empty in its solution (download --part test); unlisted: those of train/ "
            "that train.csv does not list, which nobody vouches for"
        ),
    ] = "none"
    penalty: Annotated[
        Amount,
        Field(
            description="size of the penalty pool, which goes into the bundle: an image "
            "similar to the pool gets a lower confidence (see recognition.query_penalty)"
        ),
    ] = 0.6
    validation: Annotated[
        Amount, Field(description="images that are added to the validation split")
    ] = 0.2
    test: Annotated[
        Amount,
        Field(
            description="images that are added to the test split, never used for tuning"
        ),
    ] = 0.2

    def sizes(self) -> dict[str, float]:
        """The size of each pool that is asked for; none without a source."""
        if self.source == "none":
            return {}
        sizes = {
            "penalty": self.penalty,
            "validation": self.validation,
            "test": self.test,
        }
        return {name: size for name, size in sizes.items() if size}

    @pydantic.model_validator(mode="after")
    def _check_sizes(self) -> "Pools":
        sizes = (self.penalty, self.validation, self.test)
        if any(size > 1 and size != int(size) for size in sizes):
            raise ValueError("expected a share up to 1, or a whole number of images")
        if sum(size for size in sizes if size <= 1) > 1 + 1e-9:
            raise ValueError("expected shares that add up to at most 1")
        return self


class Subset(Settings):
    """The landmarks and images to use, and their split into train, validation and test."""

    landmarks: Annotated[
        Annotated[tuple[int, ...], Field(min_length=1)] | None,
        Field(description="ids of the landmarks; null: chosen by the next settings"),
    ] = None
    n_landmarks: Annotated[
        Count | None,
        Field(
            description="number of landmarks, of those with at least min_images images; "
            "null: all of those"
        ),
    ] = None
    choice: Annotated[
        Literal["most_images", "random"],
        Field(
            description="how n_landmarks are chosen. most_images: those with most images; "
            "random: drawn with seed"
        ),
    ] = "most_images"
    min_images: Annotated[
        Count, Field(description="smallest number of images of a landmark")
    ] = 1
    max_images: Annotated[
        Count | None,
        Field(
            description="largest number of images of a landmark, drawn at random; null: "
            "all images"
        ),
    ] = None
    validation_share: Annotated[
        Rest,
        Field(description="share of each landmark's images for validation and tuning"),
    ] = 0.15
    test_share: Annotated[
        Rest,
        Field(description="share of each landmark's images for test, never for tuning"),
    ] = 0.0
    unknown_landmarks: Annotated[
        int,
        Field(
            ge=0,
            description="number of landmarks without training images, for the open-set "
            "protocol: half of their images go to validation and half to test, where "
            "they cannot be named",
        ),
    ] = 0
    group_column: Annotated[
        Text | None,
        Field(
            description="column of train.csv whose value near-duplicates share; null: they "
            "are found by their content (near_duplicates)"
        ),
    ] = None
    near_duplicates: Annotated[
        Literal["together", "ignored"],
        Field(
            description="near-duplicates of an image. together: in the same split, and not "
            "in a pool of non-landmarks; ignored: anywhere, and images are not read"
        ),
    ] = "together"
    non_landmarks: Pools = Pools()

    @pydantic.model_validator(mode="after")
    def _check_shares(self) -> "Subset":
        if self.validation_share + self.test_share >= 1:
            raise ValueError(
                "expected validation_share and test_share to add up to less than 1"
            )
        return self


class Augment(Settings):
    """Augmentation: random changes of a training image.

    ``rand_augment`` and ``cutout`` are those of keras-cv.
    """

    flip: Annotated[
        bool, Field(description="flip an image left to right with probability 1/2")
    ] = False
    crop: Annotated[
        Rest,
        Field(
            description="random crop: the largest part of a side that is cut off; the crop "
            "is resized to image_size. 0: the whole image"
        ),
    ] = 0.0
    brightness: Annotated[
        Share,
        Field(
            description="largest random change of brightness, as a share of the full range"
        ),
    ] = 0.0
    contrast: Annotated[
        Share, Field(description="largest relative random change of contrast")
    ] = 0.0
    saturation: Annotated[
        Share, Field(description="largest relative random change of saturation")
    ] = 0.0
    rand_augment: Annotated[
        Share,
        Field(
            description="RandAugment of keras-cv: magnitude of two random changes; 0: none"
        ),
    ] = 0.0
    cutout: Annotated[
        Share,
        Field(
            description="cutout of keras-cv: side of a random grey square, as a share of "
            "the image's side; 0: none"
        ),
    ] = 0.0


class Data(Settings):
    """How images are stored and read. All images are squares, with sides in pixels.

    Training uses random crops of the stored image if ``augment`` says so; validation and
    inference use whole images.
    """

    image_size: Annotated[
        Side, Field(description="side of the images at the network's input, in pixels")
    ] = 224
    stored_size: Annotated[
        Side,
        Field(
            description="side of the images in the shards, in pixels; at least image_size"
        ),
    ] = 256
    jpeg_quality: Annotated[
        int,
        Field(ge=50, le=100, description="JPEG quality of the images in the shards"),
    ] = 95
    shard_images: Annotated[Count, Field(description="number of images in a shard")] = (
        2048
    )
    shuffle_images: Annotated[
        Count,
        Field(description="size of the shuffle buffer, in encoded images in memory"),
    ] = 4096
    augment: Augment = Augment()

    @pydantic.model_validator(mode="after")
    def _check_sizes(self) -> "Data":
        if self.stored_size < self.image_size:
            raise ValueError(
                f"expected stored_size to be at least image_size {self.image_size}"
            )
        return self
