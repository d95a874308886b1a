"""The packages in Kaggle's image that a kernel for images might import."""

from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PYTHON = "3.12"  # of the image of August 2026
VERSIONS = {
    "tensorflow": "2.20.0",
    "keras": "3.13.2",
    "numpy": "2.0.2",
    "pandas": "2.2.2",
}

# From the image's own lists (2026): kaggle_requirements.txt of Kaggle/docker-python, and
# pip-freeze.gpu.txt of googlecolab/backend-info for its base image. The requirements of
# these packages are in the image, too.
NAMES = """
absl-py accelerate albumentations altair annoy boto3 bokeh catboost cupy-cuda12x dask
datasets diffusers easyocr einops fastai flax gensim h5py huggingface-hub hyperopt
imagehash imageio imbalanced-learn imutils ipykernel ipython ipywidgets jax jaxlib joblib
jupyter-core kaggle kagglehub keras keras-cv keras-hub keras-nlp keras-tuner kornia
lightgbm llvmlite lxml matplotlib ml-dtypes mpmath networkx nltk notebook numba numexpr
numpy onnx opencv-contrib-python opencv-python opencv-python-headless openpyxl optax
optuna packaging pandas peft pillow pip plotly polars protobuf psutil pyarrow pydantic
pydegensac pytest pytorch-lightning pyyaml ray requests rich ruff safetensors scikit-image
scikit-learn scipy seaborn sentence-transformers setuptools shap simpleitk six statsmodels
sympy tables tensorboard tensorflow tensorflow-datasets tensorflow-hub
tensorflow-probability tensorflow-text tf-keras timm tokenizers torch torchaudio
torchmetrics torchvision tornado tqdm transformers umap-learn wheel xgboost zstandard
"""


def missing_packages() -> list[str]:
    """The top-level import names that are installed here, but not in Kaggle's image."""
    available = _with_requirements({canonicalize_name(name) for name in NAMES.split()})
    return sorted(
        name
        for name, owners in metadata.packages_distributions().items()
        if not any(canonicalize_name(owner) in available for owner in owners)
    )


def _with_requirements(names: set[str]) -> set[str]:
    """The names, and the requirements of those installed here, recursively."""
    visited: set[str] = set()
    queue = list(names)
    while queue:
        name = queue.pop()
        if name in visited:
            continue
        visited.add(name)
        try:
            lines = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        for requirement in map(Requirement, lines):
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                queue.append(canonicalize_name(requirement.name))
    return visited
