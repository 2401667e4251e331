"""Interrupts compilations at several moments.

usage: interrupt.py FOLDER COMMAND...

The command writes FOLDER/out. Each time it must end with exit code 130 and
leave FOLDER empty, unless it was done just before; at least one time a
temporary file must have been there. The signal goes to all processes, as for
Ctrl-C, or to the compiler alone, while its linker lives on.
"""
import os
import signal
import subprocess
import sys
import time


def start(command):
    # The shells of tests may ignore the signal, which children inherit.
    return subprocess.Popen(
        command, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))


def interrupt(command, wait, kill):
    """Returns the exit code and what was in the folder at that moment."""
    child = start(command)
    seen = wait(child)
    kill(child.pid, signal.SIGINT)
    return child.wait(), seen


def for_temporary(folder):
    def wait(child):
        while child.poll() is None and not os.listdir(folder):
            time.sleep(0.001)
        return os.listdir(folder)
    return wait


def for_time(folder, seconds):
    def wait(child):
        time.sleep(seconds)
        return os.listdir(folder)
    return wait


def main(folder, command):
    begin = time.monotonic()
    if start(command).wait() != 0:
        return "the command fails by itself"
    whole = time.monotonic() - begin
    os.remove(os.path.join(folder, "out"))
    waits = [for_time(folder, whole * part) for part in (0.3, 0.5, 0.7)]
    met = False
    waits += [for_temporary(folder)] * 3
    for wait, kill in zip(waits, [os.kill, os.killpg] * 3):
        code, seen = interrupt(command, wait, kill)
        met = met or any(name != "out" for name in seen)
        time.sleep(0.1)
        left = os.listdir(folder)
        if left == ["out"]:  # it was complete just before
            os.remove(os.path.join(folder, "out"))
        elif code != 130 or left:
            return f"exit code {code}, left {left}"
    return None if met else "never interrupted while a temporary file was there"


sys.exit(main(sys.argv[1], sys.argv[2:]))
