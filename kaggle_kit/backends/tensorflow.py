"""Run exported networks: SavedModels on GPUs or the CPU, LiteRT files on all cores."""

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
from kaggle_kit.backends.litert import Lite, joined_outputs
from kaggle_kit.data.decode import decode_file, n_decoders
from kaggle_kit.errors import ArtefactError
from kaggle_kit.model.convert_litert import without_notice
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
        """Begin with (b, side, side, 3) photos; what is returned waits for the outputs.

        Raises (when waited for):
            ArtefactError: there is no memory for a single photo.
        """
        shares = np.array_split(pixels, len(self.devices))
        running = [
            self._threads.submit(self._run, i, share, view)
            for i, share in enumerate(shares)
            if len(share)
        ]
        return lambda: joined_outputs([future.result() for future in running])

    def close(self) -> None:
        """Stop the threads."""
        self._threads.shutdown()

    def _run(self, i: int, pixels: NDArray[np.uint8], view: str) -> Outputs:
        found: list[Outputs] = []
        done = 0
        while done < len(pixels):
            some = pixels[done : done + (self.most or len(pixels))]
            try:
                with tf.device(self.devices[i]):
                    outputs = getattr(self.models[i], view)(some)
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
    """Images by TensorFlow's decoders; networks as SavedModels, or as LiteRT files."""

    network = MODEL

    def __init__(self) -> None:
        self.n_threads = n_decoders()

    def decode(self, image: Image, side: int | None = None) -> NDArray[np.uint8] | None:
        """Decode an image, or return None if it is missing or damaged."""
        if isinstance(image, Path):
            return decode_file(image, side)
        return decode_memory(image, side)

    def runner(self, path: Path, mixed_precision: bool) -> Runner:
        """Load a network; GPUs compute in float16 what they can without harm."""
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
    with without_notice():
        return tf.lite.Interpreter(path, num_threads=1)
