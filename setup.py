"""What setup.cfg cannot say: the package is described by README without its pictures, which it does not hold."""

import re
from pathlib import Path

from setuptools import setup

README = Path(__file__).with_name("README.md").read_text(encoding="utf-8")

setup(long_description=re.sub(r"!\[[^\]]*\]\([^)]*\)\n+", "", README))
