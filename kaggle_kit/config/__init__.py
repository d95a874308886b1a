"""Settings: what there is to set, in files and by name, and what each means.

A file in ``configs/`` is YAML and only its difference from another (``extends:``). A run
keeps what it resolved to as ``config.json``; the kernel reads that back.

The whole kit says ``config.X`` for what is listed here, whichever module it is in.
"""

from kaggle_kit.config.files import load, override, parse_setting, read_json, write_json
from kaggle_kit.config.network import Model, Stage, Train
from kaggle_kit.config.photos import Augment, Data, Pools, Subset
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
