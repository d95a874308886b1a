"""Settings of the network and of its training."""

from typing import Annotated, Literal

from pydantic import Field

from kaggle_kit.config.base import (
    Count,
    Exponent,
    Positive,
    Settings,
    Side,
    Text,
    Weight,
)

Margin = Annotated[float, Field(ge=0, lt=1.5)]  # radians
Whole = Annotated[int, Field(ge=0)]


class Model(Settings):
    """The network."""

    backbone: Annotated[
        Literal["resnet50", "efficientnet_lite0", "tiny", "none"],
        Field(
            description="network that computes the features. tiny: three convolutions, "
            "for tests; none: no network, the embedding is VLAD alone (see vlad)"
        ),
    ] = "resnet50"
    weights: Annotated[
        Text | None,
        Field(
            description="initial weights of the backbone: the path of a weights file of "
            "keras-applications or keras-cv, or imagenet: those of a Python package "
            "(efficientnet_lite0 only); null: random"
        ),
    ] = None
    pixels: Annotated[
        Literal["unit", "centred", "caffe"],
        Field(
            description="input of the backbone, from pixel values x in 0..255. unit: "
            "x / 255; centred: (x - 127) / 128; caffe: x minus the ImageNet mean of each "
            "channel, for the ResNet-50 weights of keras-applications"
        ),
    ] = "unit"
    batch_norm_momentum: Annotated[
        float,
        Field(
            gt=0,
            lt=1,
            description="momentum of the moving averages in batch normalization; a lower "
            "value adapts faster",
        ),
    ] = 0.99
    zero_residual: Annotated[
        bool,
        Field(
            description="initialize the last batch-norm scale of each residual branch "
            "with 0, so that the branch starts as zero (resnet50)"
        ),
    ] = False
    pooling: Annotated[
        Literal["average", "gem", "flatten"],
        Field(
            description="how the feature map becomes a vector. average: mean over the "
            "positions; gem: generalised mean with exponent gem_p; flatten: all values, "
            "for one image size only"
        ),
    ] = "average"
    gem_p: Annotated[
        Exponent,
        Field(
            description="exponent of gem pooling: 1 is the mean, a large value approaches "
            "the maximum",
        ),
    ] = 3.0
    gem_trainable: Annotated[
        bool, Field(description="train gem_p together with the weights")
    ] = False
    embedding: Annotated[
        Count | None,
        Field(
            description="dimensions of the embedding, computed by a dense layer with batch "
            "normalization; null: no such layer, the pooled features are the embedding"
        ),
    ] = None
    dropout: Annotated[
        float,
        Field(
            ge=0,
            lt=1,
            description="share of the embedding's values that training sets to 0",
        ),
    ] = 0.0
    head: Annotated[
        Literal["dense", "cosine", "arcface"],
        Field(
            description="classifier that training uses. dense: linear layer; cosine: "
            "scaled cosine to the centre of each class; arcface: cosine with an angular "
            "margin in the loss"
        ),
    ] = "dense"
    scale: Annotated[
        Positive | None,
        Field(
            description="largest logit of the cosine and arcface heads: the factor of the "
            "cosine; null: the fixed scale of AdaCos, from the number of classes"
        ),
    ] = 12.0
    sub_centres: Annotated[
        Count,
        Field(
            description="centres of each class in the cosine and arcface heads; the "
            "nearest one counts (sub-center ArcFace)"
        ),
    ] = 1
    sampled_classes: Annotated[
        Count | None,
        Field(
            description="classes in the softmax of a training step (Partial FC): those of "
            "the batch and random others; for tens of thousands of landmarks, with the "
            "cosine and arcface heads. null: all classes"
        ),
    ] = None
    margin: Annotated[
        tuple[Margin, Margin],
        Field(
            description="margins of the arcface head in radians: for the largest class and "
            "for the smallest; classes of other sizes have margins between these"
        ),
    ] = (0.05, 0.5)


class Stage(Settings):
    """Epochs at an image size of their own."""

    epochs: Annotated[Count, Field(description="number of epochs")]
    image_size: Annotated[
        Side, Field(description="side of the images at the network's input, in pixels")
    ]


class Train(Settings):
    """The training of the network."""

    epochs: Annotated[
        Whole,
        Field(description="number of epochs; 0: no training, the weights stay initial"),
    ] = 30
    stages: Annotated[
        tuple[Stage, ...],
        Field(
            description="image sizes of the first epochs, stage by stage; the epochs "
            "after all stages use data.image_size"
        ),
    ] = ()
    frozen_epochs: Annotated[
        Whole,
        Field(
            description="the first epochs, in which the backbone is frozen and only the "
            "layers after it are trained"
        ),
    ] = 0
    frozen_learning_rate: Annotated[
        Positive | None,
        Field(description="learning rate of the frozen epochs; null: learning_rate"),
    ] = None
    trained_share: Annotated[
        float,
        Field(
            gt=0,
            le=1,
            description="weight of the trained backbone in its average with model.weights, "
            "which is validated and saved; 1: no averaging",
        ),
    ] = 1.0
    batch_size: Annotated[
        Count, Field(description="images in a batch, over all devices")
    ] = 32
    per_device: Annotated[
        bool,
        Field(
            description="batch_size and the learning rates are those of one device, and "
            "are multiplied by the number of devices"
        ),
    ] = False
    accumulate: Annotated[
        Count,
        Field(
            description="gradient accumulation: the optimizer steps once every accumulate "
            "batches, with their mean gradient"
        ),
    ] = 1
    mixed_precision: Annotated[
        bool, Field(description="compute in float16 where that is safe; for GPUs")
    ] = False
    balance: Annotated[
        Literal["none", "sampling", "loss"],
        Field(
            description="correction for classes of different sizes. sampling: all classes "
            "occur equally often in an epoch; loss: the loss of an image is weighted by "
            "the inverse size of its class"
        ),
    ] = "none"
    label_smoothing: Annotated[
        float,
        Field(
            ge=0,
            lt=1,
            description="share of the target probability that is divided equally among "
            "all classes",
        ),
    ] = 0.0
    optimizer: Annotated[
        Literal["adam", "adamw"],
        Field(description="optimizer. adamw: Adam with decoupled weight decay"),
    ] = "adam"
    learning_rate: Annotated[
        Positive, Field(description="learning rate, the highest one of a schedule")
    ] = 1e-3
    weight_decay: Annotated[Weight, Field(description="weight decay; adamw only")] = 0.0
    schedule: Annotated[
        Literal["constant", "cosine"],
        Field(
            description="learning-rate schedule. cosine: linear warm-up, then half a "
            "cosine down to 0"
        ),
    ] = "constant"
    warmup_epochs: Annotated[
        Weight,
        Field(
            description="epochs of the warm-up, in which the learning rate rises from 0; "
            "cosine schedule only"
        ),
    ] = 0.0
    clip_norm: Annotated[
        Positive | None,
        Field(
            description="gradient clipping: largest global norm of the gradients; null: "
            "no clipping"
        ),
    ] = None
    monitor: Annotated[
        Literal["val_loss", "val_accuracy"],
        Field(
            description="validation metric that decides the best epoch, whose weights are "
            "saved"
        ),
    ] = "val_loss"
    patience: Annotated[
        Count | None,
        Field(
            description="early stopping: epochs without improvement of monitor; null: no "
            "early stopping"
        ),
    ] = None
    checkpoint_minutes: Annotated[
        Positive, Field(description="minutes between checkpoints within an epoch")
    ] = 10.0
