"""The predictor that asks the graphs package, in a process of its own."""
