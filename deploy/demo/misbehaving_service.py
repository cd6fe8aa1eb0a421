#!/usr/bin/env python3
"""The service of ./run --demo: healthy for a minute, then misbehaves in three ways, one after another, and starts over.

Harmless: one core at low priority at most, 200 MiB at most and given back, no file written, no network. Ends at SIGTERM.
"""
import os
import resource
import sys
import time

MEBI = 1 << 20
LEARNING_SECONDS = 65  # the demo's warm-up of 45 s, and a margin until the daemon is up
RECOVERY_SECONDS = 30
LEAK_BYTES_PER_SECOND = 5 * MEBI
LEAK_LIMIT_BYTES = 200 * MEBI


def say(text: str) -> None:
    clear = "\r\x1b[K" if sys.stdout.isatty() else ""
    print(f"{clear}demo: {text}", flush=True)


def work_once() -> None:
    """Two milliseconds of work and one file read: what the service always does."""
    end = time.process_time() + 0.002
    while time.process_time() < end:
        sum(range(500))
    with open("/proc/self/stat", "rb") as file:
        file.read()


def healthy(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        work_once()
        time.sleep(0.1)


def burn_cpu(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(10_000))


def leak_memory() -> None:
    leaked = []
    while len(leaked) * LEAK_BYTES_PER_SECOND // 10 < LEAK_LIMIT_BYTES:
        leaked.append(os.urandom(64) * (LEAK_BYTES_PER_SECOND // 10 // 64))  # written, so that it is resident
        work_once()
        time.sleep(0.1)


def miss_files(seconds: float) -> None:
    end = time.monotonic() + seconds
    number = 0
    while time.monotonic() < end:
        for _ in range(20):
            number += 1
            try:
                os.close(os.open(f"/nonexistent/demo-{number}", os.O_RDONLY))
            except FileNotFoundError:
                pass
        work_once()
        time.sleep(0.1)


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (600 * MEBI, 600 * MEBI))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    say(f"{os.path.basename(__file__)} (pid {os.getpid()}) behaves well for {LEARNING_SECONDS} s, while it is learned")
    healthy(LEARNING_SECONDS)
    while True:
        say("it burns one core for 25 s")
        burn_cpu(25)
        say("it behaves again")
        healthy(RECOVERY_SECONDS)
        say("it leaks 5 MiB a second, up to 200 MiB")
        leak_memory()
        say("it has given the memory back")
        healthy(RECOVERY_SECONDS)
        say("it opens 200 missing files a second for 25 s")
        miss_files(25)
        say("it behaves again")
        healthy(2 * RECOVERY_SECONDS)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
