"""S4G Gateway: every storage-grid protocol translated once, at the edge, into one IEC 61850 model.

The folders are the map: ``model`` is the canonical model, ``codecs`` turn bytes into typed objects,
``profiles`` map protocol tables to the model, ``southbound`` and ``northbound`` move bytes and time,
``runtime`` holds a site together. Imports point downward only (see ``pyproject.toml``).
"""

__version__ = "0.1.0"
