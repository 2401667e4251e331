"""Runs the tests of the Python module, and the page about it; ends with 77 when some
could not run.

usage: run.py VITQC LIBVITQC LIBVITQ SOURCE
"""
import os
import sys
import tempfile
import unittest


def main(vitqc, libvitqc, libvitq, source):
    os.environ.update(VITQC=vitqc, VITQC_LIBRARY=libvitqc, VITQ_LIBRARY=libvitq,
                      VITQC_SOURCE=source)
    sys.dont_write_bytecode = True
    sys.path.insert(0, os.path.join(source, "frontend", "python"))
    suite = unittest.defaultTestLoader.discover(os.path.dirname(os.path.abspath(__file__)))
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        result = unittest.TextTestRunner(verbosity=2).run(suite)
        os.chdir(os.sep)
    if not result.wasSuccessful() or not result.testsRun:
        return 1
    for test, why in result.skipped:
        print(f"skipped: {test}: {why}")
    return 77 if result.skipped else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
