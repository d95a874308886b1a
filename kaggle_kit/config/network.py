"""Settings of the network, and of how it is trained."""

from typing import Annotated, Literal

from pydantic import Field

from kaggle_kit.config.base import Count, Settings, Side, Text, Weight

Margin = Annotated[float, Field(ge=0, lt=1.5)]  # radians
Positive = Annotated[float, Field(gt=0)]
Whole = Annotated[int, Field(ge=0)]


class Model(Settings):
    """The network."""

    backbone: Annotated[
        Literal["resnet50", "efficientnet_lite0", "tiny", "none"],
        Field(
            description="what the network is built on. tiny: three convolutions, to try "
            "things out with; none: no network, the embedding is VLAD alone"
        ),
    ] = "resnet50"
    weights: Annotated[
        Text | None,
        Field(
            description="what training begins with: a file of weights in the layout of "
            "keras-applications or keras-cv, or imagenet: those that a Python package "
            "has (efficientnet_lite0 only); null: random"
        ),
    ] = None
    pixels: Annotated[
        Literal["unit", "centred", "caffe"],
        Field(
            description="what the backbone reads. unit: 0..1; centred: (x - 127) / 128; "
            "caffe: 0..255 less ImageNet's means, as the weights of keras-applications' "
            "ResNet-50 expect"
        ),
    ] = "unit"
    batch_norm_momentum: Annotated[
        float,
        Field(gt=0, lt=1, description="how much of their old mean batch norms keep"),
    ] = 0.99
    zero_residual: Annotated[
        bool, Field(description="residual branches begin as nothing")
    ] = False
    pooling: Annotated[
        Literal["average", "gem", "flatten"],
        Field(
            description="how the backbone's map becomes a vector. gem: a mean of powers; "
            "flatten: all of the map, for one image size only"
        ),
    ] = "average"
    gem_p: Annotated[
        float, Field(ge=1, description="power of gem: 1 is the mean, much the maximum")
    ] = 3.0
    gem_trainable: Annotated[bool, Field(description="gem_p is trained too")] = False
    embedding: Annotated[
        Count | None,
        Field(description="width of a dense layer with batch norm; null: no layer"),
    ] = None
    dropout: Annotated[
        float,
        Field(
            ge=0, lt=1, description="share of the embedding that training leaves out"
        ),
    ] = 0.0
    head: Annotated[
        Literal["dense", "cosine", "arcface"],
        Field(description="what tells the landmarks apart while training"),
    ] = "dense"
    scale: Annotated[
        Positive | None,
        Field(
            description="largest logit of the cosine and arcface heads; null: AdaCos, "
            "by the number of classes"
        ),
    ] = 12.0
    sub_centres: Annotated[
        Count, Field(description="directions per class, of which the nearest counts")
    ] = 1
    sampled_classes: Annotated[
        Count | None,
        Field(
            description="cosine and arcface: so many classes, those of a batch and "
            "random others, stand for all in a training step (Partial FC); for tens of "
            "thousands of landmarks. null: all"
        ),
    ] = None
    margin: Annotated[
        tuple[Margin, Margin],
        Field(description="arcface: radians for the largest class and the smallest"),
    ] = (0.05, 0.5)


class Stage(Settings):
    """Some epochs at an image size of their own."""

    epochs: Annotated[Count, Field(description="how many epochs it takes")]
    image_size: Annotated[
        Side, Field(description="side of the photos that the network sees, in pixels")
    ]


class Train(Settings):
    """How the network is trained."""

    epochs: Annotated[
        Whole,
        Field(
            description="how often all photos are trained on; 0: the weights stay as "
            "they are"
        ),
    ] = 30
    stages: Annotated[
        tuple[Stage, ...],
        Field(description="the first epochs, at other image sizes than the rest"),
    ] = ()
    frozen_epochs: Annotated[
        Whole,
        Field(description="the first epochs, in which the backbone stays as it is"),
    ] = 0
    frozen_learning_rate: Annotated[
        Positive | None,
        Field(description="learning rate of the frozen epochs; null: the same"),
    ] = None
    trained_share: Annotated[
        float,
        Field(
            gt=0,
            le=1,
            description="share of the backbone's trained weights that is kept; the rest "
            "is of model.weights",
        ),
    ] = 1.0
    batch_size: Annotated[
        Count, Field(description="photos of a batch, on all devices together")
    ] = 32
    per_device: Annotated[
        bool,
        Field(description="batch_size and the learning rates are of one device"),
    ] = False
    accumulate: Annotated[
        Count, Field(description="batches whose mean gradient makes one step")
    ] = 1
    mixed_precision: Annotated[
        bool, Field(description="float16 where it is safe; for GPUs")
    ] = False
    balance: Annotated[
        Literal["none", "sampling", "loss"],
        Field(description="what evens out the classes"),
    ] = "none"
    label_smoothing: Annotated[
        float,
        Field(ge=0, lt=1, description="share of the target that all classes divide"),
    ] = 0.0
    optimizer: Annotated[
        Literal["adam", "adamw"], Field(description="what makes steps of gradients")
    ] = "adam"
    learning_rate: Annotated[
        Positive, Field(description="learning rate at its highest")
    ] = 1e-3
    weight_decay: Annotated[
        Weight, Field(description="how much weights shrink; adamw only")
    ] = 0.0
    schedule: Annotated[
        Literal["constant", "cosine"],
        Field(description="how the learning rate goes on after the warm-up"),
    ] = "constant"
    warmup_epochs: Annotated[
        Weight, Field(description="epochs in which the learning rate rises from 0")
    ] = 0.0
    clip_norm: Annotated[
        Positive | None,
        Field(description="largest norm of all gradients together; null: any"),
    ] = None
    monitor: Annotated[
        Literal["val_loss", "val_accuracy"],
        Field(description="what tells the best epoch, whose weights are kept"),
    ] = "val_loss"
    patience: Annotated[
        Count | None,
        Field(description="epochs without a better monitor before it stops; null: all"),
    ] = None
    checkpoint_minutes: Annotated[
        Positive,
        Field(description="minutes between checkpoints within an epoch"),
    ] = 10.0
