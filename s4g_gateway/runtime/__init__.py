"""Holds a site together: contract of the connectors, RealTimeDatabase, configuration, supervisor, journal."""
