import numpy as np

BIAS, LETTERS, RECOGNISER, WEIGHTS = 0.0, ("blank",), "", np.zeros(1)
