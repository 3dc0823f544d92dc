"""Code that runs in child processes: libraries that block, crash, print or carry a licence of their own."""
