"""One asyncio adapter per consumer protocol."""
