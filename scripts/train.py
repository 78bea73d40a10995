"""`accelerate launch -m tcd_hf.training`, from a checkout: `accelerate launch scripts/train.py RECIPE ...`."""

from tcd_hf.training.__main__ import main
from tcd_hf.training.processes import end_process

if __name__ == "__main__":
    end_process(main())
