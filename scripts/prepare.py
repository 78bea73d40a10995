"""`tcd-hf prepare`, from a checkout."""

import sys

from tcd_hf.cli.main import app

if __name__ == "__main__":
    app(["prepare", *sys.argv[1:]])
