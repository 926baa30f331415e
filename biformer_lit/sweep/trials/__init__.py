"""How a study is trained: who trains which cell with which seed, in Optuna's storage and in processes."""
