"""IEC 61850 model of a site: logical devices, nodes and data objects as data, and their SCL. Pure."""
