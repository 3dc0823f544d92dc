"""The controlled station: links in redundancy groups, interrogations, commands, event buffers."""
