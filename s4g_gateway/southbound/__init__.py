"""One asyncio adapter per device protocol."""
