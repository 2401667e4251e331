"""Interrupts a command once a file is there; it must end with exit code 130.

usage: stop.py FILE COMMAND...
"""
import os
import signal
import subprocess
import sys
import time


def main(path, command):
    # The shells of tests may ignore the signal, which children inherit.
    child = subprocess.Popen(
        command, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    while child.poll() is None and not os.path.exists(path):
        time.sleep(0.001)
    os.kill(child.pid, signal.SIGINT)
    code = child.wait()
    return None if code == 130 else f"exit code {code}, expected 130"


sys.exit(main(sys.argv[1], sys.argv[2:]))
