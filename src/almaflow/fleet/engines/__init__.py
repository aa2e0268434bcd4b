"""What carries orders to machines and results back, one module each."""
