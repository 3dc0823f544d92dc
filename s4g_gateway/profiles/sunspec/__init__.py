"""SunSpec models and the canonical model, translated as data; pure."""
