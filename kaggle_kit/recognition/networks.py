"""Run exported networks: SavedModels on GPUs or the CPU, LiteRT files on all cores."""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kaggle_kit.data.pipeline import PARALLEL
from kaggle_kit.errors import ArtefactError
from kaggle_kit.model.lite import without_notice
from kaggle_kit.model.untrusted import check_lite, check_saved_model

logger = logging.getLogger(__name__)
Outputs = dict[str, NDArray[np.float32]]
WAYS = ("serve", "one", "small")  # functions of a SavedModel, see model.export
NO_MEMORY = (MemoryError, tf.errors.ResourceExhaustedError)


class Runner(Protocol):
    """A network that runs.

    Attributes:
        side: that of the photos it takes, in pixels.
        has_head: whether its outputs have ``log_probability``.
        ways: of ``WAYS``, the functions it has, from the most work to the least.
    """

    side: int
    has_head: bool
    ways: Sequence[str]

    def start(
        self, pixels: NDArray[np.uint8], way: str = WAYS[0]
    ) -> Callable[[], Outputs]:
        """Begin with (b, side, side, 3) photos; what is returned waits for the outputs."""


class Saved:
    """A SavedModel made by ``model.export``, on every GPU, or else on the CPU.

    Each GPU has the model, and gets its share of each batch. Where memory ends, the
    photos are run in halves, for the rest of the time too.
    """

    def __init__(self, model_dir: Path, devices: Sequence[str] = ()):
        """Load the model.

        Args:
            devices: names of those to use; (): all GPUs, or the CPU.

        Raises:
            ArtefactError: the folder holds no readable SavedModel of that kind.
        """
        self.model_dir = model_dir
        self.devices = list(devices) or gpus() or ["/CPU:0"]
        self.most: int | None = None  # photos that a device has memory for, once known
        self.models: list[Any] = []
        try:
            check_saved_model(model_dir, WAYS)
            for device in self.devices:
                with tf.device(device):
                    self.models.append(tf.saved_model.load(str(model_dir)))
            (serve,) = self.models[0].serve.concrete_functions
            (images,), _ = serve.structured_input_signature
            self.side = int(images.shape[1])
            self.has_head = "log_probability" in serve.structured_outputs
            self.ways: Sequence[str] = [
                name for name in WAYS if hasattr(self.models[0], name)
            ]
        except (OSError, ValueError, AttributeError, tf.errors.OpError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ArtefactError(
                f"{model_dir}: expected a SavedModel, got {reason}; make the bundle again"
            ) from None
        self._threads = ThreadPoolExecutor(len(self.devices))

    def start(
        self, pixels: NDArray[np.uint8], way: str = WAYS[0]
    ) -> Callable[[], Outputs]:
        """Begin with (b, side, side, 3) photos; what is returned waits for the outputs.

        Raises (when waited for):
            ArtefactError: there is no memory for a single photo.
        """
        shares = np.array_split(pixels, len(self.devices))
        running = [
            self._threads.submit(self._run, i, share, way)
            for i, share in enumerate(shares)
            if len(share)
        ]
        return lambda: _joined([future.result() for future in running])

    def _run(self, i: int, pixels: NDArray[np.uint8], way: str) -> Outputs:
        found: list[Outputs] = []
        done = 0
        while done < len(pixels):
            some = pixels[done : done + (self.most or len(pixels))]
            try:
                with tf.device(self.devices[i]):
                    outputs = getattr(self.models[i], way)(some)
                found.append({name: value.numpy() for name, value in outputs.items()})
                done += len(some)
            except NO_MEMORY:
                if len(some) == 1:
                    raise ArtefactError(
                        f"{self.model_dir}: expected memory for one photo of {self.side} "
                        f"px, got too little; free some, or make a bundle with smaller "
                        f"recognition.scales"
                    ) from None
                self.most = len(some) // 2
                logger.warning("memory ends: on with %d photos at a time", self.most)
        return _joined(found)


class Lite:
    """A LiteRT file: one photo a core, each with an interpreter of its own.

    Of the ways to use all cores this is the fastest or as fast as any: one interpreter
    with many threads has them wait for each other in every layer.
    """

    def __init__(self, path: Path, n_threads: int = PARALLEL):
        """Load the file.

        Raises:
            ArtefactError: it is no LiteRT file.
        """
        try:
            check_lite(path)
            runners = [_interpreter(path) for _ in range(n_threads)]
        except (OSError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ArtefactError(
                f"{path}: expected a LiteRT file, got {reason}; make the bundle again"
            ) from None
        self.side = int(runners[0].get_input_details()["images"]["shape"][1])
        self.has_head = "log_probability" in runners[0].get_output_details()
        self.ways: Sequence[str] = WAYS[:1]
        self._idle: SimpleQueue[Any] = SimpleQueue()
        for runner in runners:
            self._idle.put(runner)
        self._threads = ThreadPoolExecutor(n_threads)

    def start(
        self, pixels: NDArray[np.uint8], way: str = WAYS[0]
    ) -> Callable[[], Outputs]:
        """Begin with (b, side, side, 3) photos; what is returned waits for the outputs."""
        photos = [pixels[i : i + 1] for i in range(len(pixels))]
        running = [self._threads.submit(self._run, photo) for photo in photos]
        return lambda: _joined([future.result() for future in running])

    def _run(self, photo: NDArray[np.uint8]) -> Outputs:
        runner = self._idle.get()
        try:
            outputs: Outputs = runner(images=photo)
            return outputs
        finally:
            self._idle.put(runner)


def load_runner(path: Path) -> Runner:
    """What runs the network in a LiteRT file or in the folder of a SavedModel.

    Raises:
        ArtefactError: it is neither.
    """
    if path.suffix != ".tflite":
        return Saved(path)
    if gpus():
        logger.warning("%s is for CPUs: the GPU is not used", path.name)
    return Lite(path)


def gpus() -> list[str]:
    """The names of all GPUs."""
    return [device.name for device in tf.config.list_logical_devices("GPU")]


def mix_precision() -> None:
    """Let GPUs compute in float16 what they can without harm, from now on."""
    tf.config.optimizer.set_experimental_options({"auto_mixed_precision": True})


def _interpreter(path: Path) -> Any:
    """The function of a LiteRT file, on one thread."""
    with without_notice():
        interpreter = tf.lite.Interpreter(str(path), num_threads=1)
    return interpreter.get_signature_runner("serving_default")


def _joined(parts: Sequence[Outputs]) -> Outputs:
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
