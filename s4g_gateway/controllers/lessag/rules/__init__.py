"""Control rules, one module each: what a rule wants of the battery now, limits of battery and PCC left to others."""
