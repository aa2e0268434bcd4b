"""Write converted models to directories that work without almaflow: one module for each kind of file."""
