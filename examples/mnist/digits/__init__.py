"""Train a network that reads handwritten digits, quantise it, and measure it through almaflow's conversions."""
