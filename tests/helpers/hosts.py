"""Several hosts on this one: processes that find one another by TF_CONFIG, on loopback."""

import json
import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Trains a small network; the host numbered last is killed before a batch of its own.
HOST = """
import logging, os, signal, sys
from pathlib import Path
from kaggle_kit import config
from kaggle_kit.training import trainer
from kaggle_kit.training.train_step import TrainStep
from tests.helpers.same_runs import save_weights
from tests.helpers.small_network import small_network

settings, shards, run, killed_before, host = sys.argv[1:]
train, seen = TrainStep.train, []

def watched(step, *args):
    seen.append(step)
    if host == "1" and len(seen) == int(killed_before):
        os.kill(os.getpid(), signal.SIGKILL)
    return train(step, *args)

TrainStep.train = watched
with small_network(dropout=0.0):
    trainer.train(config.read_json(Path(settings)), Path(shards), Path(run), resume=True)
save_weights(seen[-1].network, Path(run).with_name(f"host-{host}.npz"))
"""


def free_ports(n: int) -> list[int]:
    """Ports that nothing listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def start(n_hosts: int, code: str, *args: object) -> list[subprocess.Popen]:
    """Start a Python program on so many hosts; the number of each is its last argument."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(n_hosts)]
    processes = []
    for i in range(n_hosts):
        task = {
            "cluster": {"worker": addresses},
            "task": {"type": "worker", "index": i},
        }
        environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "TF_CONFIG": json.dumps(task),
            "CUDA_VISIBLE_DEVICES": "-1",
        }
        command = [sys.executable, "-c", code, *map(str, args), str(i)]
        processes.append(
            subprocess.Popen(
                command,
                env=environment,
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    return processes


def finish(processes: list[subprocess.Popen], timeout_s: float = 900) -> list[str]:
    """What each said, once all have ended; none is left behind."""
    try:
        return [process.communicate(timeout=timeout_s)[0] for process in processes]
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()
