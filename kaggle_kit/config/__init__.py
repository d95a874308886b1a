"""The settings of an experiment: types, defaults, descriptions, and their files.

A file in ``configs/`` is YAML, and contains only the differences from the config that it
``extends``. A run stores the resolved config as ``config.json``, which the kernel reads.

Other modules use the names that are listed here as ``config.NAME``.
"""

from kaggle_kit.config.files import load, override, parse_setting, read_json, write_json
from kaggle_kit.config.images import Augment, Data, Pools, Subset
from kaggle_kit.config.network import Model, Stage, Train
from kaggle_kit.config.recognition import Local, Recognition, Verification, Vlad
from kaggle_kit.config.schema import Config, image_size, input_size

__all__ = [
    "Augment",
    "Config",
    "Data",
    "Local",
    "Model",
    "Pools",
    "Recognition",
    "Stage",
    "Subset",
    "Train",
    "Verification",
    "Vlad",
    "image_size",
    "input_size",
    "load",
    "override",
    "parse_setting",
    "read_json",
    "write_json",
]
