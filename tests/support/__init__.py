"""What the tests share: oracles, criteria, shapes, calls and small models."""
