"""The worker that reads DLMS/COSEM meters with Gurux DLMS."""
