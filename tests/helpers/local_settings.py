"""Settings of a run without a network, with local features alone."""

LOCAL = {
    "name": "local",
    "model.backbone": "none",
    "train.epochs": 0,
    "vlad": {"words": 8},
    "local": {"n_features": 200},
    "recognition.whiten": 16,
    "recognition.whitening": "within",
    "recognition.verification": {"candidates": 6, "full_inliers": 6.0},
    "recognition.tune": True,
    "subset.validation_share": 0.3,
    "subset.test_share": 0.2,
    "subset.unknown_landmarks": 1,
    "subset.non_landmarks": {
        "source": "unlisted",
        "penalty": 0.4,
        "validation": 0.3,
        "test": 0.3,
    },
}
