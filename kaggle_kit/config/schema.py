"""The config with all sections, and the rules between settings of several sections."""

from typing import Annotated

import pydantic
from pydantic import Field

from kaggle_kit.config.base import Settings, Text
from kaggle_kit.config.images import Data, Subset
from kaggle_kit.config.network import Model, Train
from kaggle_kit.config.recognition import Local, Recognition, Vlad


class Config(Settings):
    """The settings of one experiment."""

    name: Annotated[Text, Field(description="name of the experiment")]
    seed: Annotated[
        int, Field(ge=0, lt=2**31, description="random seed of all stages")
    ] = 0
    subset: Subset = Subset()
    data: Data = Data()
    model: Model = Model()
    train: Train = Train()
    local: Local = Local()
    vlad: Annotated[
        Vlad | None,
        Field(
            description="VLAD embedding, joined to that of the network or alone; null: none"
        ),
    ] = None
    recognition: Recognition = Recognition()

    @pydantic.model_validator(mode="after")
    def _check_sections(self) -> "Config":
        if self.model.backbone == "none":
            if self.vlad is None:
                raise ValueError(
                    "vlad: expected a section with model.backbone: none, got null"
                )
            if self.train.epochs:
                raise ValueError(
                    f"train.epochs: expected 0 with model.backbone: none, got "
                    f"{self.train.epochs}"
                )
        without_package = self.model.backbone not in ("efficientnet_lite0", "none")
        if self.model.weights == "imagenet" and without_package:
            raise ValueError(
                f"model.weights: expected the path of a file or null with model.backbone: "
                f"{self.model.backbone}, got imagenet, which works with efficientnet_lite0 "
                f"only"
            )
        recognition = self.recognition
        if not self.train.epochs and (
            recognition.ranking == "head" or recognition.head_exponent
        ):
            raise ValueError(
                "train.epochs: expected at least 1 with recognition.ranking: head or "
                "recognition.head_exponent, which use a trained head, got 0"
            )
        tunes = recognition.tune and recognition.ranking != "head"
        weighed = "validation" in self.subset.non_landmarks.sizes()
        weighed |= bool(self.subset.unknown_landmarks)
        if recognition.tune_share and tunes and not weighed:
            raise ValueError(
                "recognition.tune_share: expected null without validation images of no "
                "landmark, which it weighs, got a share; set subset.non_landmarks.source, "
                "or recognition.tune_share=null"
            )
        sampled = self.model.sampled_classes
        if sampled is not None:
            if self.model.head == "dense":
                raise ValueError(
                    "model.head: expected cosine or arcface with model.sampled_classes, "
                    "got dense"
                )
            if self.train.accumulate > 1:
                raise ValueError(
                    f"train.accumulate: expected 1 with model.sampled_classes, got "
                    f"{self.train.accumulate}"
                )
            if sampled < self.train.batch_size:
                raise ValueError(
                    f"model.sampled_classes: expected at least train.batch_size "
                    f"{self.train.batch_size}, since the classes of a batch are always "
                    f"sampled, got {sampled}"
                )
        if self.train.trained_share < 1 and self.model.weights is None:
            raise ValueError(
                "model.weights: expected weights with train.trained_share below 1, got null"
            )
        if self.train.frozen_epochs > self.train.epochs:
            raise ValueError(
                f"train.frozen_epochs: expected at most train.epochs {self.train.epochs}, "
                f"got {self.train.frozen_epochs}"
            )
        if self.model.pooling == "flatten" and (
            self.train.stages or recognition.scales != (1.0,)
        ):
            raise ValueError(
                "model.pooling: expected average or gem with train.stages or several "
                "recognition.scales, got flatten, which works with one image size only"
            )
        return self


def image_size(epoch: int, settings: Config) -> int:
    """The image size of an epoch, in pixels; epochs are counted from 0."""
    for stage in settings.train.stages:
        if epoch < stage.epochs:
            return stage.image_size
        epoch -= stage.epochs
    return settings.data.image_size


def input_size(settings: Config) -> int | None:
    """The image size of the network's input in pixels; None if there are several sizes."""
    several = settings.train.stages or settings.recognition.scales != (1.0,)
    return None if several else settings.data.image_size
