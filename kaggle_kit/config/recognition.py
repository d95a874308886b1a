"""Settings of recognition: local features, their geometry, and how guesses are ranked."""

import math
from typing import Annotated, Literal

from pydantic import Field

from kaggle_kit.config.base import Count, Settings, Share, Weight

Positive = Annotated[float, Field(gt=0)]
Scale = Annotated[float, Field(gt=0, le=2)]


class Local(Settings):
    """Local features of a photo: SIFT points with RootSIFT descriptors."""

    long_side: Annotated[
        int,
        Field(
            ge=64,
            le=4096,
            description="pixels; a photo of a longer side is shrunk to it",
        ),
    ] = 512
    n_features: Annotated[
        Count, Field(description="points of a photo at most, strongest first")
    ] = 800


class Vlad(Settings):
    """An embedding without a network: local features gathered by visual words."""

    words: Annotated[Count, Field(description="how many visual words")] = 64


class Verification(Settings):
    """Geometry of the nearest photos: how many local features agree on it, weighed."""

    candidates: Annotated[
        Count, Field(description="how many of the nearest photos are checked")
    ] = 60
    geometry: Annotated[
        Literal["similarity", "homography"],
        Field(
            description="similarity: upright, by votes of all matches; homography: by "
            "MAGSAC"
        ),
    ] = "similarity"
    ratio: Annotated[
        float,
        Field(
            gt=0,
            le=1,
            description="largest distance of a match, as a share of that of the second "
            "nearest",
        ),
    ] = 0.95
    error_px: Annotated[
        Positive, Field(description="how far an inlier may be off, in pixels")
    ] = 30.0
    full_inliers: Annotated[
        Positive, Field(description="inliers, weighed, that count as certain")
    ] = 3.0
    weight: Annotated[
        Weight, Field(description="what full_inliers add to the cosine")
    ] = 1.0


class Recognition(Settings):
    """How a photo gets its guess; the formula is in ``retrieval.ranking``."""

    ranking: Annotated[
        Literal["gallery", "head"],
        Field(
            description="head: the most probable class; gallery: the nearest photos, "
            "class by class"
        ),
    ] = "gallery"
    flip: Annotated[bool, Field(description="average with the mirrored photo")] = True
    scales: Annotated[
        tuple[Scale, ...],
        Field(
            min_length=1,
            description="sizes at which a whole photo is seen, of image_size; their "
            "embeddings are averaged",
        ),
    ] = (1.0,)
    weights: Annotated[
        tuple[Weight, ...],
        Field(description="weights of several embedders, in order; []: alike"),
    ] = ()
    whiten: Annotated[
        Count | None,
        Field(
            description="axes kept by a whitening fitted on the gallery; null: no "
            "whitening"
        ),
    ] = None
    whitening: Annotated[
        Literal["pca", "within"],
        Field(
            description="pca: what spreads photos is evened out; within: what spreads "
            "those of one landmark"
        ),
    ] = "pca"
    candidates: Annotated[
        Count, Field(description="how many nearest photos are looked at")
    ] = 50
    neighbours: Annotated[
        Count,
        Field(
            description="how many of them, after penalties, have their scores summed "
            "landmark by landmark"
        ),
    ] = 3
    per_landmark: Annotated[
        Count | None,
        Field(
            description="of the neighbours at most so many for a landmark; null: all"
        ),
    ] = None
    exponent: Annotated[
        float,
        Field(ge=1, description="a: 1 sums neighbours, much leaves the best alone"),
    ] = 1.0
    gallery_penalty: Annotated[
        Count,
        Field(description="nearest non-landmarks averaged for a gallery photo (B)"),
    ] = 5
    gallery_penalty_weight: Annotated[
        Weight, Field(description="beta: how much of B a gallery photo loses")
    ] = 1.0
    query_penalty: Annotated[
        Count, Field(description="nearest non-landmarks averaged for a query (C)")
    ] = 10
    query_penalty_weight: Annotated[
        Weight, Field(description="gamma: how much of C a confidence loses")
    ] = 1.0
    head_exponent: Annotated[
        Weight, Field(description="b: how much the head's probability counts")
    ] = 0.0
    verification: Verification | None = None
    demote_share: Annotated[
        Share | None,
        Field(
            description="a landmark that has more than this share of all guesses is "
            "ranked below the others; null: a photo has the same guess alone as among "
            "others"
        ),
    ] = None
    int8: Annotated[
        bool,
        Field(
            description="networks compute in 8-bit integers: faster on a CPU, and never "
            "on a GPU; a bundle's gallery and its ranking are of the same integers"
        ),
    ] = False
    mixed_precision: Annotated[
        bool, Field(description="float16 where it is safe; for GPUs")
    ] = False
    tune: Annotated[
        bool,
        Field(
            description="choose neighbours, exponents and the weights of penalties, head "
            "and geometry by GAP on the validation photos"
        ),
    ] = False
    batch_size: Annotated[Count, Field(description="photos embedded at a time")] = 64
    new_gallery_limit: Annotated[
        int,
        Field(
            ge=0,
            description="photos of train.csv that the bundle does not know are embedded "
            "in the kernel, if there are at most so many; the private rerun has at most "
            "100,000",
        ),
    ] = 100_000

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
