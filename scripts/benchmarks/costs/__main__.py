"""What a started process does: the task of one part, given by one argument of JSON and answered by a line of it."""

import argparse
import json
import sys

from scripts.benchmarks.costs import PARTS

if __name__ == "__main__":
    request = json.loads(sys.argv[1])
    result = PARTS[request["task"]].child(argparse.Namespace(model=request["model"]), **request["options"])
    print(json.dumps(result), flush=True)
