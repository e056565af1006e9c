"""Latency of emitted code beside other int8 runtimes, network by network."""
