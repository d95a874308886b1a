"""The kit for Google Landmark Recognition 2021: images in, a scored submission out.

What a notebook needs is imported from here, and only when it is asked for, since
TensorFlow takes seconds to load::

    from kaggle_kit import Recogniser, load_config, train, build_bundle, predict, score
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from kaggle_kit.bundling.build import build_bundle
    from kaggle_kit.config import load as load_config
    from kaggle_kit.inference.answers import Answer
    from kaggle_kit.inference.predict import predict
    from kaggle_kit.inference.recogniser import Recogniser
    from kaggle_kit.metrics.score import score
    from kaggle_kit.training.trainer import train

__all__ = [
    "Answer",
    "Recogniser",
    "__version__",
    "build_bundle",
    "load_config",
    "predict",
    "score",
    "train",
]

_ORIGIN = {
    "Answer": ("kaggle_kit.inference.answers", "Answer"),
    "Recogniser": ("kaggle_kit.inference.recogniser", "Recogniser"),
    "build_bundle": ("kaggle_kit.bundling.build", "build_bundle"),
    "load_config": ("kaggle_kit.config", "load"),
    "predict": ("kaggle_kit.inference.predict", "predict"),
    "score": ("kaggle_kit.metrics.score", "score"),
    "train": ("kaggle_kit.training.trainer", "train"),
}


def __getattr__(name: str) -> Any:
    if name not in _ORIGIN:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _ORIGIN[name]
    value = getattr(import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
