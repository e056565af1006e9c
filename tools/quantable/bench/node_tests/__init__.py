"""The standard's own tests on the reference runtime."""
