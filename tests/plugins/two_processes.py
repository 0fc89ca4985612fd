"""Runs a function of a test file in two processes that torch.distributed joins by gloo."""

import os
import pickle
import runpy
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def in_two(function: Callable[[Any, Path, Any], Any], given: Any, folder: Path) -> list[Any]:
    """Return what `function(given, folder, group)` gives in each of two processes.

    Args:
        function: of a test file, found there by its name.
        given: what it is given; pickled.
        folder: for files; each process may write there.
    """
    (folder / "given.pickle").write_bytes(pickle.dumps(given))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    file = sys.modules[function.__module__].__file__
    assert file is not None
    root = Path(__file__).parents[2]
    started = [
        subprocess.Popen(
            [sys.executable, __file__, file, function.__name__, str(folder)],
            env=os.environ
            | {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
            | {"LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            | {"PYTHONPATH": f"{root}:{root / 'tests' / 'plugins'}", "CUDA_VISIBLE_DEVICES": ""},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for rank in range(2)
    ]
    told = [process.communicate(timeout=300)[0].decode() for process in started]
    assert [process.returncode for process in started] == [0, 0], "\n".join(told)
    return [pickle.loads((folder / f"given{rank}.pickle").read_bytes()) for rank in range(2)]


if __name__ == "__main__":
    from compressor.distributed.joining import join

    file, name, place = sys.argv[1:]
    work = runpy.run_path(file, run_name="in_two_processes")[name]
    group = join()
    made = work(pickle.loads((Path(place) / "given.pickle").read_bytes()), Path(place), group)
    (Path(place) / f"given{group.rank}.pickle").write_bytes(pickle.dumps(made))
