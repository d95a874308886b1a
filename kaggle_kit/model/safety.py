"""Refuse networks from untrusted sources that could do more than compute.

These checks parse the files before TensorFlow loads them. SavedModels are checked by
``saved_model_check``.
"""

import struct
from pathlib import Path

from tensorflow.lite.python import schema_py_generated as schema

from kaggle_kit.errors import ArtefactError


def check_lite(path: Path) -> None:
    """Refuse a LiteRT file with custom operations, such as those of TensorFlow.

    Raises:
        OSError, ValueError: the file is missing or malformed.
        ArtefactError: it has a custom operation.
    """
    content = path.read_bytes()
    if content[4:8] != b"TFL3":
        raise ValueError("no LiteRT file")
    try:
        model = schema.Model.GetRootAs(content)
        codes = [model.OperatorCodes(i) for i in range(model.OperatorCodesLength())]
        names = [bytes(code.CustomCode() or b"") for code in codes]
    except (struct.error, LookupError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"a damaged LiteRT file ({error!r})") from None
    for name in filter(None, names):
        raise _refusal(path, f"the operation {name.decode('latin-1')[:80]!r}")


def _refusal(path: Path, reason: str) -> ArtefactError:
    return ArtefactError(
        f"{path}: expected a network without side effects, got {reason}; do not use this "
        f"bundle"
    )
