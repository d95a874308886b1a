"""Ray starts the processes of several hosts; no other module of the kit uses it.

The hosts of a Ray cluster need the kit, and a shared disk that has the competition, the
shards and the run directory at the same paths.
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
from kaggle_kit.training.result import TrainingResult

if TYPE_CHECKING:
    from kaggle_kit.data.shards_manifest import ShardsManifest

LOCAL = "local"  # in place of an address: a temporary cluster of this host alone


def shards(
    settings: Config, competition: Path, subset: Path, out: Path, address: str
) -> "ShardsManifest":
    """``data.shards.shards``, with the shards divided among the hosts.

    Raises:
        KitError: as there; Ray is not installed or does not answer; a host is lost.
    """
    with _cluster(address) as ray:
        from kaggle_kit.data.shards import shards  # TensorFlow, after the cheap checks

        n_cores = min(int(_cores(node)) for node in _nodes(ray))
        task = ray.remote(num_cpus=n_cores)(_call)

        def spread(function: Callable[..., Any], jobs: Sequence[Any]) -> Iterator[Any]:
            for future in [task.remote(function, job) for job in jobs]:
                yield _result(ray, future)

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
) -> TrainingResult:
    """``training.trainer.train`` on all devices of a cluster's hosts, as one training.

    Args:
        n_hosts: the processes that train together; None: one per host, with all its GPUs.

    Returns:
        The result of the chief.

    Raises:
        KitError: as there; Ray is not installed or does not answer; a host is lost.
    """
    with _cluster(address) as ray:
        nodes = _nodes(ray)
        placement = [nodes[i % len(nodes)] for i in range(n_hosts or len(nodes))]
        per_node = -(-len(placement) // len(nodes))
        hosts = [
            ray.remote(_Host)
            .options(
                num_cpus=max(1, int(_cores(node) // per_node)),
                num_gpus=int(node["Resources"].get("GPU", 0) // per_node),
                scheduling_strategy=_on_node(ray, node),
            )
            .remote()
            for node in placement
        ]
        addresses = [_result(ray, host.address.remote()) for host in hosts]
        paths = [Path(path).absolute() for path in (shards_dir, run_dir)]
        futures = [
            host.train.remote(settings, *paths, resume, addresses, i)
            for i, host in enumerate(hosts)
        ]
        running = list(futures)
        while running:  # the host that fails first has the reason; others only lost it
            done, running = ray.wait(running)
            _result(ray, done[0])
        return _result(ray, futures[0])


class _Host:
    """A process that trains together with those of other hosts."""

    def address(self) -> str:
        import ray

        with socket.socket() as free:
            free.bind(("", 0))
            return f"{ray.util.get_node_ip_address()}:{free.getsockname()[1]}"

    def train(
        self,
        settings: Config,
        shards_dir: Path,
        run_dir: Path,
        resume: bool,
        addresses: list[str],
        index: int,
    ) -> TrainingResult:
        if len(addresses) > 1:
            task = {"type": "worker", "index": index}
            values = {"cluster": {"worker": addresses}, "task": task}
            os.environ["TF_CONFIG"] = json.dumps(values)
        from kaggle_kit.training.trainer import train  # TensorFlow, after TF_CONFIG

        return train(settings, shards_dir, run_dir, resume)


def _call(function: Callable[..., Any], job: Any) -> Any:
    return function(job)


@contextmanager
def _cluster(address: str) -> Iterator[Any]:
    """The Ray module, connected to a cluster."""
    try:
        import ray
    except ImportError:
        raise KitError(
            "--ray: expected Ray, found none; install it with pip install "
            "'kaggle-kit[ray]'"
        ) from None
    try:
        host, colon, port = address.rpartition(":")
        if colon and port.isdecimal() and "://" not in address:
            # Ray itself would try for minutes
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
    """The hosts of the cluster, ordered by their ids."""
    alive = [node for node in ray.nodes() if node["Alive"] and _cores(node) >= 1]
    if not alive:
        raise KitError("--ray: expected a cluster with hosts, found none with a core")
    return sorted(alive, key=lambda node: node["NodeID"])


def _cores(node: dict[str, Any]) -> float:
    return float(node["Resources"].get("CPU", 0))


def _on_node(ray: Any, node: dict[str, Any]) -> Any:
    strategies = ray.util.scheduling_strategies
    return strategies.NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)


def _result(ray: Any, future: Any) -> Any:
    """The value that a host returned, or the ``KitError`` that it raised."""
    try:
        return ray.get(future)
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
