"""The accuracy benchmark; ``python -m quantable.bench.accuracy`` regenerates its page."""
