"""What a search among millions of segments costs, see `__main__.py`."""

import os

# Rows are made of small products of matrices, for which threads of OpenBLAS take many times as long as one, beside others.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
