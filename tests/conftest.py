"""For every test: no network, and one thread a worker, since tiny tensors on many threads wait for each other."""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
