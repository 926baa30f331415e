"""Files of weights: written as a whole or not at all, and checked before they are read."""
