"""`tcd-hf push`, from a checkout."""

import sys

from tcd_hf.cli.main import app

if __name__ == "__main__":
    app(["push", *sys.argv[1:]])
