"""The engine of kernels: SavedModels on GPUs or the CPU, LiteRT files on all cores."""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_kit.backends.base import MODEL, VIEWS, Image, Outputs, Runner
from kaggle_kit.backends.images import decode_memory
from kaggle_kit.backends.litert import LiteRunner, concatenate_outputs
from kaggle_kit.data.decode import count_decoders, decode_file
from kaggle_kit.data.decode_threads import Deadline
from kaggle_kit.errors import ArtefactError
from kaggle_kit.frameworks import tf
from kaggle_kit.model.convert_litert import hide_interpreter_warning
from kaggle_kit.model.saved_model_check import check_saved_model

logger = logging.getLogger(__name__)
MAX_SIDE = 8192  # of images, in pixels: the largest of any config
# What is raised for a file that is no network; by the loader, nearly anything.
NO_NETWORK = (
    *(OSError, ValueError, TypeError, LookupError, AttributeError, AssertionError),
    *(RuntimeError, tf.errors.OpError),
)
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
            first = self.models[0]
            self.views: Sequence[str] = [name for name in VIEWS if hasattr(first, name)]
            signatures = [_signature(getattr(first, view)) for view in self.views]
            if VIEWS[0] not in self.views or signatures != signatures[:1] * len(
                signatures
            ):
                raise ValueError(
                    "views that differ in their inputs or outputs, or none"
                )
            self.side, widths = signatures[0]
            self.width = widths["embedding"]
            self.n_classes = widths.get("log_probability", 0)
        except NO_NETWORK as error:
            raise _not_a_network(model_dir, error) from None
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
            except tf.errors.OpError as error:
                raise _not_a_network(self.model_dir, error) from None
        return concatenate_outputs(batches)


class TensorFlowEngine:
    """An ``Engine`` with TensorFlow's decoders, for SavedModels and LiteRT files."""

    networks: Sequence[str] = (MODEL,)
    loader = "kaggle_kit.backends.tensorflow:load_runner"

    def __init__(self) -> None:
        self.n_threads = count_decoders()
        self.deadline = Deadline()

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


def _signature(function: Any) -> tuple[int, dict[str, int]]:
    """The side of the images of a view, and the width of each of its outputs.

    Raises:
        ValueError, TypeError, IndexError: it is no view as ``model.export`` makes them.
    """
    (concrete,) = function.concrete_functions
    (images,), _ = concrete.structured_input_signature
    side = int(images.shape[1])
    is_square = images.shape.as_list() == [None, side, side, 3]
    if not is_square or images.dtype != tf.uint8 or not 0 < side <= MAX_SIDE:
        raise ValueError(
            f"a view of {images.dtype.name} images of shape {images.shape}"
        )
    if not isinstance(concrete.structured_outputs, dict):
        raise TypeError("a view without named outputs")
    outputs = concrete.structured_outputs.items()
    return side, {name: int(value.shape[1]) for name, value in outputs}


def _not_a_network(model_dir: Path, error: Exception) -> ArtefactError:
    """The error of a SavedModel that does not load, or does not run."""
    kind = f"{type(error).__name__}: " if isinstance(error, LookupError) else ""
    reason = kind + " ".join(str(error).split())[:200]
    return ArtefactError(
        f"{model_dir}: expected a SavedModel, got {reason}; make the bundle again"
    )


def _create_interpreter(path: str) -> Any:
    """Create an interpreter of a LiteRT file, with one thread."""
    with hide_interpreter_warning():
        return tf.lite.Interpreter(path, num_threads=1)
