"""The whole config, what of it must go together, and what follows from it."""

from typing import Annotated

import pydantic
from pydantic import Field

from kaggle_kit.config.base import Settings, Text
from kaggle_kit.config.network import Model, Train
from kaggle_kit.config.photos import Data, Subset
from kaggle_kit.config.recognition import Local, Recognition, Vlad


class Config(Settings):
    """One experiment."""

    name: Annotated[Text, Field(description="what the experiment is called")]
    seed: Annotated[
        int, Field(ge=0, lt=2**31, description="what all random choices follow from")
    ] = 0
    subset: Subset = Subset()
    data: Data = Data()
    model: Model = Model()
    train: Train = Train()
    local: Local = Local()
    vlad: Annotated[
        Vlad | None,
        Field(description="an embedding beside the network's, or alone; null: none"),
    ] = None
    recognition: Recognition = Recognition()

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> "Config":
        if self.model.backbone == "none":
            if self.vlad is None:
                raise ValueError("without a network (model.backbone) vlad is needed")
            if self.train.epochs:
                raise ValueError("without a network train.epochs must be 0")
        without_package = self.model.backbone in ("resnet50", "tiny")
        if self.model.weights == "imagenet" and without_package:
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
