"""The engine of kernels: SavedModels on GPUs or the CPU, LiteRT files on all cores."""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kaggle_kit.backends.base import MODEL, VIEWS, Image, Outputs, Runner
from kaggle_kit.backends.images import decode_memory
from kaggle_kit.backends.litert import LiteRunner, concatenate_outputs
from kaggle_kit.data.decode import count_decoders, decode_file
from kaggle_kit.errors import ArtefactError
from kaggle_kit.model.convert_litert import hide_interpreter_warning
from kaggle_kit.model.safety import check_saved_model

logger = logging.getLogger(__name__)
OUT_OF_MEMORY = (MemoryError, tf.errors.ResourceExhaustedError)


class SavedModelRunner:
    """A ``Runner`` of a SavedModel of ``model.export``, on all GPUs or on the CPU.

    Each GPU has a copy of the model and runs its share of each batch. When a device is out
    of memory, its batch is halved, also for later calls.

    Attributes:
        max_batch: images that fit into the memory of a device; None until one is out of
            memory.
    """

    def __init__(self, model_dir: Path, devices: Sequence[str] = ()):
        """Load the model.

        Args:
            devices: names of the devices to use; (): all GPUs, or else the CPU.

        Raises:
            ArtefactError: the folder holds no SavedModel of ``model.export``.
        """
        self.model_dir = model_dir
        self.devices = list(devices) or gpus() or ["/CPU:0"]
        self.max_batch: int | None = None
        self.models: list[Any] = []
        try:
            check_saved_model(model_dir, VIEWS)
            for device in self.devices:
                with tf.device(device):
                    self.models.append(tf.saved_model.load(str(model_dir)))
            (serve,) = self.models[0].serve.concrete_functions
            (images,), _ = serve.structured_input_signature
            self.side = int(images.shape[1])
            widths = {k: int(v.shape[1]) for k, v in serve.structured_outputs.items()}
            self.width = widths["embedding"]
            self.n_classes = widths.get("log_probability", 0)
            self.views: Sequence[str] = [
                name for name in VIEWS if hasattr(self.models[0], name)
            ]
        except (
            OSError,
            ValueError,
            TypeError,
            LookupError,
            AttributeError,
            tf.errors.OpError,
        ) as error:
            reason = " ".join(str(error).split())[:200]
            raise ArtefactError(
                f"{model_dir}: expected a SavedModel, got {reason}; make the bundle again"
            ) from None
        self._threads = ThreadPoolExecutor(len(self.devices))

    def start(
        self, pixels: NDArray[np.uint8], view: str = VIEWS[0]
    ) -> Callable[[], Outputs]:
        """See ``Runner.start``.

        Raises:
            ArtefactError: a single image does not fit into memory. The returned function
                raises it.
        """
        shares = np.array_split(pixels, len(self.devices))
        futures = [
            self._threads.submit(self._run, i, share, view)
            for i, share in enumerate(shares)
            if len(share)
        ]
        return lambda: concatenate_outputs([future.result() for future in futures])

    def close(self) -> None:
        """Stop the threads."""
        self._threads.shutdown()

    def _run(self, i: int, pixels: NDArray[np.uint8], view: str) -> Outputs:
        """Run the share of device i, in batches that fit into its memory."""
        batches: list[Outputs] = []
        n_done = 0
        while n_done < len(pixels):
            batch = pixels[n_done : n_done + (self.max_batch or len(pixels))]
            try:
                with tf.device(self.devices[i]):
                    outputs = getattr(self.models[i], view)(batch)
                batches.append({name: value.numpy() for name, value in outputs.items()})
                n_done += len(batch)
            except OUT_OF_MEMORY:
                if len(batch) == 1:
                    raise ArtefactError(
                        f"{self.model_dir}: expected memory for one image of {self.side} "
                        f"px, got too little; free memory, or make a bundle with smaller "
                        f"recognition.scales"
                    ) from None
                self.max_batch = len(batch) // 2
                logger.warning(
                    "out of memory: running %d images at a time", self.max_batch
                )
        return concatenate_outputs(batches)


class TensorFlowEngine:
    """An ``Engine`` with TensorFlow's decoders, for SavedModels and LiteRT files."""

    networks: Sequence[str] = (MODEL,)
    loader = "kaggle_kit.backends.tensorflow:load_runner"

    def __init__(self) -> None:
        self.n_threads = count_decoders()

    def decode(self, image: Image, side: int | None = None) -> NDArray[np.uint8] | None:
        """Decode an image, or return None if it is missing or damaged."""
        if isinstance(image, Path):
            return decode_file(image, side)
        return decode_memory(image, side)

    def load_runner(self, path: Path, mixed_precision: bool) -> Runner:
        """Load a network; see ``Engine.load_runner``."""
        return load_runner(path, mixed_precision)


def load_runner(path: Path, mixed_precision: bool = False) -> Runner:
    """Load the network in a LiteRT file or in the folder of a SavedModel.

    Args:
        mixed_precision: see ``Engine.load_runner``.

    Raises:
        ArtefactError: it is neither.
    """
    if mixed_precision:
        enable_mixed_precision()
    if path.suffix != ".tflite":
        return SavedModelRunner(path)
    if gpus():
        logger.warning("%s is for CPUs: the GPU is not used", path.name)
    return LiteRunner(path, _create_interpreter)


def gpus() -> list[str]:
    """The names of all GPUs."""
    return [device.name for device in tf.config.list_logical_devices("GPU")]


def enable_mixed_precision() -> None:
    """Let TensorFlow compute in float16 on GPUs where it is safe, in this process."""
    tf.config.optimizer.set_experimental_options({"auto_mixed_precision": True})


def _create_interpreter(path: str) -> Any:
    """Create an interpreter of a LiteRT file, with one thread."""
    with hide_interpreter_warning():
        return tf.lite.Interpreter(path, num_threads=1)
