"""Everything that runs in the measured process. The parent never imports it."""
