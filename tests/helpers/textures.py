"""Synthetic textures, and random local features."""

import cv2
import numpy as np

from kaggle_kit.local_features.sift import Features, root_sift


def texture(seed=0, height=160, width=200):
    """Blobs of several sizes in grey, (h, w) uint8."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(height, width)).astype(np.float32)
    sums = sum(cv2.GaussianBlur(noise, (0, 0), s) * s for s in (1, 2, 4, 8))
    return cv2.normalize(sums, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def random_features(n, seed=0):
    """n points with random places, descriptors and sizes."""
    rng = np.random.default_rng(seed)
    return Features(
        rng.random((n, 2)).astype(np.float32),
        root_sift(rng.random((n, 128)).astype(np.float32)),
        rng.uniform(0.1, 1, n).astype(np.float32),
    )
