import numpy as np

BIAS, HIDDEN, HIDDEN_BIAS, LETTERS, OUTPUT, RECOGNISER = 0.0, np.zeros((1, 1)), np.zeros(1), ("blank",), np.zeros(1), ""
