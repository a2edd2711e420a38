"""The HTTP API: MLflow's experiments and runs, Optuna's studies, and the evidence of runs, behind one door."""
