"""Parses a video with a trivial parser in a process of its own: prints its peak memory, or hangs midway."""

import sys
import time

import numpy as np
import psutil
import torch

from partwise.labels import FOREGROUND
from partwise.predict.predict import predict


class Bright:
    label_set = FOREGROUND

    def __init__(self, hang_at):
        self.hang_at = hang_at
        self.memory = []  # MB that belong to this process alone, every fifth frame

    def stream(self, frames):
        for n, frame in enumerate(frames):
            if n == self.hang_at:
                print("hanging", flush=True)
                time.sleep(60)
            if n % 5 == 0:
                self.memory.append(psutil.Process().memory_full_info().uss / 2**20)
            parts = torch.from_numpy((frame[..., 0] > 127).astype(np.int64))
            yield {"parts": parts, "persons": {"map": parts, "classes": torch.ones(1, dtype=torch.int64)}}


if __name__ == "__main__":
    source, output, hang_at = sys.argv[1:]
    parser = Bright(int(hang_at))
    predict(parser, source, output)
    print("peak of the first 50 frames and of all, MB:", max(parser.memory[:10]), max(parser.memory))
