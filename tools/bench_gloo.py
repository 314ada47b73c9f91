"""A process of the bulk bench: torch.distributed with the gloo backend, on one thread.

Arguments: place, number of processes, port of the first one.
"""

import queue
import sys
import time

import torch
import torch.distributed as distributed

from tools.bench_bulk_load import Reduce, Times, Word, decode_order, hear, reply


def reduce(order: Reduce, count: int) -> None:
    array = torch.ones(order.size // 4)
    taken: list[float] = []
    for _ in range(order.repeat):
        distributed.barrier()
        began = time.perf_counter()
        # It works in place: the copy is part of what ours does, too.
        result = array.clone()
        distributed.all_reduce(result)
        result /= count
        taken.append(time.perf_counter() - began)
        assert result[0] == result[-1] == 1
    reply(Times(taken, "Reduce"))


def main() -> None:
    """Until the parent ends."""
    place, count, port = map(int, sys.argv[1:])
    lines: queue.Queue[bytes] = queue.Queue()
    hear(lines.put)
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=place, world_size=count
    )
    reply(Word("ready"))
    while True:
        order = decode_order(lines.get())
        assert isinstance(order, Reduce)
        reduce(order, count)


if __name__ == "__main__":
    main()
