"""LESSAg, the controller of a site. Source: Storage4Grid D3.1 §3.1, §4.1.10."""
