"""What a started process does. It is given the task in one argument, JSON, and answers with a line of JSON."""

import sys

from scripts.benchmarks.costs import run_child

if __name__ == "__main__":
    run_child(sys.argv[1])
