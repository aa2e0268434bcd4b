"""MLflow: the store, and what is written to it and read from it. Only this room imports mlflow, inside functions."""
