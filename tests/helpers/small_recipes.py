"""Classes, data and a small network for tests of what trains it."""

import keras
import numpy as np

from kaggle_kit import config
from kaggle_kit.config import Config
from kaggle_kit.storage.tables import Class

CLASSES = [Class(10, 60), Class(20, 30), Class(30, 10)]


def small(train, **model):
    """A stand-in for the network: a layer named backbone, with batch norm, and a head."""
    inputs = keras.Input((4,))
    backbone = keras.Sequential(
        [keras.layers.Dense(4), keras.layers.BatchNormalization()], name="backbone"
    )
    outputs = keras.layers.Dense(3, name="head")(backbone(inputs))
    settings = Config(
        name="x", model=config.Model(**model), train=config.Train(**train)
    )
    return keras.Model(inputs, outputs), settings


DATA = np.random.default_rng(0).normal(size=(64, 4)), np.arange(64) % 3
