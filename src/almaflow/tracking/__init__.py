"""What MLflow is told: names, the store, the writer. The only room that imports mlflow, and only inside functions."""
