"""What is known of ports of this machine: who listens there, and how to listen no more."""

from __future__ import annotations

import contextlib
import socket

import psutil


def hang_up(listening: socket.socket) -> None:
    """Stop listening for good: a process forked meanwhile may hold the socket too."""
    with listening, contextlib.suppress(OSError):
        listening.shutdown(socket.SHUT_RDWR)


def who_listens(port: int) -> str:
    """Say which process listens on a port, as far as the machine tells us."""
    try:
        for found in psutil.net_connections("tcp"):
            if found.status == psutil.CONN_LISTEN and found.laddr[1:] == (port,) and found.pid:
                process = psutil.Process(found.pid)
                if any("recall_lab" in part or "recall-lab" in part for part in process.cmdline()):
                    return f"a receiver (process {found.pid}; 'recall-lab stop' ends it)"
                return f"{process.name()} (process {found.pid})"
    except (psutil.Error, OSError):
        pass
    return "another program"
