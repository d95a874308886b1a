"""Ray, which starts the work of several hosts; nothing else in the kit knows of it.

The hosts of a Ray cluster need the kit installed and the same folders: competition,
shards and run on a disk that all of them share, at the same path.
"""

import json
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kaggle_kit.config import Config
from kaggle_kit.errors import KitError

if TYPE_CHECKING:
    from kaggle_kit.data.shards import ShardsManifest

LOCAL = "local"  # in place of an address: a cluster of this host alone, for now


def shards(
    settings: Config, competition: Path, subset: Path, out: Path, address: str
) -> "ShardsManifest":
    """``data.shards.shards``, of which each host writes some at a time.

    Raises:
        KitError: as there; Ray is not installed or not reached, a host is lost.
    """
    with _cluster(address) as ray:
        from kaggle_kit.data.shards import shards  # TensorFlow, after the cheap checks

        n_cores = min(int(_cores(node)) for node in _nodes(ray))
        task = ray.remote(num_cpus=n_cores)(_call)

        def spread(function: Callable[..., Any], jobs: Sequence[Any]) -> Iterator[Any]:
            for made in [task.remote(function, job) for job in jobs]:
                yield _result(ray, made)

        return shards(
            settings.data,
            Path(competition).absolute(),
            Path(subset).absolute(),
            Path(out).absolute(),
            spread,
        )


def train(
    settings: Config,
    shards_dir: Path,
    run_dir: Path,
    resume: bool,
    address: str,
    n_hosts: int | None = None,
) -> dict[str, Any]:
    """``training.trainer.fit`` on all devices of a cluster's hosts, as one training.

    Args:
        n_hosts: how many processes train together; None: one on each host, with all GPUs
            that it has.

    Returns:
        What ``fit`` says on the chief.

    Raises:
        KitError: as there; Ray is not installed or not reached, a host is lost.
    """
    with _cluster(address) as ray:
        nodes = _nodes(ray)
        chosen = [nodes[i % len(nodes)] for i in range(n_hosts or len(nodes))]
        share = -(-len(chosen) // len(nodes))  # processes on a node
        hosts = [
            ray.remote(_Host)
            .options(
                num_cpus=max(1, int(_cores(node) // share)),
                num_gpus=int(node["Resources"].get("GPU", 0) // share),
                scheduling_strategy=_on(ray, node),
            )
            .remote()
            for node in chosen
        ]
        addresses = [_result(ray, host.address.remote()) for host in hosts]
        where = [Path(path).absolute() for path in (shards_dir, run_dir)]
        begun = [
            host.fit.remote(settings, *where, resume, addresses, i)
            for i, host in enumerate(hosts)
        ]
        waiting = list(begun)
        while waiting:  # whoever fails first says why; the others only that it is gone
            done, waiting = ray.wait(waiting)
            _result(ray, done[0])
        return _result(ray, begun[0])


class _Host:
    """A process that trains with those of other hosts."""

    def address(self) -> str:
        import ray

        with socket.socket() as free:
            free.bind(("", 0))
            return f"{ray.util.get_node_ip_address()}:{free.getsockname()[1]}"

    def fit(
        self,
        settings: Config,
        shards_dir: Path,
        run_dir: Path,
        resume: bool,
        addresses: list[str],
        index: int,
    ) -> dict[str, Any]:
        if len(addresses) > 1:
            task = {"type": "worker", "index": index}
            values = {"cluster": {"worker": addresses}, "task": task}
            os.environ["TF_CONFIG"] = json.dumps(values)
        from kaggle_kit.training.trainer import (
            fit,  # TensorFlow, once it knows the others
        )

        return fit(settings, shards_dir, run_dir, resume)


def _call(function: Callable[..., Any], job: Any) -> Any:
    return function(job)


@contextmanager
def _cluster(address: str) -> Iterator[Any]:
    """Ray, connected to a cluster for a while."""
    try:
        import ray
    except ImportError:
        raise KitError(
            "--ray: expected Ray, found none; pip install 'kaggle-kit[ray]'"
        ) from None
    try:
        host, colon, port = address.rpartition(":")
        if colon and port.isdecimal() and "://" not in address:
            # Ray itself would ask for minutes
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(
            address=None if address == LOCAL else address,
            include_dashboard=False if address == LOCAL else None,
            logging_level="warning",
        )
    except (OSError, OverflowError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise KitError(
            f"--ray {address}: expected a Ray cluster, got {reason}; give the address "
            f"that 'ray start --head' showed, or {LOCAL}"
        ) from None
    try:
        yield ray
    finally:
        ray.shutdown()


def _nodes(ray: Any) -> list[dict[str, Any]]:
    """The hosts of the cluster, in an order of their own."""
    alive = [node for node in ray.nodes() if node["Alive"] and _cores(node) >= 1]
    if not alive:
        raise KitError("--ray: expected a cluster with hosts, found none with a core")
    return sorted(alive, key=lambda node: node["NodeID"])


def _cores(node: dict[str, Any]) -> float:
    return float(node["Resources"].get("CPU", 0))


def _on(ray: Any, node: dict[str, Any]) -> Any:
    strategies = ray.util.scheduling_strategies
    return strategies.NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)


def _result(ray: Any, made: Any) -> Any:
    """What a host returned; what a user can put right comes as it was raised there."""
    try:
        return ray.get(made)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, KitError):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        reason = " ".join(str(error).split())[:200]
        raise KitError(
            f"--ray: expected every host to work to the end, lost one ({reason}); run the "
            f"same command again, with --resume if it trains"
        ) from None
