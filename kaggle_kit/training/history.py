"""``history.csv`` of a run: one row of metrics per whole epoch."""

from pathlib import Path

import numpy as np
import pandas as pd

from kaggle_kit.errors import ArtefactError


def read_history(path: Path) -> pd.DataFrame:
    """Read the table; its rows are the epochs 1, 2, ...

    A metric of the validation images (``val_...``) may be missing or not finite: the
    statistics of batch norm can lag behind for some epochs. All other values are finite.

    Raises:
        ArtefactError: it is not such a table.
    """
    try:
        table = pd.read_csv(path)
        if "epoch" not in table or (table["epoch"] != range(1, len(table) + 1)).any():
            raise ValueError("no row for each epoch, from 1 on")
        for name, values in table.astype(float).items():
            if not str(name).startswith("val_") and not np.isfinite(values).all():
                raise ValueError(f"a value of {name} that is not finite")
    except (OSError, ValueError, TypeError) as error:  # ValueError: also of pandas
        raise ArtefactError(
            f"{path}: expected the history of a training, got {str(error)!r:.200}; train "
            f"into another --run"
        ) from None
    return table
