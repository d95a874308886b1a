"""Settings of recognition: local features, verification, and the ranking of guesses."""

import math
from typing import Annotated, Literal

import pydantic
from pydantic import Field

from kaggle_kit.config.base import (
    Count,
    Exponent,
    Positive,
    Settings,
    Share,
    Weight,
)

Scale = Annotated[float, Field(ge=0.01, le=2)]
# Of an embedder, unless it is 0: float32 holds the product of its root and a vector.
LEAST_WEIGHT = 1e-6


class Local(Settings):
    """Local features: SIFT keypoints with RootSIFT descriptors."""

    long_side: Annotated[
        int,
        Field(
            ge=64,
            le=4096,
            description="longest side of an image in pixels; a larger image is downscaled",
        ),
    ] = 512
    n_features: Annotated[
        Count,
        Field(
            description="largest number of keypoints of an image; the strongest count"
        ),
    ] = 800


class Vlad(Settings):
    """An embedding of local features (VLAD), which needs no network."""

    words: Annotated[
        Count, Field(description="number of visual words in the vocabulary")
    ] = 64


class Verification(Settings):
    """Geometric verification: local features of the query and of its nearest images.

    Their weighted number of inliers is added to the cosine.
    """

    candidates: Annotated[
        Count, Field(description="number of nearest gallery images to verify")
    ] = 60
    geometry: Annotated[
        Literal["similarity", "homography"],
        Field(
            description="model that inliers agree on. similarity: shift and scale without "
            "rotation, by votes of all matches; homography: estimated by MAGSAC++"
        ),
    ] = "similarity"
    ratio: Annotated[
        float,
        Field(
            gt=0,
            le=1,
            description="Lowe's ratio test: largest distance of a match, as a share of the "
            "distance to the second nearest descriptor",
        ),
    ] = 0.95
    error_px: Annotated[
        Positive, Field(description="largest error of an inlier in pixels")
    ] = 30.0
    full_inliers: Annotated[
        Positive,
        Field(
            description="M: weighted number of inliers that gives the full weight; by "
            "chance it is about 0.7, and 3 is certain"
        ),
    ] = 3.0
    weight: Annotated[
        Weight,
        Field(description="v: what full_inliers or more inliers add to the cosine"),
    ] = 1.0


class Recognition(Settings):
    """How the guess for an image is made; ``retrieval.ranking`` has the formula."""

    ranking: Annotated[
        Literal["gallery", "head"],
        Field(
            description="gallery: the landmark with the highest score over the nearest "
            "gallery images; head: the most probable class of the trained head"
        ),
    ] = "gallery"
    flip: Annotated[
        bool,
        Field(description="average the embedding with that of the mirrored image"),
    ] = True
    scales: Annotated[
        tuple[Scale, ...],
        Field(
            min_length=1,
            description="sizes at which an image is embedded, as multiples of "
            "data.image_size; the embeddings are averaged",
        ),
    ] = (1.0,)
    weights: Annotated[
        tuple[Weight, ...],
        Field(
            description="weights of the embedders of an ensemble, in order; []: equal "
            "weights"
        ),
    ] = ()
    whiten: Annotated[
        Count | None,
        Field(
            description="dimensions of the embedding after whitening, which is fitted to "
            "the gallery; null: no whitening"
        ),
    ] = None
    whitening: Annotated[
        Literal["pca", "within"],
        Field(
            description="covariance that becomes the identity. pca: that of all images; "
            "within: that of images of the same landmark"
        ),
    ] = "pca"
    candidates: Annotated[
        Count, Field(description="number of nearest gallery images to rank (shortlist)")
    ] = 50
    neighbours: Annotated[
        Count,
        Field(
            description="number of candidates, those with the highest scores after "
            "penalties, whose scores are added up for each landmark"
        ),
    ] = 3
    per_landmark: Annotated[
        Count | None,
        Field(
            description="largest number of neighbours that count for the same landmark; "
            "null: all"
        ),
    ] = None
    exponent: Annotated[
        Exponent,
        Field(
            description="a: how the scores of a landmark are added up: 1 is the sum, a "
            "large value approaches the maximum",
        ),
    ] = 1.0
    gallery_penalty: Annotated[
        Count,
        Field(
            description="number of nearest images of the penalty pool whose mean cosine is "
            "the penalty B of a gallery image"
        ),
    ] = 5
    gallery_penalty_weight: Annotated[
        Weight,
        Field(description="beta: factor of B, subtracted from a gallery image's score"),
    ] = 1.0
    query_penalty: Annotated[
        Count,
        Field(
            description="number of nearest images of the penalty pool whose mean cosine is "
            "the penalty C of a query"
        ),
    ] = 10
    query_penalty_weight: Annotated[
        Weight, Field(description="gamma: factor of C, subtracted from the confidence")
    ] = 1.0
    head_exponent: Annotated[
        Weight,
        Field(
            description="b: exponent of the head's probability, by which a landmark's "
            "score is multiplied; 0: the head is not used"
        ),
    ] = 0.0
    verification: Verification | None = None
    demote_share: Annotated[
        Share | None,
        Field(
            description="guesses of a landmark that has more than this share of all "
            "guesses are ranked below all others; null: no guess depends on the other "
            "images"
        ),
    ] = None
    int8: Annotated[
        bool,
        Field(
            description="quantize the networks to 8-bit integers: faster on a CPU, not for "
            "GPUs; the bundle's gallery and its tuning use the quantized networks too"
        ),
    ] = False
    mixed_precision: Annotated[
        bool, Field(description="compute in float16 where that is safe; for GPUs")
    ] = False
    tune: Annotated[
        bool,
        Field(
            description="tune neighbours, per_landmark, the exponents, and the weights of "
            "penalties, verification and embedders, by GAP on the validation images; a "
            "change is kept only if it gains, and loses at none of the shares 1.1%, 10% "
            "and 30% of landmark images"
        ),
    ] = False
    tune_share: Annotated[
        float | None,
        Field(
            gt=0,
            lt=1,
            description="share of landmark images at which the GAP of tuning is computed: "
            "that expected on Kaggle (1.1% in 2019, unknown for 2021; 20% was the guess of "
            "2020's second place); null: that of the validation images",
        ),
    ] = None
    batch_size: Annotated[
        Count, Field(description="images in a batch of embeddings")
    ] = 64
    new_gallery_limit: Annotated[
        int,
        Field(
            ge=0,
            description="images of train.csv that are not in the bundle are embedded in "
            "the kernel and added to the gallery, unless there are more than this number; "
            "the private rerun has at most 100,000",
        ),
    ] = 100_000

    @pydantic.field_validator("weights")
    @classmethod
    def _check_weights(cls, weights: tuple[float, ...]) -> tuple[float, ...]:
        if weights and not any(weights):
            raise ValueError("expected at least one weight above 0")
        if any(0 < weight < LEAST_WEIGHT for weight in weights):
            raise ValueError(f"expected weights of 0 or from {LEAST_WEIGHT:g}")
        return weights

    @property
    def main_scale(self) -> float:
        """The scale nearest to 1, for the only view if time is short."""
        return min(self.scales, key=lambda scale: abs(math.log(scale)))

    @property
    def pixels(self) -> dict[str, float]:
        """Pixels that each function of the SavedModel processes for an image.

        The unit is the number of pixels of an image of ``data.image_size``.
        """
        squares = [scale**2 for scale in self.scales]
        every = sum(squares) * (2 if self.flip else 1)
        return {"serve": every, "one": self.main_scale**2, "small": min(squares)}
