"""More than one machine: orders that are sent out, and results that are fetched and recorded."""
