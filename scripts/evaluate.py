"""`tcd-hf evaluate`, from a checkout."""

import sys

from tcd_hf.cli.main import app

if __name__ == "__main__":
    app(["evaluate", *sys.argv[1:]])
