"""Every example of docs/python.md, with what it prints."""
import doctest
import os
import shutil
import unittest

from common import FASHION, PIXELS, SOURCE, needs_numpy


@needs_numpy
class Page(unittest.TestCase):
    def test_examples(self):
        shutil.copy(FASHION, "fashion_vit.onnx")
        shutil.copy(PIXELS, "test1000.npy")
        failed, tried = doctest.testfile(
            os.path.join(SOURCE, "docs/python.md"), module_relative=False,
            optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
        self.assertGreater(tried, 10)
        self.assertEqual(failed, 0)
