"""One job, from a configuration to closed runs in the store."""
