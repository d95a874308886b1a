"""Run exported networks: SavedModels on GPUs or the CPU, LiteRT files on all cores."""

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kaggle_kit.backends.base import WAYS, Outputs, Runner
from kaggle_kit.backends.litert import Lite, joined_outputs
from kaggle_kit.data.decode import photos, readable
from kaggle_kit.errors import ArtefactError
from kaggle_kit.model.convert_litert import hide_interpreter_warning
from kaggle_kit.model.safety import check_lite, check_saved_model

logger = logging.getLogger(__name__)
NO_MEMORY = (MemoryError, tf.errors.ResourceExhaustedError)


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
        return lambda: joined_outputs([future.result() for future in running])

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
        return joined_outputs(found)


class TensorFlowEngine:
    """Photos by TensorFlow's decoders; networks as SavedModels, or as LiteRT files."""

    network = "model"

    def squashed(
        self, paths: Sequence[Path], side: int, batch_size: int
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
        """Photos as the network sees them."""
        return photos(paths, side, batch_size)

    def whole(
        self, paths: Sequence[Path]
    ) -> Iterator[tuple[np.integer, NDArray[np.uint8]]]:
        """Photos in their whole size."""
        yield from readable(paths, lambda pixels: pixels).as_numpy_iterator()

    def runner(self, path: Path, mixed_precision: bool) -> Runner:
        """What runs a network; on a GPU with float16 where that does no harm."""
        if mixed_precision:
            mix_precision()
        return load_runner(path)


def load_runner(path: Path) -> Runner:
    """What runs the network in a LiteRT file or in the folder of a SavedModel.

    Raises:
        ArtefactError: it is neither.
    """
    if path.suffix != ".tflite":
        return Saved(path)
    if gpus():
        logger.warning("%s is for CPUs: the GPU is not used", path.name)
    return Lite(path, _interpreter)


def gpus() -> list[str]:
    """The names of all GPUs."""
    return [device.name for device in tf.config.list_logical_devices("GPU")]


def mix_precision() -> None:
    """Let GPUs compute in float16 what they can without harm, from now on."""
    tf.config.optimizer.set_experimental_options({"auto_mixed_precision": True})


def _interpreter(path: str) -> Any:
    """An interpreter with one thread, of a file that is looked at before."""
    check_lite(Path(path))
    with hide_interpreter_warning():
        return tf.lite.Interpreter(path, num_threads=1)
