"""Locks that the operating system gives back when a process dies, on one machine and over NFS."""

from __future__ import annotations

import fcntl
import os
import platform
import time
from pathlib import Path


def acquire(path: Path) -> int | None:
    """The file descriptor of an exclusive lock, which ends with the process; None when another process holds it."""
    for _ in range(4):  # a status query holds the lock for an instant
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            time.sleep(0.02)
            continue
        os.ftruncate(handle, 0)
        os.write(handle, f"{platform.node()} pid {os.getpid()}\n".encode())
        return handle
    return None


def is_locked(path: Path) -> bool:
    """Whether another process holds the lock now."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
