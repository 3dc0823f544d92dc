"""Protocol tables and the canonical model, translated as data; pure."""
