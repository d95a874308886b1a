"""stub"""

import numpy as np


def find_near(paths, others):
    return set()


def group_files(ids, path_of, index=None):
    if not any(path_of(i).exists() for i in ids):
        return None
    return np.zeros(len(ids), int)
