"""What a search among millions of segments costs, see `__main__.py`."""

import os

# Rows are made of small products of matrices: beside others, threads of OpenBLAS take many times as long as one.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
