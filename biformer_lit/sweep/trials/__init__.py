"""Training of a study: assignment of cells and seeds to processes, in Optuna's storage, and the processes."""
