"""The controllers of Storage4Grid: LESSAg, LEVChAg, GESSCon, GEVChCon; pure, steps of inputs and time.

Every controller is an object with ``step(inputs, now_ns) -> outputs`` and a state of JSON types that a restart
resumes. What they say to each other are the objects of ``messages`` and ``plan``; how these look on a wire is said
by the interface catalogue, and who carries them is an adapter's or the twin's business. Signs are the generator
frame. Source: Storage4Grid D3.1 §2, §3.1, §3.2.
"""
