"""fastattn beside the libraries that people run encoders with."""
